from __future__ import annotations

from pathlib import Path

import pytest

from converters.errors import IntegrityError, UsageError
from exporter.integrations import mlflow_logger as tracking
from exporter.manifest.schema import Manifest


def test_figures_are_called_by_format_and_precision(sample_manifest: Manifest) -> None:
    found = tracking.metrics(sample_manifest)
    assert found["onnx.float32.cpu.p50_ms"] == pytest.approx(0.131)
    assert found["tflite.float32.noise_ratio"] == pytest.approx(0.84)
    assert found["savedmodel.float32.size_bytes"] == 812_000
    assert "savedmodel.float32.sqnr_db" not in found, "it has no error, and so no ratio"


def test_a_bundle_that_was_touched_is_not_logged(bundle: Path) -> None:
    (bundle / "edgeport.log").write_text("another")
    with pytest.raises(IntegrityError, match="does not verify"):
        tracking.log_bundle(bundle)


def test_without_mlflow_the_extra_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UsageError) as caught:
        tracking.log_bundle(bundle)
    assert "edgeport[mlflow]" in caught.value.next_step


def test_a_real_store_holds_what_was_logged(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs more than the skinny package
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow: pip install mlflow-skinny")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as started:
        logged = tracking.log_bundle(bundle)
    run = mlflow.get_run(started.info.run_id)
    assert run.data.metrics == pytest.approx(logged)
    assert run.data.params["edgeport.parameters"] == "99338"
    assert run.data.tags["edgeport.verdict"] == "partial"
    copied = mlflow.artifacts.download_artifacts(run_id=started.info.run_id, artifact_path="edgeport/manifest.json")
    assert Path(copied).read_bytes() == (bundle / "manifest.json").read_bytes()
