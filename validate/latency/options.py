"""A user's options of a timing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from converters.checks.base import Options, checked
from converters.checks.values import Flag, Instance, Number, Several, Word
from validate.latency.variant import DEFAULT, Variant


class Device(StrEnum):
    """Where a file runs. A missing device is a row of its own, never silently the CPU."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


@dataclass(frozen=True)
class BenchOptions(Options):
    """How to time artifacts. Every combination of device, threads, batch and variant is a row of its own.

    Attributes:
        devices: where to run.
        threads: intra-operator threads; None takes the physical cores that we may use.
        batches: samples in one run; None takes the fixed batch size of the artifact, or 1.
        variants: session settings; one that means nothing to a row's runtime is taken once.
        cold_starts: fresh processes whose way to the first answer is timed; the one that is then timed counts.
        max_seconds: for everything, loading and warm-up included. At least six rounds are taken, however
            little time remains.
        require: devices that are timed too, and without which a run fails.
        tune: try every setting of a runtime and keep the fastest, as code to paste.
        profile: also take the time of every operation, in a process of its own.
    """

    devices: tuple[Device, ...] = checked(Several("--device", Word("device", (Device,)), least=1), (Device.CPU,))
    threads: tuple[int, ...] | None = checked(Several("--threads", Number("--threads", 1, whole=True), least=1), None)
    batches: tuple[int, ...] | None = checked(Several("--batch", Number("--batch", 1, whole=True), least=1), None)
    variants: tuple[Variant, ...] = checked(Several("variants", Instance("variants", Variant), least=1), (DEFAULT,))
    cold_starts: int = checked(Number("--cold", 1, whole=True), 1)
    max_seconds: float = checked(Number("--max-seconds", 0, above=True), 60.0)
    require: tuple[Device, ...] = checked(Several("--require", Word("device", (Device,))), ())
    tune: bool = checked(Flag("--tune"), False)
    profile: bool = checked(Flag("--profile-ops"), False)
