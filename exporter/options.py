"""Everything that a run can be asked for, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converters.checkpoints.opening import Opening
from converters.errors import UsageError
from converters.isolation import Limits
from validate.latency.variant import DEFAULT, Variant

DEFAULT_FORMATS = ("savedmodel", "tflite", "onnx")
DEFAULT_PRECISIONS = ("float32",)
LOCALIZED = ("auto", "all", "off")
"""What a run localizes: artifacts that disagree, all that were judged, none."""


@dataclass(frozen=True)
class BuildChoices:
    """For sources that are a name in the table, or weights with `architecture`."""

    architecture: str | None = None
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    weights: str | None = None


@dataclass(frozen=True)
class Choice:
    """What makes an artifact the one to ship.

    Attributes:
        objective: `latency`, `size` or `accuracy`.
        max_latency_ms: greatest p50.
        max_size_mb: greatest size in megabytes (10**6 bytes).
        min_agreement: least share of samples of the checkpoint's class.
    """

    objective: str = "latency"
    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    min_agreement: float | None = None


@dataclass(frozen=True)
class TimingChoices:
    """How artifacts are timed, beyond devices, threads and seconds.

    Attributes:
        variants: session settings; every artifact has a row for each that means something to its runtime.
        cold_starts: fresh processes whose way to the first answer is timed.
        tune: try every setting of a runtime and keep the fastest, as code to paste.
        profile: also take the time of every operation, in a process of its own.
    """

    variants: tuple[Variant, ...] = (DEFAULT,)
    cold_starts: int = 1
    tune: bool = False
    profile: bool = False


@dataclass(frozen=True)
class RunOptions:
    """What to make, how to judge it and how to time it.

    Attributes:
        batch: fixed batch size; None keeps the batch dynamic.
        inputs: what to judge on; None draws `samples` seeded inputs.
        tolerances: overrides of the gates.
        threads: for timing; empty takes the physical cores given to us.
        max_seconds: of timing, all rows together.
        require: devices without which the run fails.
        allow_inconclusive: an `inconclusive` verdict passes.
        calibration: data for int8: a path, or `random`; None where no precision needs any.
        calibration_method: of ONNX: `minmax`, `entropy` or `percentile`.
        io: what a fully quantized TFLite file takes and gives: `float`, `int8` or `uint8`.
        target_device: what quantized ONNX files are sized for, `cpu` or `tensorrt`.
        fully_integer: a float operation in an int8 file fails the run.
        allow_nonfinite: weights that hold NaN or infinity pass.
        rescue_budget: share of multiply-adds that may stay float to mend a precision that misses its gate; 0 is off.
        profiles: kinds of device to make for, see `exporter.shipping.profiles`.
        labels: files with the names of an output's places: `FILE` or `OUTPUT=FILE`.
        preprocess: what a device does to raw values: `KEY=VALUE` or `INPUT.KEY=VALUE`.
        bake_preprocess: artifacts take uint8 and scale it themselves.
        choice: what an artifact must keep to, and what the recommendation goes by.
        jobs: conversion workers at a time.
        cache: a folder of finished artifacts, shared between bundles.
        no_cache: makes everything afresh.
        judge, time: False leaves the step out (`export`).
        timing: session settings, tuning and profiles.
        opening: what a source needs besides itself: a signature, the user's code, layers to replace.
        localize: which artifacts' layers are held against the checkpoint's: one of `LOCALIZED`.
        selfcheck: write `selfcheck/` where there are golden vectors.
        command: the argument vector, for the manifest.
        source_name: what the manifest calls the source; None is as it was given.
    """

    formats: tuple[str, ...] = DEFAULT_FORMATS
    precisions: tuple[str, ...] = DEFAULT_PRECISIONS
    batch: int | None = None
    opset: int | None = None
    allow_flex: bool = False
    inputs: Path | None = None
    samples: int = 16
    seed: int = 0
    input_range: tuple[float, float] | None = None
    tolerances: Mapping[str, float] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu",)
    threads: tuple[int, ...] = ()
    max_seconds: float = 60.0
    require: tuple[str, ...] = ()
    allow_inconclusive: bool = False
    limits: Limits = field(default_factory=Limits)
    jobs: int = 1
    cache: Path | None = None
    no_cache: bool = False
    force: bool = False
    calibration: str | None = None
    calibration_samples: int = 128
    calibration_method: str = "minmax"
    io: str = "float"
    target_device: str = "cpu"
    fully_integer: bool = False
    allow_nonfinite: bool = False
    rescue_budget: float = 0.1
    profiles: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    preprocess: tuple[str, ...] = ()
    bake_preprocess: bool = False
    choice: Choice = field(default_factory=Choice)
    judge: bool = True
    time: bool = True
    timing: TimingChoices = field(default_factory=TimingChoices)
    localize: str = "auto"
    selfcheck: bool = True
    build: BuildChoices = field(default_factory=BuildChoices)
    opening: Opening = field(default_factory=Opening)
    command: tuple[str, ...] = ()
    source_name: str | None = None

    def __post_init__(self) -> None:
        if self.localize not in LOCALIZED:
            raise UsageError(
                f"There is nothing to localize called `{self.localize}`.",
                next_step=f"Choose from: {', '.join(LOCALIZED)}.",
            )
