"""Short names of artifacts: `TFLite int8`, where that tells one from the others."""

from __future__ import annotations

from collections import Counter

from converters.formats import Format
from exporter.manifest.rows import ArtifactRow
from exporter.manifest.schema import Manifest
from exporter.report.wording import clean

_FORMATS = {Format.SAVEDMODEL: "SavedModel", Format.TFLITE: "TFLite", Format.ONNX: "ONNX", Format.ORT: "ORT"}


def short_names(manifest: Manifest) -> dict[str, str]:
    """By path: format and precision, or the path itself where two artifacts share those."""
    named = {row.path: _short(row) for row in manifest.artifacts}
    often = Counter(named.values())
    return {path: name if often[name] == 1 else clean(path) for path, name in named.items()}


def _short(row: ArtifactRow) -> str:
    return f"{_FORMATS.get(row.format, row.format.value)} {row.precision.value}"
