"""Everything that a run can be asked for, as one value: a part for each step, of the very class that the step takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from converters.checks.base import Options, checked, part
from converters.checks.values import FilePath, Flag, Number, Several, Shape, Table, Text, Word
from converters.common import Common
from converters.errors import UsageError
from converters.options import ConvertOptions, Io, QuantizeOptions
from converters.shapes import check_batch
from validate.agreement.options import JudgeOptions
from validate.latency.options import BenchOptions
from validate.localize.options import LocalizeOptions
from validate.targets import Places


class DeviceKind(StrEnum):
    """A kind of device; `exporter.shipping.profiles` says what is made for each."""

    MOBILE = "mobile"
    SERVER = "server"
    MICROCONTROLLER = "microcontroller"


class Objective(StrEnum):
    """The measure that the recommended artifact is chosen by."""

    LATENCY = "latency"
    SIZE = "size"
    ACCURACY = "accuracy"


@dataclass(frozen=True)
class BuildChoices(Options):
    """For sources that are a name in the table, or weights with `architecture`.

    Attributes:
        input_shape: height, width and channels.
        settings: KEY to text.
        weights: a path, or `imagenet`.
    """

    architecture: str | None = checked(Text("--architecture"), None)
    input_shape: tuple[int, int, int] | None = checked(Shape("--input-shape"), None)
    classes: int | None = checked(Number("--classes", 1, whole=True), None)
    settings: Mapping[str, str] = checked(Table("--set", Text("--set")), {})
    weights: str | None = checked(Text("--weights", may_be_path=True), None)


@dataclass(frozen=True)
class Choice(Options):
    """The limits and the objective by which an artifact is recommended.

    Attributes:
        max_latency_ms: maximum p50.
        max_size_mb: maximum size in megabytes (10**6 bytes).
        min_agreement: minimum share of samples of the checkpoint's class.
        allow_unproven: recommends also what passes and is not proven to keep what the task needs.
    """

    objective: Objective = checked(Word("objective", (Objective,)), Objective.LATENCY)
    max_latency_ms: float | None = checked(Number("--max-latency", 0, above=True), None)
    max_size_mb: float | None = checked(Number("--max-size", 0, above=True), None)
    min_agreement: float | None = checked(Number("--min-agreement", 0, 1), None)
    allow_unproven: bool = checked(Flag("--allow-unproven"), False)


@dataclass(frozen=True)
class ShipOptions(Options):
    """The choices of what goes with the artifacts.

    Attributes:
        profiles: kinds of device to make for.
        labels: files with the names of an output's classes: `FILE` or `OUTPUT=FILE`.
        preprocess: what a device does to raw values: `KEY=VALUE` or `INPUT.KEY=VALUE`.
        bake_preprocess: artifacts take uint8 and scale it themselves.
        selfcheck: write `selfcheck/` where there are golden vectors.
    """

    profiles: tuple[DeviceKind, ...] = checked(Several("--profile", Word("profile", (DeviceKind,))), ())
    labels: tuple[str, ...] = checked(Several("--labels", Text("--labels", may_be_path=True)), ())
    preprocess: tuple[str, ...] = checked(Several("--preprocess", Text("--preprocess")), ())
    bake_preprocess: bool = checked(Flag("--bake-preprocess"), False)
    selfcheck: bool = checked(Flag("--selfcheck"), True)


@dataclass(frozen=True)
class Workspace(Options):
    """Where a run works, and what it says of itself.

    Attributes:
        cache: a folder of finished artifacts, shared between bundles.
        no_cache: makes everything afresh.
        force: replaces an output that is not a bundle.
        command: the argument vector, for the manifest.
        source_name: what the manifest calls the source; None is as it was given.
    """

    cache: Path | None = checked(FilePath("--cache"), None)
    no_cache: bool = checked(Flag("--no-cache"), False)
    force: bool = checked(Flag("--force"), False)
    command: tuple[str, ...] = checked(Several("command", Text("command")), ())
    source_name: str | None = checked(Text("source_name"), None)


@dataclass(frozen=True)
class RunOptions(Options):
    """The choices of a run: what to make, how to judge it and how to time it.

    Attributes:
        common: what several steps go by: seed, inputs, limits, how the source is opened.
        judge: None leaves the step out.
        bench: None leaves the step out.
        places: where files are judged and timed.
        choice: what an artifact must keep to, and what the recommendation goes by.
    """

    common: Common = part(Common)
    build: BuildChoices = part(BuildChoices)
    convert: ConvertOptions = part(ConvertOptions)
    quantize: QuantizeOptions = part(QuantizeOptions)
    judge: JudgeOptions | None = part(JudgeOptions, may_be_none=True)
    bench: BenchOptions | None = part(BenchOptions, may_be_none=True)
    places: Places = part(Places)
    localize: LocalizeOptions = part(LocalizeOptions)
    ship: ShipOptions = part(ShipOptions)
    choice: Choice = part(Choice)
    workspace: Workspace = part(Workspace)

    def __post_init__(self) -> None:
        """Raises UsageError for parts that contradict each other, after each part has checked itself."""
        super().__post_init__()
        if self.judge is not None:
            self.judge.refuse_unlabelled(self.common)
        check_batch(self.common.shapes, (self.convert.batch,) if self.convert.batch else ())
        if self.ship.bake_preprocess and self.quantize.io not in (None, Io.FLOAT):
            raise UsageError(
                f"--bake-preprocess gives inputs of uint8, and --io {self.quantize.io} would change them again.",
                next_step="Use one of the two.",
            )

    @classmethod
    def of(cls, **flat: Any) -> Self:
        """The same from the names of all parts' fields: `RunOptions.of(formats=("tflite",), samples=32, time=False)`.

        `judge=False` and `time=False` leave the step out, and `localize` takes one of the words of `Localized`.

        Raises:
            UsageError: a name that there is not, or a value that cannot be.
        """
        if isinstance(flat.get("judge"), bool):
            flat |= {} if flat.pop("judge") else {"judge": None}
        if "time" in flat:
            flat |= {} if Flag("time")(flat.pop("time")) else {"bench": None}
        if "localize" in flat and not isinstance(flat["localize"], LocalizeOptions):
            flat["which"] = flat.pop("localize")
        return super().of(**flat)
