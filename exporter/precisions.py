"""Which precisions a run makes, and the calibration data that they are made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.calibration import RANDOM, Calibration, Expected, random_calibration, read_calibration
from converters.checkpoints.ranges import Range
from converters.contract import Contract
from converters.derive import CALIBRATED, DeriveOptions, need_calibration, refuse_without_calibration
from converters.formats import Format, Precision
from converters.given import read_given
from converters.routes import ROUTES, Conversion, Target, resolve_targets
from converters.targets.ort import config_path
from exporter.options import DEFAULT_FORMATS, RunOptions
from exporter.passing import verdict_misses
from exporter.shipping.profiles import profile_targets
from validate.agreement import Agreement

AUTO = "auto"
_AUTO = (Precision.FLOAT32, Precision.FLOAT16, Precision.DYNAMIC_INT8, Precision.INT8, Precision.INT16X8)


def targets_of(options: RunOptions) -> tuple[Target, ...]:
    """What is to be made; `auto` stands for all that the formats can hold and the calibration data allows.

    With the formats left open, pairs that cannot be (an int8 SavedModel) are left out; with formats given they are an
    error.

    Raises:
        UsageError: an unknown word, pairs that cannot be made, or int8 without calibration data.
    """
    if options.profiles:
        return _ordered(profile_targets(options), options)
    words = tuple(p for p in options.precisions if p != AUTO)
    auto = len(words) < len(options.precisions)
    found = _open(options.formats, words) if options.formats == DEFAULT_FORMATS else _given(options.formats, words)
    if auto:
        found |= {
            r.target
            for r in ROUTES
            if r.target.format.value in options.formats
            and r.target.precision in _AUTO
            and (options.calibration or r.target.precision not in CALIBRATED)
        }
    return _ordered(found, options)


def _ordered(found: set[Target], options: RunOptions) -> tuple[Target, ...]:
    targets = tuple(r.target for r in ROUTES if r.target in found)
    if options.calibration is None:
        refuse_without_calibration(targets)
    return targets


def _given(formats: tuple[str, ...], precisions: tuple[str, ...]) -> set[Target]:
    return set(resolve_targets(formats, precisions)) if precisions else set()


def _open(formats: tuple[str, ...], precisions: tuple[str, ...]) -> set[Target]:
    found: set[Target] = set()
    for word in precisions:
        able = tuple(f for f in formats if any(r.target.format == f and r.target.precision == word for r in ROUTES))
        found |= set(resolve_targets(able or formats, (word,)))
    return found


class Calibrating:
    """Reads and checks calibration data as soon as the source's signature is known; before that nothing is converted.

    Args:
        scratch: where the checked arrays are kept for the worker.

    Attributes:
        contract: what the files are to say of themselves, once it is known.
    """

    def __init__(self, targets: tuple[Target, ...], options: RunOptions, scratch: Path, log: Path) -> None:
        self._options, self._scratch, self._log = options, scratch, log
        self.contract: Contract | None = None
        self._needed = bool(need_calibration(targets))
        self.data: Calibration | None = None
        self.judged_on: Mapping[str, Any] = {}

    def on_loaded(self, conversion: Conversion) -> None:
        """See `converters.calibration.read_calibration` for what it raises."""
        signature, ranges, options = conversion.signature, conversion.ranges, self._options
        if not self._needed or self.data is not None or signature is None:
            return
        if options.input_range:
            given = Range(*options.input_range, "--input-range")
            ranges = {spec.name: given for spec in signature.inputs if spec.dtype.startswith("float")}
        if options.calibration == RANDOM:
            self.data = random_calibration(signature, options.calibration_samples, ranges, options.seed)
        else:
            if options.inputs is not None:
                self.judged_on = read_given(options.inputs, signature).arrays
            expected = Expected(ranges, self.judged_on)
            path = Path(options.calibration or "")
            self.data = read_calibration(path, signature, options.calibration_samples, expected)
        self.data.save(self._arrays)

    @property
    def _arrays(self) -> Path:
        return self._scratch / "calibration.npz"

    def ready(self, conversion: Conversion) -> DeriveOptions:
        """How the reduced precisions are made; reads the data now where no worker had to load the source."""
        self.on_loaded(conversion)
        return self.how()

    def how(self) -> DeriveOptions:
        """How the reduced precisions are made."""
        options = self._options
        return DeriveOptions(
            calibration=self._arrays if self.data else None,
            io=options.io,
            device=options.target_device,
            method=options.calibration_method,
            notes=self.data.notes() if self.data else (),
            limits=options.limits,
            log=self._log,
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
