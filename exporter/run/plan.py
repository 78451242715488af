"""Which precisions a run makes, and the calibration data that they are made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.calibration import RANDOM, Calibration, Expected, random_calibration, read_calibration
from converters.checkpoints.ranges import Range
from converters.facts import Facts
from converters.formats import Format, Precision
from converters.options import Auto
from converters.reduced_precisions import CALIBRATED, Conversion, need_calibration, refuse_without_calibration
from converters.routes import ROUTES, Target, resolve_targets
from converters.user_arrays import read_user_arrays
from converters.writers.ort import config_path
from exporter.manifest.passing import verdict_misses
from exporter.options import RunOptions
from exporter.shipping.profiles import profile_targets
from validate.agreement import Agreement

OPEN_FORMATS = (Format.SAVEDMODEL, Format.TFLITE, Format.ONNX)
"""The formats that are made where they are left open."""

_AUTO = (Precision.FLOAT32, Precision.FLOAT16, Precision.DYNAMIC_INT8, Precision.INT8, Precision.INT16X8)


@dataclass(frozen=True)
class Selection:
    """The artifacts and verdicts that `-p auto` keeps.

    Attributes:
        dropped: by file name, why others went.
    """

    conversion: Conversion
    agreement: Agreement
    dropped: Mapping[str, str] = field(default_factory=dict)


def targets_of(options: RunOptions) -> tuple[Target, ...]:
    """The targets of a run; `auto` stands for all that the formats can hold and the calibration data allows.

    With the formats left open, pairs that cannot be (an int8 SavedModel) are left out; with formats given they are an
    error.

    Raises:
        UsageError: an unknown word, pairs that cannot be made, or int8 without calibration data.
    """
    if options.ship.profiles:
        return _ordered(profile_targets(options), options)
    words, formats = options.convert.precisions or (Precision.FLOAT32,), options.convert.formats
    precisions = tuple(p for p in words if isinstance(p, Precision))
    targets = _pairs_of(formats, precisions) if formats else _open_formats(precisions)
    if Auto.AUTO in words:
        targets |= {
            r.target
            for r in ROUTES
            if r.target.format in (formats or OPEN_FORMATS)
            and r.target.precision in _AUTO
            and (options.quantize.calibration or r.target.precision not in CALIBRATED)
        }
    return _ordered(targets, options)


def _ordered(pairs: set[Target], options: RunOptions) -> tuple[Target, ...]:
    targets = tuple(r.target for r in ROUTES if r.target in pairs)
    if options.quantize.calibration is None:
        refuse_without_calibration(targets)
    return targets


def _pairs_of(formats: tuple[Format, ...], precisions: tuple[Precision, ...]) -> set[Target]:
    return set(resolve_targets(formats, precisions)) if precisions else set()


def _open_formats(precisions: tuple[Precision, ...]) -> set[Target]:
    """Each precision in the formats that hold it."""
    pairs = {route.target for route in ROUTES}
    return {t for p in precisions for f in OPEN_FORMATS if (t := Target(f, p)) in pairs}


def calibrated(facts: Facts, targets: Sequence[Target], options: RunOptions) -> Calibration | None:
    """The calibration data, read and checked against what the source says of itself; None where no target needs any.

    Raises:
        EdgeportError: see `converters.calibration.read_calibration`.
    """
    if not need_calibration(targets) or any(spec.is_text for spec in facts.signature.inputs):
        return None  # what is calibrated holds no texts, and is refused for that
    signature, ranges, common, quantize = facts.signature, facts.ranges, options.common, options.quantize
    if common.input_range:
        limits = Range(*common.input_range, "--input-range", origin="option")
        ranges = {spec.name: limits for spec in signature.inputs if spec.dtype.startswith("float")}
    given = common.shapes
    judged_on = {} if common.inputs is None else read_user_arrays(common.inputs, signature, shapes=given).arrays
    shapes = {**facts.shapes, **{name: array.shape for name, array in judged_on.items()}, **given}
    expected = Expected(ranges, judged_on, shapes)
    if quantize.calibration == RANDOM:
        return random_calibration(signature, quantize.calibration_samples, expected, common.seed)
    return read_calibration(Path(quantize.calibration or ""), signature, quantize.calibration_samples, expected)


def keep_passing(conversion: Conversion, agreement: Agreement, *, allow_inconclusive: bool) -> Selection:
    """Removes the reduced artifacts that did not pass, from disk too.

    The float32 files stay, whatever their verdict: a source whose plain conversion fails is not a matter of precision.
    """
    first = agreement.first_verdicts
    misses = {miss.subject: miss for miss in verdict_misses(first, allow_inconclusive=allow_inconclusive)}
    dropped: dict[str, str] = {}
    for artifact in conversion.artifacts:
        if artifact.precision is not Precision.FLOAT32 and str(artifact.path) in misses:
            artifact.path.unlink()
            if artifact.format is Format.ORT:
                config_path(artifact.path).unlink(missing_ok=True)
            dropped[artifact.path.name] = misses[str(artifact.path)].sentence.removeprefix(f"{artifact.path.name}: ")
    artifacts = tuple(artifact for artifact in conversion.artifacts if artifact.path.name not in dropped)
    remaining = tuple(verdict for verdict in agreement.verdicts if verdict.artifact.name not in dropped)
    return Selection(replace(conversion, artifacts=artifacts), replace(agreement, verdicts=remaining), dropped)
