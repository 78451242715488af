"""What to measure, and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from converters.checkpoints.parts import parts_of
from converters.errors import UsageError
from converters.formats import format_of, precision_in_name
from converters.isolation import Limits
from validate.latency.host import physical_cores
from validate.latency.machine import Machine
from validate.latency.results import Row
from validate.latency.variant import DEFAULT, Variant

DEVICES = ("cpu", "cuda", "tensorrt")


@dataclass(frozen=True)
class MeasureOptions:
    """How to time artifacts. Every combination of device, threads and batch is a row in a process of its own.

    Attributes:
        devices: of `cpu`, `cuda`, `tensorrt`.
        threads: intra-operator threads; the physical cores given to us by default.
        batches: samples in one run.
        variants: session settings; one that means nothing to a row's runtime is taken once.
        compare_settings: compare an artifact's rows of all settings with each other, not artifacts of one setting.
        board: where to measure, when not here (see `validate.latency.board`).
        cold_starts: fresh processes whose way to the first answer is timed; the one that is then timed counts.
        max_seconds: for everything, loading and warm-up included. At least six rounds are taken, however
            little is left.
        seed: of the order within rounds, of inputs that are made up, and of the bootstrap.
        golden: an `.npz` with `input/<name>` and `output/<name>` arrays, samples along the first axis. Without it
            inputs are made up and answers stay unchecked.
        golden_of: golden vectors of single artifacts, where they differ from `golden`.
        limits: of each worker; `timeout_s` is for one step of it (load, first run, slot), not for the whole. None is
            180 s on the CPU, 300 s on CUDA and 900 s on TensorRT, which builds its engine while loading.
        log: file that the frameworks' words are appended to.
    """

    devices: tuple[str, ...] = ("cpu",)
    threads: tuple[int, ...] = field(default_factory=lambda: (physical_cores(),))
    batches: tuple[int, ...] = (1,)
    variants: tuple[Variant, ...] = (DEFAULT,)
    compare_settings: bool = False
    board: Machine | None = None
    cold_starts: int = 1
    max_seconds: float = 60.0
    seed: int = 0
    golden: Path | None = None
    golden_of: Mapping[Path, Path] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    log: Path | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for values that cannot be."""
        for device in self.devices:
            if device not in DEVICES:
                raise UsageError(f"{device} is no device.", next_step=f"Choose of {', '.join(DEVICES)}.")
        for what, values in (("threads", self.threads), ("batches", self.batches)):
            if not values or min(values) < 1:
                raise UsageError(
                    f"A timing needs at least 1 in its {what}, not {min(values, default='none')}.",
                    next_step=f"Give {what} of 1 or more.",
                )
        if self.cold_starts < 1:
            raise UsageError(f"{self.cold_starts} cold starts are too few.", next_step="Give --cold 1 or more.")
        if not self.max_seconds > 0:
            raise UsageError(
                f"{self.max_seconds:g} seconds are too few to time anything.", next_step="Give --max-seconds above 0."
            )
        for golden in (self.golden, *self.golden_of.values()):
            if golden is not None and not golden.is_file():
                raise UsageError(f"{golden} is not there.", next_step="Give an .npz of golden vectors.", file=golden)

    def golden_for(self, row: Row) -> Path | None:
        """The golden vectors that a row's answers are checked against."""
        return self.golden_of.get(row.given, self.golden)

    def reads_of(self, row: Row) -> tuple[Path, ...]:
        """What a row's worker reads: the artifact and its golden vectors."""
        golden = self.golden_for(row)
        return (*parts_of(row.artifact), *((golden,) if golden else ()))


def rows_of(artifacts: Sequence[Path], options: MeasureOptions) -> list[Row]:
    """The rows to time, the first artifact's first.

    Raises:
        UsageError: there is no artifact, one is not there, or it is a checkpoint or another kind of file.
    """
    if not artifacts:
        raise UsageError("There is nothing to time.", next_step="Give at least one artifact.")
    rows = []
    for path in artifacts:
        if not path.exists():
            raise UsageError(f"{path} is not there.", next_step="Check the path.", file=path)
        fmt = format_of(path)
        if fmt is None:
            raise UsageError(
                f"{path} is no artifact: neither a SavedModel folder nor a .tflite, .onnx or .ort file.",
                next_step="Export a checkpoint first (edgeport export), then time what it made.",
                file=path,
            )
        rows += [
            Row(path, fmt, precision_in_name(path), device, threads, batch, variant)
            for device in dict.fromkeys(options.devices)
            for threads in dict.fromkeys(options.threads)
            for batch in dict.fromkeys(options.batches)
            for variant in dict.fromkeys(v.for_row(fmt, device) for v in options.variants)
        ]
    return rows
