"""What is run: samples, batches, integer codes; and what is refused or left out, with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from converters.errors import UsageError
from exporter.bundle import write_golden
from exporter.cli.run import command as run_command
from exporter.manifest.schema import Manifest
from exporter.options import RunOptions
from exporter.selfcheck import refuse_names, write_selfcheck
from exporter.selfcheck.checks import MAX_BYTES, Plan, plan
from exporter.selfcheck.programs import fed, given


@pytest.fixture
def document(sample_document: dict[str, Any]) -> dict[str, Any]:
    """One ONNX artifact of the sample manifest, with a gate that says how far it allows."""
    document = sample_document | {"artifacts": sample_document["artifacts"][2:], "timings": [], "comparisons": []}
    for verdict in document["verdicts"]:
        verdict["outputs"][0]["gate"]["allowed"] = 1e-5
    return document


def planned(folder: Path, document: dict[str, Any], samples: int = 5, shape: tuple[int, ...] = (8, 8, 1)) -> Plan:
    images = np.random.default_rng(0).uniform(0, 16, (samples, *shape)).astype(np.float32)
    digits = np.full((samples, 10), 0.1, np.float32)
    write_golden(folder / "golden.npz", {"image": images}, {"digit": digits})
    return plan(folder, Manifest.from_document(document), {})


def with_batch(document: dict[str, Any], batch: int | str) -> dict[str, Any]:
    signature = {
        "inputs": [{"name": "image", "shape": [batch, 8, 8, 1], "dtype": "float32"}],
        "outputs": [{"name": "digit", "shape": [batch, 10], "dtype": "float32"}],
    }
    return document | {"artifacts": [document["artifacts"][0] | {"signature": signature}]}


def test_a_free_batch_is_run_one_sample_at_a_time(tmp_path: Path, document: dict[str, Any]) -> None:
    (check,) = planned(tmp_path, document).checks
    assert (check.runs, check.inputs[0].shape, check.outputs[0].shape) == (5, (1, 8, 8, 1), (1, 10))


def test_a_fixed_batch_is_filled_up_with_the_first_samples(tmp_path: Path, document: dict[str, Any]) -> None:
    found = planned(tmp_path, with_batch(document, 4))
    (check,) = found.checks
    assert (check.runs, check.inputs[0].shape) == (2, (4, 8, 8, 1))
    images = np.frombuffer(found.files["data/input0.bin"], "<f4").reshape(8, -1)
    assert np.array_equal(images[5:], images[:3])


def test_large_inputs_are_cut_to_what_a_phone_may_carry(tmp_path: Path, document: dict[str, Any]) -> None:
    big = with_batch(document, "batch")
    big["artifacts"][0]["signature"]["inputs"][0]["shape"] = ["batch", 300, 300, 3]
    found = planned(tmp_path, big, samples=16, shape=(300, 300, 3))
    assert 1 <= found.checks[0].runs < 16
    assert sum(map(len, found.files.values())) <= MAX_BYTES + 16 * 10 * 8


def test_every_artifact_without_a_check_is_named_with_the_reason(
    tmp_path: Path, sample_document: dict[str, Any], document: dict[str, Any]
) -> None:
    no_gate = sample_document | {"timings": [], "comparisons": []}
    no_gate["artifacts"] = [row for row in no_gate["artifacts"] if row["format"] != "tflite"]
    for verdict in no_gate["verdicts"]:
        verdict["outputs"][0]["gate"] = {}
    found = planned(tmp_path, no_gate)
    assert found.checks == ()
    assert "TensorFlow" in found.left_out["digits.float32.savedmodel"]
    assert "no gate" in found.left_out["digits.float32.onnx"]
    assert "fit the shape" in planned(tmp_path, document, shape=(8, 8, 3)).left_out["digits.float32.onnx"]
    mixed = with_batch(document, "batch")
    mixed["artifacts"][0]["signature"]["outputs"][0]["shape"] = [10]
    assert "batch dimension" in planned(tmp_path, mixed).left_out["digits.float32.onnx"]
    half = with_batch(document, "batch")
    half["artifacts"][0]["signature"]["inputs"][0]["dtype"] = "float16"
    assert "float16" in planned(tmp_path, half).left_out["digits.float32.onnx"]
    codes = with_batch(document, "batch")
    codes["artifacts"][0]["signature"]["inputs"][0]["dtype"] = "uint8"
    assert "how floats become" in planned(tmp_path, codes).left_out["digits.float32.onnx"]


@pytest.mark.parametrize(("flags", "wanted"), [((), True), (("--no-selfcheck",), False)])
def test_the_command_line_can_leave_it_out(
    flags: tuple[str, ...], wanted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[RunOptions] = []

    def stop(source: str, output: Path, options: RunOptions, progress: Any) -> Any:
        seen.append(options)
        raise UsageError("enough", next_step="none")

    monkeypatch.setattr("exporter.cli.running.run", stop)
    CliRunner().invoke(run_command, ["residual_module", "-o", str(tmp_path / "out"), *flags], standalone_mode=False)
    assert [options.ship.selfcheck for options in seen] == [wanted]


def test_without_golden_vectors_nothing_is_written(tmp_path: Path, document: dict[str, Any]) -> None:
    write_selfcheck(tmp_path, Manifest.from_document(document), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\0b", "half \ud800"])
def test_a_name_that_a_language_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="self-check") as caught:
        refuse_names(("image", name))
    assert "--no-selfcheck" in caught.value.next_step
    str(caught.value).encode()


def test_the_readme_says_what_the_contract_says() -> None:
    document = {
        "signature": {"inputs": [{"name": "image"}], "outputs": [{"name": "digit"}, {"name": "other"}]},
        "preprocessing": {"image": {"low": 0.0, "high": 16.0}},
        "contract": {
            "inputs": [
                {
                    "name": "image",
                    "layout": "NHWC",
                    "colour_order": "BGR",
                    "resize": "bilinear-crop",
                    "range": [0.0, 255.0],
                    "scale": 1.0,
                    "mean": [103.9, 116.8, 123.7],
                    "std": None,
                }
            ],
            "outputs": [{"name": "digit", "activation": "sigmoid", "labels": ["a", "b", "c", "d"], "threshold": 0.5}],
        },
    }
    (said,) = fed(document).values()
    for part in ("0 to 255", "NHWC", "BGR", "bilinear-crop", "scale 1", "mean 103.9 116.8 123.7"):
        assert part in said
    document["contract"]["inputs"][0] |= {"mean": [0.0], "in_model": {"layer": "rescale"}}  # type: ignore[index]
    assert fed(document)["image"].endswith("raw values: the model scales them itself")
    assert given(document) == {"digit": "sigmoid, labels: a, b, c, ... (4), on from 0.5", "other": "-"}
    assert fed(document | {"contract": None}) == {"image": "0 to 16"}
