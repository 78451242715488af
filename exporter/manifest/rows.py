"""The rows of a manifest.

Those of verdicts, timings and comparisons are validate's own values; the others are here. Rows may carry more fields
than these (design: JSON), which are kept when a manifest is written again.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, with_config

from converters.calibration import Finding
from converters.contract import Contract, InputContract, OutputContract
from converters.formats import Format, Precision
from exporter.manifest.facts import InterfaceFacts, OpeningFacts, RangeFacts
from validate.agreement.losses import Changed, Estimate, Loss, LossGate
from validate.agreement.rows import GateRow, JudgedRow, OutputRow
from validate.inputs import Range
from validate.latency.rows import ComparisonRow, TimingRow
from validate.latency.statistics.percentiles import Interval
from validate.runtimes.tflm_arena import Arena
from validate.targets.ethos_u import Estimate as Compiled
from validate.written import written

Sha256 = str
HEX = r"^[0-9a-f]{64}$"

for _row in (
    GateRow, OutputRow, JudgedRow, Range, TimingRow, ComparisonRow, Interval, Finding, Contract, InputContract,
    OutputContract, Loss, LossGate, Changed, Estimate, Arena, Compiled,
):  # fmt: skip
    with_config(ConfigDict(extra="allow", strict=True))(_row)

# A lambda, since a serializer whose return type is known would stand in the schema in the place of the row.
_WRITTEN = PlainSerializer(lambda row: written(row))
JudgedField = Annotated[JudgedRow, _WRITTEN]
TimingField = Annotated[TimingRow, _WRITTEN]
ComparisonField = Annotated[ComparisonRow, _WRITTEN]
ContractField = Annotated[Contract, _WRITTEN]
FindingField = Annotated[Finding, _WRITTEN]


class Closed(BaseModel):
    """Fields are fixed: an unknown one means another schema."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


class Open(Closed):
    """A row, which may carry more fields than its class names."""

    model_config = ConfigDict(extra="allow")

    def to_document(self) -> dict[str, Any]:
        document: dict[str, Any] = self.model_dump(mode="json")
        return document


def _optional() -> Any:
    """A field that is not written where it is None."""
    return Field(default=None, exclude_if=lambda value: value is None)


class Tool(Closed):
    """What wrote the bundle; `command` is the argument vector that makes it again."""

    name: str
    version: str
    command: tuple[str, ...] = ()


class Source(Closed):
    """The checkpoint. `path` is as the user gave it; `parameters` is a count, None where it cannot be told.

    `opening` is what the user added to it (signature, code, replaced layers); empty for most.
    """

    path: str
    kind: str
    sha256: Sha256 = Field(pattern=HEX)
    parameters: int | None = Field(default=None, ge=0)
    opening: OpeningFacts = Field(default_factory=OpeningFacts)


class Tensor(Open):
    """An input or output. A dimension is a size, `"batch"`, or `"<input>_dim<k>"` for another unknown one."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


class State(Open):
    """A state of a step model: what it gives as `output` is fed as `input` to the next step; `initial` to the first."""

    input: str
    output: str
    shape: tuple[int, ...]
    dtype: str
    initial: float


class SignatureRow(Closed):
    """`states` is there for step models alone; their inputs and outputs are among the others."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[State, ...] = Field(default=(), exclude_if=operator.not_)


class Gate(Open):
    """A gate of an artifact's own, beside its verdict: `fully-integer`, `finite-weights` or `microcontroller`."""

    gate: str
    passed: bool
    reason: str


class Island(Open):
    """An operation of a quantized file that computes in float. `macs` is None where it is not known."""

    layer: str
    operation: str
    macs: int | None = None


class IntegerRow(Open):
    """What a quantized file computes in; shares are of its multiply-adds, None where those are not known."""

    basis: str
    operations: int
    integer_operations: int = 0
    hybrid_operations: int = 0
    conversions: int = 0
    macs: int | None = None
    integer_macs_share: float | None = None
    hybrid_macs_share: float | None = None
    flex_ops: tuple[str, ...] = ()
    custom_ops: tuple[str, ...] = ()
    islands: tuple[Island, ...] = ()


