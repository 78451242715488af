"""`manifest.json`: what a bundle holds, as values; read with suspicion and written in one canonical form.

`digest` covers the whole document, so that an edited manifest is found out. `content_digest` covers what must be the
same every time: two runs from one source agree on it whatever the clock, the host or the folder. A digest without a
signature protects from damage, not from an attacker, who can write a new digest.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from converters.errors import IntegrityError
from converters.formats import Format, Precision
from validate.agreement.results import GateRow

SCHEMA: Literal["edgeport.manifest/1"] = "edgeport.manifest/1"
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
ANSWERS = "answers.npz"

Sha256 = str
_HEX = r"^[0-9a-f]{64}$"


class _Closed(BaseModel):
    """Fields are fixed: an unknown one means another schema."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


class _Row(_Closed):
    """Rows may carry more fields than these (design: JSON)."""

    model_config = ConfigDict(extra="allow")

    def more(self) -> dict[str, Any]:
        """The fields that this version of the schema does not name."""
        return dict(self.model_extra or {})

    def to_document(self) -> dict[str, Any]:
        document: dict[str, Any] = self.model_dump(mode="json")
        return document


class Tool(_Closed):
    """What wrote the bundle; `command` is the argument vector that makes it again."""

    name: str
    version: str
    command: tuple[str, ...] = ()


class Source(_Closed):
    """The checkpoint. `path` is as the user gave it; `parameters` is a count, None where it cannot be told.

    `opening` is what the user added to it (signature, code, replaced layers); `unsafe` in it: code ran that is not
    Keras' own. Empty for most.
    """

    path: str
    kind: str
    sha256: Sha256 = Field(pattern=_HEX)
    parameters: int | None = Field(default=None, ge=0)
    opening: dict[str, JsonValue] = {}


class Tensor(_Row):
    """An input or output. A dimension is a size, `"batch"`, or `"<input>_dim<k>"` for another unknown one."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


class SignatureRow(_Closed):
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Gate(_Row):
    """A gate of an artifact's own, beside its verdict: `fully-integer`, `finite-weights` or `microcontroller`."""

    gate: str
    passed: bool
    reason: str


class ArtifactRow(_Row):
    """A file, or SavedModel folder, that exists in the bundle. `sha256` is `converters.artifact.digest`."""

    path: str
    format: Format
    precision: Precision
    signature: SignatureRow
    size_bytes: int = Field(ge=0)
    sha256: Sha256 = Field(pattern=_HEX)
    road: str = ""
    reused: bool = False
    notes: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = Field(default=(), exclude_if=operator.not_)


class FailureRow(_Row):
    """A target that was asked for and not made."""

    format: Format
    precision: Precision
    step: str
    status: Literal["unsupported", "failed", "crashed", "timeout", "oom"]
    reason: str
    exit_code: int


class OutputRow(_Row):
    """Agreement on one output. A null decibel or ratio is one that is not finite, as of identical outputs.

    `max_abs` and `rmse` are on the named basis; where that is `logits`, `probability_max_abs` is on what comes after.
    """

    name: str
    basis: str
    max_abs: float | None = None
    rmse: float | None = None
    sqnr_db: float | None = None
    noise_ratio: float | None = None
    top1_agreement: float | None = None
    accuracy: float | None = None
    nonfinite: int | None = None
    probability_max_abs: float | None = None
    gate: GateRow | None = None


class VerdictRow(_Row):
    """Whether one artifact agrees with the checkpoint. `artifact` is a path of `artifacts[]`."""

    artifact: str
    status: Literal["agree", "disagree", "inconclusive", "error"]
    reason: str | None = None
    outputs: tuple[OutputRow, ...] = ()
    notes: tuple[str, ...] = ()


class Interval(_Row):
    """A value with its 95 % confidence interval."""

    value: float
    low: float | None = None
    high: float | None = None


class TimingRow(_Row):
    """Latency of one artifact on one device. Milliseconds; throughput in inferences a second; memory in bytes."""

    artifact: str
    format: str
    precision: str | None = None
    device: str
    status: Literal["ok", "unavailable", "error"]
    reason: str | None = None
    next: str | None = None
    threads: int | None = None
    batch: int | None = None
    boundary: str | None = None
    variant: str | None = None
    p50_ms: Interval | None = None
    p90_ms: Interval | float | None = None
    p95_ms: Interval | float | None = None
    p99_ms: Interval | float | None = None
    min_ms: float | None = None
    throughput: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    peak_rss_bytes: int | None = None
    samples: int | None = None
    flags: tuple[str, ...] = ()


class ComparisonRow(_Row):
    """`ratio` is candidate / baseline of p50; the verdict is said of the candidate."""

    baseline: str
    candidate: str
    ratio: Interval
    verdict: Literal["FASTER", "SLOWER", "SAME", "AMBIGUOUS"]


