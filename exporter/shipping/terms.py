"""Signature, what the model says of itself and what the user says of it -> the contract; contradictions are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.contract import Contract, InputContract, OutputContract
from converters.facts import Facts
from converters.signature import TensorSpec
from exporter.options import RunOptions, ShipOptions
from exporter.shipping.labels import labels_of, read_labels
from exporter.shipping.preprocess import Preprocess, parse_preprocess, preprocess_of
from validate.agreement.judging.decisions import LABELS, Known, known_outputs

_CHANNELS = {1: "GRAY"}
_HALF = 0.5


@dataclass(frozen=True)
class Terms:
    """The command line's part of the contract.

    Attributes:
        ship: labels, preprocessing, and whether that is baked in.
        input_range: of every float input.
    """

    ship: ShipOptions = field(default_factory=ShipOptions)
    input_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, options: RunOptions) -> Terms:
        return cls(options.ship, options.common.input_range)

    def check(self) -> None:
        """Raises what can be told to be wrong before the model is loaded."""
        parse_preprocess(self.ship.preprocess)
        for word in self.ship.labels:
            if "=" not in word:
                read_labels(Path(word))


def contract_of(facts: Facts, terms: Terms) -> Contract:
    """The contract of a model, from what it says of itself.

    Raises:
        UsageError, RefusedError: labels or preprocessing that do not fit the model; see `labels_of` and
            `preprocess_of`.
    """
    signature = facts.signature
    scaling = facts.interface.get("scaling", {})
    activations = facts.interface.get("activations", {})
    labels = labels_of(terms.ship.labels, signature, activations)
    known = known_outputs(signature, activations, labels)
    preprocess = preprocess_of(_for_device(terms), signature, scaling)
    return Contract(
        tuple(
            _input(spec, preprocess.get(spec.name, Preprocess()), scaling.get(spec.name), _range(spec, facts, terms))
            for spec in signature.inputs
        ),
        tuple(
            _output(spec, activations.get(spec.name), labels.get(spec.name), known[spec.name])
            for spec in signature.outputs
        ),
    )


def _for_device(terms: Terms) -> dict[str | None, dict[str, Any]]:
    """The preprocessing that is left to the device: with --bake-preprocess the numbers are in the model."""
    assignments = parse_preprocess(terms.ship.preprocess)
    if not terms.ship.bake_preprocess:
        return assignments
    return {
        name: {k: v for k, v in values.items() if k in ("colour_order", "resize")}
        for name, values in assignments.items()
    }


def _range(spec: TensorSpec, facts: Facts, terms: Terms) -> tuple[float, float] | None:
    if terms.input_range is not None and spec.dtype.startswith("float"):
        return terms.input_range
    limits = facts.ranges.get(spec.name)
    return None if limits is None else (limits.low, limits.high)


def _input(
    spec: TensorSpec,
    preprocess: Preprocess,
    model_scaling: Mapping[str, Any] | None,
    limits: tuple[float, float] | None,
) -> InputContract:
    image = len(spec.shape) == 4 and spec.shape[-1] in (1, 3, 4)
    colours = preprocess.colour_order or (model_scaling or {}).get("colour_order")
    if colours is None and image:
        colours = _CHANNELS.get(int(spec.shape[-1]))
    scale, mean, std = _numbers(preprocess, model_scaling)
    in_model = dict(model_scaling) if model_scaling is not None and "layer" in model_scaling else None
    return InputContract(
        spec.name,
        spec.shape,
        spec.dtype,
        "NHWC" if image else None,
        limits,
        scale,
        mean,
        std,
        colours,
        preprocess.resize,
        in_model,
    )


def _numbers(
    preprocess: Preprocess, model_scaling: Mapping[str, Any] | None
) -> tuple[float | None, tuple[float, ...] | None, tuple[float, ...] | None]:
    """Scale, mean and std for a device: the user's; identity where the model scales; the family's convention."""
    if preprocess.scales:
        return (
            (1.0 if preprocess.scale is None else preprocess.scale),
            preprocess.mean or (0.0,),
            preprocess.std or (1.0,),
        )
    if model_scaling is None:
        return None, None, None
    if "layer" in model_scaling:
        return 1.0, (0.0,), (1.0,)
    return float(model_scaling["scale"]), tuple(model_scaling["mean"]), tuple(model_scaling["std"])


def _output(spec: TensorSpec, activation: str | None, labels: tuple[str, ...] | None, known: Known) -> OutputContract:
    threshold = _HALF if known.decides(several=spec.shape[-1:] not in {(), (1,)}) == LABELS else None
    return OutputContract(spec.name, spec.shape, spec.dtype, activation, labels, threshold)
