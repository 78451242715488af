"""`--preprocess KEY=VALUE`: what a device does to raw values before it feeds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.contract import COLOUR_ORDERS, RESIZES
from converters.errors import RefusedError, UsageError
from converters.signature import Signature, TensorSpec

KEYS = ("scale", "mean", "std", "colour_order", "resize")
_ALIASES = {"color_order": "colour_order", "channels": "colour_order"}
_EXAMPLE = "Write it as --preprocess scale=1/255, mean=0.485,0.456,0.406, colour_order=BGR or resize=bilinear-crop."


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing of one input; None where nothing was said. A value x becomes `(x * scale - mean) / std`."""

    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    colour_order: str | None = None
    resize: str | None = None

    @property
    def scales(self) -> bool:
        """It says something about numbers."""
        return any(value is not None for value in (self.scale, self.mean, self.std))


def parse_preprocess(assignments: Sequence[str]) -> dict[str | None, dict[str, Any]]:
    """`KEY=VALUE` or `INPUT.KEY=VALUE` as values by input; None stands for the only input.

    Raises:
        UsageError: an unknown key, a value that the key cannot have, or a key given twice.
    """
    by_input: dict[str | None, dict[str, Any]] = {}
    for text in assignments:
        left, equals, value = text.partition("=")
        name, _, last = left.strip().rpartition(".")
        key = _ALIASES.get(last, last)
        if not equals or key not in KEYS:
            raise UsageError(f"--preprocess {text} is none of {', '.join(k + '=' for k in KEYS)}.", next_step=_EXAMPLE)
        values = by_input.setdefault(name or None, {})
        if key in values:
            raise UsageError(f"--preprocess {left} is given twice.", next_step="Give each key once.")
        values[key] = _value(key, value.strip(), text)
    return by_input


def _value(key: str, value: str, text: str) -> Any:
    if key == "colour_order":
        return _one_of(value.upper(), COLOUR_ORDERS, text)
    if key == "resize":
        return _one_of(value.lower(), RESIZES, text)
    numbers = tuple(_number(part, text) for part in value.split(","))
    if key == "scale":
        if len(numbers) > 1 or not numbers[0] > 0:
            raise UsageError(f"--preprocess {text}: a scale is one number above 0.", next_step=_EXAMPLE)
        return numbers[0]
    if key == "std" and not all(number > 0 for number in numbers):
        raise UsageError(f"--preprocess {text}: a standard deviation is above 0.", next_step=_EXAMPLE)
    return numbers


def _one_of(value: str, choices: Sequence[str], text: str) -> str:
    if value not in choices:
        raise UsageError(f"--preprocess {text} cannot be.", next_step=f"Choose from: {', '.join(choices)}.")
    return value


def _number(part: str, text: str) -> float:
    """A finite number, or a fraction such as `1/255`."""
    above, slash, below = part.partition("/")
    try:
        number = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"--preprocess {text}: `{part}` is no number.", next_step=_EXAMPLE)
    return number


def preprocess_of(
    assignments: Mapping[str | None, Mapping[str, Any]], signature: Signature, scaling: Mapping[str, Mapping[str, Any]]
) -> dict[str, Preprocess]:
    """The preprocessing of each input, checked against the model.

    Args:
        scaling: what the model itself does; see `converters.checkpoints.interface`.

    Raises:
        UsageError: an input that is not there, or a count of numbers that is not that of its channels.
        RefusedError: it contradicts the model's own layers, which scale the input already.
    """
    inputs = {spec.name: spec for spec in signature.inputs}
    by_input: dict[str, Preprocess] = {}
    for name, values in assignments.items():
        if name is None and len(inputs) > 1:
            raise UsageError(
                f"The model has the inputs {', '.join(inputs)}: --preprocess must say which it is for.",
                next_step=f"Write it as --preprocess {next(iter(inputs))}.{next(iter(values))}=...",
            )
        key = next(iter(inputs)) if name is None else name
        if key not in inputs:
            raise UsageError(
                f"There is no input `{key}` that --preprocess could be for.",
                next_step=f"Choose from: {', '.join(inputs)}.",
            )
        if key in by_input:
            raise UsageError(
                f"--preprocess speaks of the input `{key}` with and without its name.", next_step="Write it one way."
            )
        by_input[key] = Preprocess(**values)
        _check(inputs[key], by_input[key], scaling.get(key, {}))
    return by_input


def _check(spec: TensorSpec, preprocess: Preprocess, model_scaling: Mapping[str, Any]) -> None:
    channels = spec.shape[-1] if spec.shape else 1
    for key, numbers in (("mean", preprocess.mean), ("std", preprocess.std)):
        if numbers is not None and len(numbers) not in (1, channels):
            raise UsageError(
                f"--preprocess {key} has {len(numbers)} numbers, and the input `{spec.name}` has {channels} channels.",
                next_step="Give one number, or one a channel.",
            )
    if preprocess.scales and "layer" in model_scaling:
        raise RefusedError(
            f"The model's own layer `{model_scaling['layer']}` scales the input `{spec.name}` already "
            f"({_words(model_scaling)}), and --preprocess would have a device scale it twice.",
            next_step="Leave scale, mean and std out: the device feeds raw values.",
            step="contract",
        )
    if preprocess.scales and not spec.dtype.startswith(("float", "bfloat")):
        raise RefusedError(
            f"The input `{spec.name}` takes {spec.dtype}, which scale, mean and std would break.",
            next_step="Leave them out.",
            step="contract",
        )
    if preprocess.colour_order is not None:
        _check_colours(spec, preprocess.colour_order)
    if preprocess.resize is not None and len(spec.shape) != 4:
        raise RefusedError(
            f"The input `{spec.name}` of shape {list(spec.shape)} is no image that could be resized.",
            next_step="Leave resize out.",
            step="contract",
        )


def _check_colours(spec: TensorSpec, order: str) -> None:
    channels = spec.shape[-1] if len(spec.shape) == 4 else None
    if channels != (1 if order == "GRAY" else 3):
        raise RefusedError(
            f"The input `{spec.name}` of shape {list(spec.shape)} cannot hold {order} images.",
            next_step="RGB and BGR are for 3 channels in the last place, GRAY for one.",
            step="contract",
        )


def _words(model_scaling: Mapping[str, Any]) -> str:
    shown = {key: model_scaling[key] for key in ("scale", "offset", "mean", "std") if key in model_scaling}
    return ", ".join(f"{key} {', '.join(f'{number:.6g}' for number in value[:3])}" for key, value in shown.items())
