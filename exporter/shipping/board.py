"""Int8 files on the runtime of boards: whether TensorFlow Lite for Microcontrollers (TFLM) starts them, in how much.

It is asked where its package is installed: the verdicts of a run tell, and where nothing was judged a worker is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.artifact import Artifact
from converters.errors import EdgeportError
from converters.formats import Format, Precision
from converters.isolation import run_step
from converters.reduced_precisions import Conversion
from exporter.manifest.rows import Gate
from exporter.options import DeviceKind, RunOptions
from exporter.shipping.arena import Measured
from exporter.shipping.microcontroller import missing_kernels
from exporter.shipping.profiles import PROFILES
from validate.agreement import Agreement, Verdict
from validate.agreement.rows import ERROR
from validate.runtimes import Device, row_for
from validate.runtimes.tflm_arena import Arena
from validate.targets import Place, device_of, target_of

BOARD = Place(Device.TFLM)
"""Where `--profile microcontroller` proves its files."""

PHONE = Place(device_of("arm64"))
"""Where `--profile mobile` proves its files."""


@dataclass(frozen=True)
class OnBoard:
    """An int8 file on TFLM.

    Attributes:
        asked: TFLM is installed and was asked.
        measured: the arena that it takes; None where it was not asked, or does not start the file.
        refusal: why it does not start the file, or computes otherwise with it, as a sentence.
    """

    artifact: Artifact
    asked: bool = False
    measured: Measured | None = None
    refusal: str = ""

    @property
    def gate(self) -> Gate:
        """What it says of the file, as a gate of the file's own."""
        tflm = "TensorFlow Lite for Microcontrollers"
        if self.asked:
            reason = self.refusal or f"{tflm} starts it."
            return Gate(gate="microcontroller", passed=not self.refusal, reason=reason)
        missing = missing_kernels(self.artifact.path)
        reason = f"{tflm} has no kernel for {', '.join(missing)}." if missing else f"{tflm} has all of its kernels."
        return Gate(gate="microcontroller", passed=not missing, reason=reason)


def boards_of(conversion: Conversion, options: RunOptions) -> tuple[Artifact, ...]:
    """The artifacts that are to run on boards."""
    if DeviceKind.MICROCONTROLLER not in options.ship.profiles:
        return ()
    files = (a for a in conversion.artifacts if a.format is Format.TFLITE)
    return tuple(artifact for artifact in files if artifact.precision is Precision.INT8)


def proven_on(conversion: Conversion, options: RunOptions) -> dict[Artifact, tuple[Place, ...]]:
    """The places where single artifacts are judged besides those that were asked for, where these are installed.

    Boards' files on TFLM, phones' files on an emulated Arm.
    """
    found: dict[Artifact, tuple[Place, ...]] = {}
    for place, artifacts in ((BOARD, boards_of(conversion, options)), (PHONE, _phones_of(conversion, options))):
        if target_of(place.device).installed:
            found |= {artifact: (*found.get(artifact, ()), place) for artifact in artifacts}
    return found


def _phones_of(conversion: Conversion, options: RunOptions) -> tuple[Artifact, ...]:
    """The artifacts that are to run on phones."""
    if DeviceKind.MOBILE not in options.ship.profiles:
        return ()
    formats = PROFILES[DeviceKind.MOBILE].formats
    return tuple(artifact for artifact in conversion.artifacts if artifact.format in formats)


def tried_on_board(conversion: Conversion, agreement: Agreement | None, options: RunOptions) -> Mapping[str, OnBoard]:
    """By file name, the files that are to run on boards."""
    verdicts = {v.artifact: v for v in agreement.verdicts if v.ran.place == BOARD} if agreement else {}
    return {
        artifact.path.name: _judged(artifact, verdicts[artifact.path])
        if artifact.path in verdicts
        else _asked(artifact, options)
        for artifact in boards_of(conversion, options)
    }


def _judged(artifact: Artifact, verdict: Verdict) -> OnBoard:
    refusal = verdict.reason if verdict.missed or verdict.status == ERROR else ""
    return OnBoard(artifact, True, _measured(verdict.ran.arena), refusal)


def _asked(artifact: Artifact, options: RunOptions) -> OnBoard:
    if not target_of(BOARD.device).installed:
        return OnBoard(artifact)
    try:
        answer = run_step(
            "validate.runtimes.tflm:arena_of",
            {"path": str(artifact.path)},
            step="microcontroller",
            limits=options.common.limits,
            log=options.common.log,
            reads=[artifact.path],
        )
    except EdgeportError as error:
        return OnBoard(artifact, True, refusal=error.message)
    return OnBoard(artifact, True, _measured(Arena(**answer["arena"]) if answer["arena"] else None))


def _measured(arena: Arena | None) -> Measured | None:
    row = row_for(Format.TFLITE, BOARD.device)
    return Measured(arena, row.version) if arena and row else None
