"""`manifest.json`: what a bundle holds, as values; read with suspicion and written in one canonical form.

`digest` covers the whole document, so that an edited manifest is found out. `content_digest` covers what must be the
same every time: two runs from one source agree on it whatever the clock, the host or the folder. A digest without a
signature protects from damage, not from an attacker, who can write a new digest.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from converters.errors import IntegrityError
from exporter.manifest.facts import EnvironmentFacts, RangeFacts, RecommendedFacts, ShippingFacts
from exporter.manifest.rows import (
    HEX,
    ArtifactRow,
    Closed,
    ComparisonField,
    ContractField,
    FailureRow,
    FileRow,
    JudgedField,
    Passing,
    Sha256,
    SignatureRow,
    Source,
    TimingField,
    Tool,
)
from validate.agreement.rows import JudgedRow

SCHEMA: Literal["edgeport.manifest/2"] = "edgeport.manifest/2"
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
ANSWERS = "answers.npz"
SCORES = "metric.npz"


class Manifest(Closed):
    """The whole document. Build one with `Manifest.from_document`, read one with `exporter.manifest.reader.load`.

    `schema_version` is what it was written as; whoever writes it again writes the newest. `passing` is None while a
    manifest is being made.
    """

    schema_version: Literal["edgeport.manifest/2", "edgeport.manifest/1"] = Field(default=SCHEMA, alias="schema")
    tool: Tool
    digest: Sha256 | None = Field(default=None, pattern=HEX)
    content_digest: Sha256 | None = Field(default=None, pattern=HEX)
    source: Source
    signature: SignatureRow
    preprocessing: dict[str, RangeFacts] | None = None
    contract: ContractField | None = None
    shipping: ShippingFacts | None = None
    artifacts: tuple[ArtifactRow, ...]
    failures: tuple[FailureRow, ...] = ()
    verdicts: tuple[JudgedField, ...] = ()
    timings: tuple[TimingField, ...] = ()
    comparisons: tuple[ComparisonField, ...] = ()
    recommended: RecommendedFacts = Field(default_factory=RecommendedFacts)
    passing: Passing | None = Field(default=None, exclude_if=lambda value: value is None)
    environment: EnvironmentFacts = Field(default_factory=EnvironmentFacts)
    created: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
    files: tuple[FileRow, ...] = ()

    @property
    def first_verdicts(self) -> tuple[JudgedRow, ...]:
        """Of each artifact the first: on the host, in its default setting."""
        return tuple({verdict.artifact: verdict for verdict in reversed(self.verdicts)}.values())[::-1]

    @property
    def allows_inconclusive(self) -> bool:
        """Whether an inconclusive verdict was allowed to pass."""
        return self.passing is not None and self.passing.allow_inconclusive

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
        """The same manifest, of the newest version, listing `files`, with both digests computed anew."""
        written = {"files": tuple(sorted(files, key=lambda row: row.path)), "schema_version": SCHEMA}
        listed = self.model_copy(update=written)
        named = listed.model_copy(update={"content_digest": content_digest(listed)})
        return named.model_copy(update={"digest": document_digest(named.to_document())})

    def to_bytes(self) -> bytes:
        """The content of `manifest.json`, indented for people; the digests are over the canonical form instead."""
        text = json.dumps(self.to_document(), indent=2, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"


def canonical(document: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8. Raises ValueError on NaN, infinities and lone surrogates."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def document_digest(document: Mapping[str, Any]) -> Sha256:
    """SHA-256 of the document in canonical form, less its own `digest`."""
    body = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(canonical(body)).hexdigest()


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
        location = ".".join(str(part) for part in first["loc"])[:120] or "the document"
        raise damaged(path, f"is wrong at {location}: {first['msg'][:160]}") from cause


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
