"""Calibration data: read, checked before use, thinned to as many samples as are wanted.

int8 takes the scales of activations from this data. Data in another range than the model was trained on, or noise,
gives scales that fit nothing; the file that comes out is valid and wrong. So the data is looked at first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from converters.arrays import Array
from converters.checkpoints.ranges import Range
from converters.errors import RefusedError, UsageError
from converters.shapes import Shapes, ask_for
from converters.signature import Signature, TensorSpec
from converters.user_arrays import UserArrays, read_user_arrays

RANDOM = "random"
DEFAULT_SAMPLES = 128

_FEW = 16
_SCALE = 4.0
"""Data whose maximum is this many times off the expected one has another scale, not another exposure."""
_NEGATIVE = 0.05
"""Share of the expected span that values may fall below its lower end: resampling overshoots that much."""
_NOISE = 0.15
"""Correlation of neighbouring pixels. Photographs have 0.9 and more, 8 x 8 scans of digits 0.4, noise 0.0."""
_SWAP_MARGIN, _SWAP_SHARE = 0.04, 0.75
_ALIKE = 0.02
"""Samples whose spread around their mean is this small beside the data's own spread are one picture."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with the data.

    Attributes:
        name: `range`, `centered`, `constant`, `constant-channel`, `swapped-channels`, `noise`, `few`, `one-class` or
            `alike`.
        fatal: the scales that it leads to are wrong for sure.
    """

    name: str
    message: str
    mend: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"Calibration data ({self.name}): {self.message} {self.mend}"


@dataclass(frozen=True)
class Expected:
    """Expectations of the data.

    Attributes:
        ranges: by input name, from the checkpoint's first layers.
        judged_on: the arrays of `--inputs`, where the user gave some: they are taken to be right.
        shapes: of inputs that leave sizes open.
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)
    judged_on: Mapping[str, Array] = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)

    def range_of(self, name: str) -> Range | None:
        if name in self.ranges:
            return self.ranges[name]
        array = self.judged_on.get(name)
        if array is None or array.dtype.kind != "f":
            return None
        return Range(float(array.min()), float(array.max()), "the data given with --inputs", origin="data")


@dataclass(frozen=True)
class Calibration:
    """Checked data.

    Attributes:
        arrays: by input name, samples first.
        source: what it is, for the manifest.
        findings: what is doubtful about it; what is fatal was refused.
    """

    arrays: dict[str, Array]
    source: str
    findings: tuple[Finding, ...] = ()

    @property
    def samples(self) -> int:
        return min(len(array) for array in self.arrays.values())

    def notes(self) -> tuple[str, ...]:
        return (f"Calibrated on {self.source}.", *(str(f) for f in self.findings))

    def save(self, path: Path) -> None:
        np.savez(path, **self.arrays)  # type: ignore[arg-type]


def read_calibration(path: Path, signature: Signature, samples: int, expected: Expected = Expected()) -> Calibration:
    """Reads and checks the user's data; samples are taken at even distances, so that sorted classes all come in.

    Raises:
        UsageError: nothing is there, or names, shapes or dtypes do not fit.
        RefusedError: the file is damaged or not finite, or a finding is fatal: all of them stand in the message.
    """
    data = read_user_arrays(path, signature, "--calibration", expected.shapes)
    findings = check(data, signature, expected)
    fatal = [f for f in findings if f.fatal]
    if fatal:
        raise RefusedError(
            f"{path} cannot calibrate this model: " + " ".join(f"({f.name}) {f.message}" for f in fatal),
            next_step=" ".join(dict.fromkeys(f.mend for f in fatal)),
            file=path,
            step="calibrate",
        )
    arrays = _thinned(data.arrays, samples, signature)
    count = min(len(array) for array in arrays.values())
    return Calibration(arrays, f"{count} samples of {path.name}", findings)