class CalibrationRow(Open):
    """What a file's ranges were told from."""

    source: str
    samples: int
    findings: tuple[FindingField, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What it says, in sentences."""
        return (f"Calibrated on {self.source}.", *map(str, self.findings))


class KeptRow(Open):
    """A layer that a rescue kept in float, and what the logits would have without it."""

    layer: str
    operation: str
    macs_share: float
    sqnr_db_without: float
    drop_without: float | None = _optional()


class ByMetricRow(Open):
    """A search by the user's metric: how far it falls, on the samples that the layers were chosen with, and how many
    others it is judged on; 0 where there were too few."""

    metric: str
    drop_before: float
    drop_after: float
    chosen_with: int
    judged_on: int
    tries: int


class RescueRow(Open):
    """What a rescue came to: decibels of the logits before and after, and the multiply-adds that stay float."""

    reached: bool
    float_layers: tuple[KeptRow, ...] = ()
    float_macs_share: float = 0.0
    sqnr_db_before: float
    sqnr_db_after: float
    reason: str
    by_metric: ByMetricRow | None = _optional()


class ReuseRow(Open):
    """By what a later run finds a float32 artifact again, and what it then need not load the source for."""

    key: str
    signature: SignatureRow
    notes: tuple[str, ...] = ()
    model_notes: tuple[str, ...] = ()
    ranges: dict[str, RangeFacts] = {}
    facts: InterfaceFacts = Field(default_factory=InterfaceFacts)
    shapes: dict[str, tuple[int | str, ...]] = {}


class ArtifactRow(Open):
    """A file, or SavedModel folder, that exists in the bundle. `sha256` is `converters.artifact.digest`.

    `checked` is true where the file was opened by its runtime and run once when it was made, and answered as the model
    does, up to what its precision rounds. It is no verdict. False: `--no-check`, or a file that was a source itself.
    `reuse` and what follows stand in a row only where there is something to say.
    """

    path: str
    format: Format
    precision: Precision
    signature: SignatureRow
    size_bytes: int = Field(ge=0)
    sha256: Sha256 = Field(pattern=HEX)
    road: str = ""
    reused: bool = False
    checked: bool = False
    notes: tuple[str, ...] = ()
    reuse: ReuseRow | None = _optional()
    integer: IntegerRow | None = _optional()
    calibration: CalibrationRow | None = _optional()
    rescue: RescueRow | None = _optional()
    gates: tuple[Gate, ...] = Field(default=(), exclude_if=operator.not_)


class FailureRow(Open):
    """A target that was asked for and not made."""

    format: Format
    precision: Precision
    step: str
    status: Literal["unsupported", "failed", "crashed", "timeout", "oom"]
    reason: str
    next: str = ""
    exit_code: int


class Miss(Open):
    """A gate that was not passed.

    `subject` is an artifact's path, or the source's where no artifact is meant. `gate` is the measure of the agreement
    (`noise_ratio`, `rounding_ratio`, `sqnr_db`, `nonfinite`, else `agreement`), `loss`, `inconclusive`, `error`, the
    name of a gate of the artifact's own, `timing`, or a limit's name. `value` is what was found where that is a number;
    null is one that is not finite too. `target` and `setting` say where a verdict is from that is not the host's own.
    """

    subject: str
    gate: str
    target: str | None = _optional()
    setting: str | None = _optional()
    limit: float | None = None
    value: float | None = None
    sentence: str


class Passing(Open):
    """Whether every gate was passed, and which were missed; see `exporter.manifest.passing`.

    What was not made is not a gate.
    """

    ok: bool
    misses: tuple[Miss, ...] = ()
    allow_inconclusive: bool = False

    @classmethod
    def of(cls, misses: Iterable[Miss], *, allow_inconclusive: bool = False) -> Passing:
        listed = tuple(misses)
        return cls(ok=not listed, misses=listed, allow_inconclusive=allow_inconclusive)


class FileRow(Closed):
    path: str
    size_bytes: int = Field(ge=0)
    sha256: Sha256 = Field(pattern=HEX)