class Miss(_Row):
    """A gate that was not passed.

    `subject` is an artifact's path, or the source's where no artifact is meant. `gate` is the measure of the agreement
    (`noise_ratio`, `rounding_ratio`, `sqnr_db`, `nonfinite`, else `agreement`), `inconclusive`, `error`, the name of a
    gate of the artifact's own, `timing`, or a limit's name. `value` is what was found where that is a number; null is
    one that is not finite too.
    """

    subject: str
    gate: str
    limit: float | None = None
    value: float | None = None
    sentence: str


class Passing(_Row):
    """Whether every gate was passed, and which were missed; see `exporter.passing`. What was not made is no gate."""

    ok: bool
    misses: tuple[Miss, ...] = ()
    allow_inconclusive: bool = False

    @classmethod
    def of(cls, misses: Iterable[Miss], *, allow_inconclusive: bool = False) -> Passing:
        listed = tuple(misses)
        return cls(ok=not listed, misses=listed, allow_inconclusive=allow_inconclusive)


class FileRow(_Closed):
    path: str
    size_bytes: int = Field(ge=0)
    sha256: Sha256 = Field(pattern=_HEX)


class Manifest(_Closed):
    """The whole document. Build one with `Manifest.from_document`, read one with `manifest_file.load`."""

    schema_version: Literal["edgeport.manifest/1"] = Field(default=SCHEMA, alias="schema")
    tool: Tool
    digest: Sha256 | None = Field(default=None, pattern=_HEX)
    content_digest: Sha256 | None = Field(default=None, pattern=_HEX)
    source: Source
    signature: SignatureRow
    preprocessing: JsonValue = None
    contract: JsonValue = None
    shipping: JsonValue = None
    artifacts: tuple[ArtifactRow, ...]
    failures: tuple[FailureRow, ...] = ()
    verdicts: tuple[VerdictRow, ...] = ()
    timings: tuple[TimingRow, ...] = ()
    comparisons: tuple[ComparisonRow, ...] = ()
    recommended: dict[str, JsonValue] = {}
    passing: Passing | None = Field(default=None, exclude_if=lambda value: value is None)
    environment: dict[str, JsonValue] = {}
    created: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
    files: tuple[FileRow, ...] = ()

    @property
    def allows_inconclusive(self) -> bool:
        """Whether an inconclusive verdict was allowed to pass. An older manifest tells by its command line alone."""
        if self.passing is not None:
            return self.passing.allow_inconclusive
        return "--allow-inconclusive" in self.tool.command

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Manifest:
        """Checks a document made in this program. Numbers that are not finite become null: JSON has none.

        Raises:
            IntegrityError: a field is missing, unknown or of the wrong type.
        """
        return validated(json.dumps(_finite(document), ensure_ascii=False), MANIFEST)

    def to_document(self) -> dict[str, Any]:
        """The JSON document, with every field present."""
        document: dict[str, Any] = self.model_dump(mode="json")
        return document

    def with_files(self, files: tuple[FileRow, ...]) -> Manifest:
        """The same manifest listing `files`, with both digests computed anew."""
        listed = self.model_copy(update={"files": tuple(sorted(files, key=lambda row: row.path))})
        named = listed.model_copy(update={"content_digest": content_digest(listed)})
        return named.model_copy(update={"digest": document_digest(named.to_document())})

    def to_bytes(self) -> bytes:
        """What `manifest.json` holds: indented for people; the digests are over the canonical form, not over this."""
        text = json.dumps(self.to_document(), indent=2, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"


def canonical(document: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8. Raises ValueError on NaN, infinities and lone surrogates."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def document_digest(document: Mapping[str, Any]) -> Sha256:
    """SHA-256 of the document in canonical form, less its own `digest`."""
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(canonical(rest)).hexdigest()


def content_digest(manifest: Manifest) -> Sha256:
    """SHA-256 over what must be the same every time: source, signature, artifacts and golden vectors."""
    fields = {"path", "format", "precision", "signature", "size_bytes", "sha256"}
    varying = {"ort": {"sha256"}}  # ONNX Runtime writes the tables of one graph in another order every time
    golden = next((row.sha256 for row in manifest.files if row.path == GOLDEN), None)
    content = {
        "source": manifest.source.model_dump(
            mode="json", exclude={"path"} if manifest.source.opening else {"path", "opening"}
        ),
        "signature": manifest.signature.model_dump(mode="json"),
        "artifacts": [
            row.model_dump(mode="json", include=fields - varying.get(row.format, set()))
            for row in sorted(manifest.artifacts, key=lambda row: row.path)
        ],
        "golden": golden,
    }
    return hashlib.sha256(canonical(content)).hexdigest()


def validated(data: str | bytes, path: Path | str) -> Manifest:
    """The manifest that JSON text holds. Raises IntegrityError naming the first field that is wrong."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as cause:
        first = cause.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:120] or "the document"
        raise damaged(path, f"is wrong at {where}: {first['msg'][:160]}") from cause


def damaged(path: Path | str, what: str) -> IntegrityError:
    """The error for a manifest or file that is not what it should be."""
    return IntegrityError(
        f"{path} {what}.", next_step="Make the bundle again, or get an undamaged copy of it.", file=path, step="verify"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    return value
