"""Which precisions a run makes, and the calibration data that they are made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.calibration import RANDOM, Calibration, Expected, random_calibration, read_calibration
from converters.checkpoints.ranges import Range
from converters.contract import Contract
from converters.derive import CALIBRATED, DeriveJob, need_calibration, refuse_without_calibration
from converters.formats import Format, Precision
from converters.given import read_given
from converters.options import Auto
from converters.routes import ROUTES, Conversion, Target, resolve_targets
from converters.targets.ort import config_path
from exporter.options import RunOptions
from exporter.passing import verdict_misses
from exporter.shipping.profiles import profile_targets
from validate.agreement import Agreement

OPEN_FORMATS = (Format.SAVEDMODEL, Format.TFLITE, Format.ONNX)
"""What is made where the formats are left open."""

_AUTO = (Precision.FLOAT32, Precision.FLOAT16, Precision.DYNAMIC_INT8, Precision.INT8, Precision.INT16X8)


def targets_of(options: RunOptions) -> tuple[Target, ...]:
    """What is to be made; `auto` stands for all that the formats can hold and the calibration data allows.

    With the formats left open, pairs that cannot be (an int8 SavedModel) are left out; with formats given they are an
    error.

    Raises:
        UsageError: an unknown word, pairs that cannot be made, or int8 without calibration data.
    """
    if options.ship.profiles:
        return _ordered(profile_targets(options), options)
    asked, formats = options.convert.precisions or (Precision.FLOAT32,), options.convert.formats
    precisions = tuple(p for p in asked if isinstance(p, Precision))
    found = _given(formats, precisions) if formats else _open(precisions)
    if Auto.AUTO in asked:
        found |= {
            r.target
            for r in ROUTES
            if r.target.format in (formats or OPEN_FORMATS)
            and r.target.precision in _AUTO
            and (options.quantize.calibration or r.target.precision not in CALIBRATED)
        }
    return _ordered(found, options)


def _ordered(found: set[Target], options: RunOptions) -> tuple[Target, ...]:
    targets = tuple(r.target for r in ROUTES if r.target in found)
    if options.quantize.calibration is None:
        refuse_without_calibration(targets)
    return targets


def _given(formats: tuple[Format, ...], precisions: tuple[Precision, ...]) -> set[Target]:
    return set(resolve_targets(formats, precisions)) if precisions else set()


def _open(precisions: tuple[Precision, ...]) -> set[Target]:
    """Each precision in the formats that hold it."""
    known = {route.target for route in ROUTES}
    return {t for p in precisions for f in OPEN_FORMATS if (t := Target(f, p)) in known}


class Calibrating:
    """Reads and checks calibration data as soon as the source's signature is known; before that nothing is converted.

    Args:
        scratch: where the checked arrays are kept for the worker.

    Attributes:
        contract: what the files are to say of themselves, once it is known.
    """

    def __init__(self, targets: tuple[Target, ...], options: RunOptions, scratch: Path) -> None:
        self._asked, self._common, self._scratch = options.quantize, options.common, scratch
        self.contract: Contract | None = None
        self._needed = bool(need_calibration(targets))
        self.data: Calibration | None = None
        self.judged_on: Mapping[str, Any] = {}

    def on_loaded(self, conversion: Conversion) -> None:
        """See `converters.calibration.read_calibration` for what it raises."""
        signature, ranges, common = conversion.signature, conversion.ranges, self._common
        if not self._needed or self.data is not None or signature is None:
            return
        if common.input_range:
            given = Range(*common.input_range, "--input-range")
            ranges = {spec.name: given for spec in signature.inputs if spec.dtype.startswith("float")}
        if self._asked.calibration == RANDOM:
            self.data = random_calibration(signature, self._asked.calibration_samples, ranges, common.seed)
        else:
            if common.inputs is not None:
                self.judged_on = read_given(common.inputs, signature).arrays
            expected = Expected(ranges, self.judged_on)
            path = Path(self._asked.calibration or "")
            self.data = read_calibration(path, signature, self._asked.calibration_samples, expected)
        self.data.save(self._arrays)

    @property
    def _arrays(self) -> Path:
        return self._scratch / "calibration.npz"

    def ready(self, conversion: Conversion) -> DeriveJob:
        """How the reduced precisions are made; reads the data now where no worker had to load the source."""
        self.on_loaded(conversion)
        return self.how()

    def how(self) -> DeriveJob:
        """How the reduced precisions are made."""
        return DeriveJob(
            self._asked,
            self._common,
            calibration=self._arrays if self.data else None,
            notes=self.data.notes() if self.data else (),
            contract=self.contract,
        )


def keep_passing(
    conversion: Conversion, agreement: Agreement, *, allow_inconclusive: bool
) -> tuple[Agreement, dict[str, str]]:
    """Removes the reduced artifacts that did not pass, from disk too; returns the rest's verdicts, and why others went.

    The float32 files stay, whatever their verdict: a source whose plain conversion fails is no choice of precision.
    """
    verdicts = {verdict.artifact: verdict for verdict in agreement.verdicts}
    missed = {miss.subject for miss in verdict_misses(agreement.verdicts, allow_inconclusive=allow_inconclusive)}
    dropped: dict[str, str] = {}
    for artifact in list(conversion.artifacts):
        verdict = verdicts[artifact.path]
        if artifact.precision is not Precision.FLOAT32 and str(artifact.path) in missed:
            artifact.path.unlink()
            if artifact.format is Format.ORT:
                config_path(artifact.path).unlink(missing_ok=True)
            conversion.artifacts.remove(artifact)
            dropped[artifact.path.name] = f"{verdict.status}: {verdict.reason}"
    kept = tuple(v for v in agreement.verdicts if v.artifact.name not in dropped)
    return replace(agreement, verdicts=kept), dropped
