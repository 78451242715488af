"""A bundle into MLflow: its figures as metrics, its facts as parameters, its files as artifacts (extra `mlflow`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from converters.errors import UsageError
from exporter.bundle import open_bundle
from exporter.manifest.schema import Manifest
from exporter.report.headline import headline

_FIGURES = ("noise_ratio", "sqnr_db", "top1_agreement", "accuracy", "max_abs")


def log_bundle(bundle: str | Path, *, files: bool = True, artifact_path: str = "edgeport") -> dict[str, float]:
    """Logs a bundle to the active MLflow run, or to a new one, and returns the metrics that were logged.

    Metrics are called `<format>.<precision>.<figure>`, as `tflite.int8.p50_ms`, so that runs can be compared whatever
    the model is called. Figures that a bundle does not have are not logged.

    Args:
        files: also logs the whole bundle under `artifact_path`.

    Raises:
        UsageError: MLflow is not installed, or there is no such folder.
        IntegrityError: the bundle does not verify.
    """
    folder = Path(bundle)
    manifest = open_bundle(folder).manifest
    mlflow = _mlflow()
    figures = metrics(manifest)
    mlflow.log_params(_params(manifest))
    mlflow.log_metrics(figures)
    mlflow.set_tag("edgeport.verdict", headline(manifest).word)
    if files:
        mlflow.log_artifacts(str(folder), artifact_path=artifact_path)
    return figures


def metrics(manifest: Manifest) -> dict[str, float]:
    """Sizes in bytes, agreement of each artifact's outputs, latencies in milliseconds, by name."""
    names = {row.path: f"{row.format.value}.{row.precision.value}" for row in manifest.artifacts}
    result = {f"{names[row.path]}.size_bytes": float(row.size_bytes) for row in manifest.artifacts}
    for verdict in manifest.first_verdicts:
        name = names.get(verdict.artifact)
        for k, output in enumerate(verdict.outputs if name else ()):
            values = {figure: getattr(output, figure) for figure in _FIGURES}
            place = f"{name}." + (f"{output.name}." if k else "")
            result |= {f"{place}{figure}": float(value) for figure, value in values.items() if value is not None}
    for row in reversed(manifest.timings):  # the first setting of a device is the one that counts
        if row.artifact in names and row.p50_ms is not None:
            result[f"{names[row.artifact]}.{row.device}.p50_ms"] = row.p50_ms.value
    return {_fit(name): value for name, value in result.items()}


def _params(manifest: Manifest) -> dict[str, str]:
    source = manifest.source
    facts = {
        "source": source.path,
        "source_sha256": source.sha256,
        "content_digest": manifest.content_digest,
        "parameters": source.parameters,
        "edgeport": manifest.tool.version,
    }
    return {f"edgeport.{name}": str(value) for name, value in facts.items() if value is not None}


def _fit(name: str) -> str:
    """MLflow takes letters, digits and `_-. /` in names."""
    return re.sub(r"[^\w\-./ ]", "_", name, flags=re.ASCII)


def _mlflow() -> Any:
    try:
        import mlflow
    except ImportError as cause:
        raise UsageError("MLflow is not installed.", next_step="Run `pip install 'edgeport[mlflow]'`.") from cause
    return mlflow
