"""One measurement: the artifacts, the machine, and the answers to expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from converters.checkpoints.parts import parts_of
from converters.checks.base import Options, part
from converters.common import Common
from converters.errors import UsageError
from converters.formats import format_of
from converters.readers.precision import known_precision
from converters.shapes import check_batch, timed_batch
from validate.latency.host.facts import physical_cores
from validate.latency.options import BenchOptions
from validate.latency.results import Row
from validate.targets import HOST, PlacedFile, Places

Allowed = Mapping[PlacedFile, Mapping[str, float]]
"""By artifact and place, what the verdict there found right, by output."""


@dataclass(frozen=True)
class BenchJob(Options):
    """One measurement: how to time, options that all steps share, and facts of the artifacts.

    `common.limits` are of each worker; `timeout_s` is for one step of it (load, first run, slot), not for all of them.
    None is 180 s on the CPU, 300 s on CUDA and 900 s on TensorRT, which builds its engine while loading. `common.seed`
    is of the order within rounds, of synthetic inputs, and of the bootstrap.

    Attributes:
        batch: the fixed batch size of the artifacts; None for a dynamic one.
        golden: an `.npz` with `input/<name>` and `output/<name>` arrays, samples along the first axis. Without it
            inputs are synthetic and answers stay unchecked.
        golden_of: golden vectors of single artifacts, where they differ from `golden`.
        allowed_of: of artifacts whose verdict is `agree`, by target, setting and output how far from the golden one
            its answers may lie.
        compare_settings: compare an artifact's rows of all settings with each other, not artifacts of one setting.
    """

    options: BenchOptions = part(BenchOptions)
    common: Common = part(Common)
    places: Places = part(Places)
    batch: int | None = None
    golden: Path | None = None
    golden_of: Mapping[Path, Path] = field(default_factory=dict)
    allowed_of: Allowed = field(default_factory=dict)
    compare_settings: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError where golden vectors do not exist, or two options speak of different batches."""
        super().__post_init__()
        check_batch(self.common.shapes, self.options.batches or ((self.batch,) if self.batch else ()))
        for golden in (self.golden, *self.golden_of.values()):
            if golden is not None and not golden.is_file():
                raise UsageError(f"{golden} is not there.", next_step="Give an .npz of golden vectors.", file=golden)

    @property
    def threads(self) -> tuple[int, ...]:
        """How many threads, each number once."""
        return tuple(dict.fromkeys(self.options.threads or (physical_cores(),)))

    @property
    def batches(self) -> tuple[int, ...]:
        """Samples in one run, each number once."""
        return tuple(dict.fromkeys(self.options.batches or (self.batch or timed_batch(self.common.shapes) or 1,)))

    def golden_for(self, row: Row) -> Path | None:
        """The golden vectors that a row's answers are checked against."""
        return self.golden_of.get(row.given, self.golden)

    def allowed_for(self, row: Row) -> dict[str, float]:
        """What was found right where a row runs; of a setting of the host that was not judged, in its default one."""
        found = self.allowed_of.get(row.place.of(row.given))
        if found is None and row.device == HOST.device:
            found = self.allowed_of.get(HOST.of(row.given))
        return dict(found or {})

    def reads_of(self, row: Row) -> tuple[Path, ...]:
        """Files that a row's worker reads: the artifact and its golden vectors."""
        golden = self.golden_for(row)
        return (*parts_of(row.artifact), *((golden,) if golden else ()))


def rows_of(artifacts: Sequence[Path], job: BenchJob) -> list[Row]:
    """The rows to time, the first artifact's first.

    Raises:
        UsageError: there is no artifact, one does not exist, or it is a checkpoint or another kind of file.
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
        precision = known_precision(path)
        rows += [
            Row(path, fmt, precision, place.device, threads, batch, place.variant)
            for device in job.places.all_devices
            for threads in job.threads
            for batch in job.batches
            for place in job.places.for_format(fmt)
            if place.device == device
        ]
    return rows