def random_calibration(
    signature: Signature, samples: int, expected: Expected = Expected(), seed: int = 0
) -> Calibration:
    """Made-up data, which `--calibration random` asks for: uniform over the input's range, in blocks of 4 x 4 pixels.

    Where nothing tells the range, every second sample is normal: the inputs that the file is judged on are drawn so.

    Raises:
        RefusedError: an input is neither numbers nor booleans.
    """
    rng = np.random.default_rng(seed)
    fixed = max([d for s in signature.inputs for d in s.shape[:1] if isinstance(d, int)], default=1)
    count = -(-samples // fixed) * fixed
    arrays = {spec.name: _drawn(spec, count, expected, rng) for spec in signature.inputs}
    finding = Finding(
        "random",
        "it is made up: the scales fit noise, and accuracy on real inputs is not known.",
        "Give real samples with --calibration PATH.",
    )
    return Calibration(arrays, f"{count} random samples", (finding,))


def check(data: UserArrays, signature: Signature, expected: Expected = Expected()) -> tuple[Finding, ...]:
    """Checks the data of `--calibration`; shapes and dtypes have been checked by then."""
    findings: list[Finding] = []
    for spec in signature.inputs:
        array = data.arrays[spec.name]
        if array.dtype.kind != "f":
            continue
        values = array.astype(np.float64)
        findings += _check_range(spec, values, expected.range_of(spec.name))
        findings += _check_constant(spec, values)
        if values.ndim == 4 and min(values.shape[1:3]) >= 4 and values.shape[3] <= 4:
            findings += _check_pixels(spec, values, expected.judged_on.get(spec.name))
    return (*findings, *_check_count(data, signature))


def _check_range(spec: TensorSpec, values: Array, expected: Range | None) -> list[Finding]:
    low, high = float(values.min()), float(values.max())
    if expected is None or low == high:
        return []
    says = (
        f"`{spec.name}` lies in {low:.4g}..{high:.4g}, and {expected.source} says "
        f"{expected.low:.4g}..{expected.high:.4g}."
    )
    reach, expected_reach = max(abs(low), abs(high)), max(abs(expected.low), abs(expected.high))
    if expected.low >= 0 and low < -_NEGATIVE * (high - low):
        scaled = " It was divided by its spread too." if reach * _SCALE < expected_reach else ""
        return [
            Finding(
                "centered",
                f"{says} Its mean was subtracted, and the model does not want that.{scaled}",
                "Leave the mean in: give the raw values.",
                fatal=True,
            )
        ]
    if reach * _SCALE < expected_reach:
        factor = _round_factor(expected_reach / reach)
        return [
            Finding(
                "range",
                f"{says} It is scaled down already.",
                f"Multiply it by {factor:g}, as raw inputs are.",
                fatal=True,
            )
        ]
    if reach > expected_reach * _SCALE:
        factor = _round_factor(reach / expected_reach)
        return [
            Finding(
                "range",
                f"{says} It is not scaled.",
                f"Preprocess it as for training (divide by about {factor:g}).",
                fatal=True,
            )
        ]
    if expected.low < 0 <= low:
        return [
            Finding(
                "centered",
                f"{says} No value is negative: its mean was not subtracted.",
                "Preprocess it as for training, to values around 0.",
                fatal=True,
            )
        ]
    return []


def _round_factor(factor: float) -> float:
    """The usual factor nearby (255, 16, ...), else the measured one."""
    usual = [255.0, 127.5, 16.0, 100.0]
    return next((u for u in usual if 0.8 < factor / u < 1.25), round(factor, 2))


def _check_constant(spec: TensorSpec, values: Array) -> list[Finding]:
    spread = values.std()
    if spread == 0:
        return [
            Finding(
                "constant",
                f"`{spec.name}` has one value throughout, {values.flat[0]:.4g}.",
                "Give real samples.",
                fatal=True,
            )
        ]
    findings = []
    if values.ndim == 4 and 2 <= values.shape[3] <= 4:
        constant_channels = [k for k in range(values.shape[3]) if values[..., k].std() < 1e-6 * spread]
        if constant_channels:
            findings.append(
                Finding(
                    "constant-channel",
                    f"channel {', '.join(map(str, constant_channels))} of `{spec.name}` has one value throughout.",
                    "Give images with all their channels.",
                )
            )
    deviation = (values - values.mean(axis=0)).std()
    if len(values) > 1 and deviation < _ALIKE * spread:
        findings.append(
            Finding(
                "alike",
                f"the samples of `{spec.name}` hardly differ from one another.",
                "Give samples that differ as real inputs do.",
            )
        )
    return findings


def _check_pixels(spec: TensorSpec, values: Array, judged_on: Array | None) -> list[Finding]:
    findings = []
    correlation = _neighbours(values)
    if correlation < _NOISE:
        findings.append(
            Finding(
                "noise",
                f"neighbouring pixels of `{spec.name}` have nothing to do with one another (correlation "
                f"{correlation:.2f}): it looks like noise.",
                "Give real images: noise excites other channels than they do.",
            )
        )
    elif values.shape[3] == 3 and _swapped(values, judged_on):
        findings.append(
            Finding(
                "swapped-channels",
                f"the channels of `{spec.name}` seem to come as blue, green, red.",
                "Give them in the order of training; OpenCV reads BGR, nearly everything else RGB.",
            )
        )
    return findings


def _neighbours(values: Array) -> float:
    """Mean correlation of a pixel with the next one, across and down, within each image and channel."""
    centered = values - values.mean(axis=(1, 2), keepdims=True)
    variance = (centered**2).mean(axis=(1, 2))
    horizontal = (centered[:, :, 1:] * centered[:, :, :-1]).mean(axis=(1, 2))
    vertical = (centered[:, 1:] * centered[:, :-1]).mean(axis=(1, 2))
    varied = variance > 1e-12 * max(float(np.max(variance)), 1e-300)
    if not varied.any():
        return 1.0
    return float((0.5 * (horizontal + vertical)[varied] / variance[varied]).mean())


def _swapped(values: Array, judged_on: Array | None) -> bool:
    """Whether red and blue are exchanged, compared with the data that is judged on or else with most photographs.

    In photographs red is the brightest channel on average and blue the darkest (ImageNet: 0.485, 0.456, 0.406).
    """
    means = values.mean(axis=(1, 2))
    if judged_on is not None and judged_on.ndim == 4 and judged_on.shape[3] == 3:
        reference, measured = judged_on.mean(axis=(0, 1, 2)), means.mean(axis=0)
        return bool(2 * np.abs(measured[::-1] - reference).sum() < np.abs(measured - reference).sum())
    span = float(np.ptp(values))
    bluish = means[:, 2] - means[:, 0] > _SWAP_MARGIN * span
    return bool(len(means) >= 8 and bluish.mean() > _SWAP_SHARE and means[:, 1].mean() > means[:, 0].mean())


def _check_count(data: UserArrays, signature: Signature) -> list[Finding]:
    count = min(len(data.arrays[name]) for name in signature.input_names)
    findings = []
    if count < _FEW:
        findings.append(
            Finding("few", f"{count} samples are few: rare values lie outside the scales.", "Give 100 or more.")
        )
    labels = data.labels
    if labels is not None and len(labels) > 1 and len(np.unique(labels)) == 1:
        findings.append(
            Finding(
                "one-class", f"all {len(labels)} samples are of class {labels.flat[0]}.", "Give samples of every class."
            )
        )
    return findings


def _thinned(arrays: Mapping[str, Array], samples: int, signature: Signature) -> dict[str, Array]:
    count = min(len(array) for array in arrays.values())
    fixed = max([d for s in signature.inputs for d in s.shape[:1] if isinstance(d, int)], default=1)
    size = min(count, -(-samples // fixed) * fixed)
    picks = np.linspace(0, count - 1, size).round().astype(int)
    return {name: np.ascontiguousarray(array[picks]) for name, array in arrays.items()}


def _drawn(spec: TensorSpec, count: int, expected: Expected, rng: np.random.Generator) -> Array:
    if spec.is_dynamic and spec.name not in expected.shapes:
        raise UsageError(
            f"The input {spec.name} leaves sizes open, for which calibration data cannot be made up.",
            next_step=f"Give them: {ask_for(Signature((spec,), ()))} (with its own sizes).",
            step="calibrate",
        )
    shape: Sequence[int] = (count, *spec.at(expected.shapes.get(spec.name), count)[1:])
    limits = expected.range_of(spec.name)
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        return rng.integers(0, int(limits.high) if limits else 1, shape, endpoint=True).astype(dtype)
    if dtype.kind != "f":
        raise RefusedError(
            f"The input {spec.name} takes {spec.dtype}, for which calibration data cannot be made up.",
            next_step="Give real samples with --calibration PATH.",
            step="calibrate",
        )
    if limits is not None and limits.whole:
        return rng.integers(int(limits.low), int(limits.high), shape, endpoint=True).astype(dtype)
    low, high = (limits.low, limits.high) if limits else (0.0, 1.0)
    coarse = rng.random([-(-d // 4) if len(shape) == 4 and k in (1, 2) else d for k, d in enumerate(shape)])
    if len(shape) == 4:
        coarse = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : shape[1], : shape[2]]
    values: Array = (low + (high - low) * coarse).astype(dtype)
    if limits is None:  # as such inputs are judged: U(0, 1) and N(0, 1) in turn
        values[1::2] = rng.standard_normal(shape)[1::2].astype(dtype)
    return values
