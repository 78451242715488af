from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import IntegrityError, UsageError
from exporter import Allowed, diff
from exporter.bundle import staged, write_answers
from exporter.cli.main import run

HOST = {
    "cpu": "AMD EPYC 7B13",
    "cpu_flags": ["avx2"],
    "cores": 2,
    "cpu_quota": None,
    "machine": "x86_64",
    "system": "Linux",
    "packages": {"keras": "3.15.1"},
}
Change = Callable[[dict[str, Any]], None]
Make = Callable[..., Path]


@pytest.fixture
def make(sample_document: dict[str, Any], fill_bundle: Callable[..., Any], tmp_path: Path) -> Make:
    """Writes a bundle that verifies, from the sample with a change; the same seed gives the same files."""

    def make(name: str, change: Change = lambda _: None, seed: int = 0, scores: dict[str, Any] | None = None) -> Path:
        document = copy.deepcopy(sample_document)
        document["environment"] = {"host": copy.deepcopy(HOST), "controls": [{"noise_floor": 0.02}]}
        change(document)
        with staged(tmp_path / name) as staging:
            if scores is not None:
                write_answers(staging / "metric.npz", {"digits.float32.tflite": scores})
            fill_bundle(staging, document, seed)
        return tmp_path / name

    return make


def slower(factor: float, spread: float = 0.01) -> Change:
    def change(document: dict[str, Any]) -> None:
        p50 = document["timings"][2]["p50_ms"]
        value = p50["value"] * factor
        p50 |= {"value": value, "low": value * (1 - spread), "high": value * (1 + spread)}

    return change


def test_a_bundle_is_like_itself(make: Make) -> None:
    found = diff(make("a"), make("b"), Allowed(0.0, 0.0, 0.0, 0.0))
    assert (found.source, found.signature, found.regressions) == ("same", (), ())
    assert [(row.name, row.status) for row in found.artifacts] == [
        ("savedmodel float32", "same"),
        ("tflite float32", "same"),
        ("onnx float32", "same"),
    ]
    assert {change.verdict for change in found.latency} == {"unknown"}, "their intervals are wider than the floor"
    steady = diff(make("c", slower(1.0, spread=0.005)), make("d", slower(1.0, spread=0.005)))
    assert steady.latency[2].verdict == "same"


def test_artifacts_are_matched_by_format_whatever_they_are_called(make: Make) -> None:
    def renamed(document: dict[str, Any]) -> None:
        document.update(json.loads(json.dumps(document).replace("digits.float32", "letters.float32")))

    found = diff(make("a"), make("b", renamed, seed=1))
    assert [row.status for row in found.artifacts] == ["changed"] * 3
    assert len(found.latency) == 3
    assert all(change.ratio is not None for change in found.latency)
    assert found.regressions == ()


@pytest.mark.parametrize(
    ("change", "allowed", "words"),
    [
        (slower(1.2), Allowed(slowdown=0.05), "onnx float32 (cpu, 2 threads, batch 1) is 20.0% slower"),
        (slower(1.2), Allowed(slowdown=0.25), ""),
        (slower(1.2, spread=0.4), Allowed(slowdown=0.05), ""),
        (lambda d: d["verdicts"][1].update(status="disagree"), Allowed(), "tflite float32 agreed with its checkpoint"),
        (
            lambda d: d["verdicts"][1]["outputs"][0].update(noise_ratio=2.5),
            Allowed(error_growth=0.5),
            "tflite float32 has 150.0% more error, and 50.0% are allowed",
        ),
        (lambda d: d["verdicts"][1]["outputs"][0].update(noise_ratio=0.99), Allowed(error_growth=0.0), ""),
        (
            lambda d: d["verdicts"][1]["outputs"][0].update(accuracy=0.97),
            Allowed(accuracy_drop=0.01),
            "tflite float32 loses 1.4 points of accuracy, and 1 are allowed",
        ),
        (lambda d: d["verdicts"][1]["outputs"][0].update(accuracy=0.97), Allowed(accuracy_drop=0.02), ""),
        (
            lambda d: d["signature"]["outputs"][0].update(shape=["batch", 11]),
            Allowed(growth=0.1),
            "the signature changed: output digit: [batch, 10] float32 became [batch, 11] float32",
        ),
        (lambda d: d["signature"]["outputs"][0].update(name="class"), Allowed(), ""),
        (lambda d: d["timings"].pop(2), Allowed(slowdown=0.1), "is no longer timed"),
        (lambda d: d.update(timings=[]), Allowed(slowdown=0.1), "latency cannot be compared"),
    ],
)
def test_what_is_worse_than_allowed_is_a_regression(make: Make, change: Change, allowed: Allowed, words: str) -> None:
    found = diff(make("a"), make("b", change), allowed)
    assert len(found.regressions) == bool(words)
    assert words in " ".join(found.regressions)


def test_a_larger_file_and_one_that_is_gone(make: Make) -> None:
    def fewer(document: dict[str, Any]) -> None:
        for rows in (document["artifacts"], document["verdicts"]):
            rows.pop(1)
        document["timings"] = [row for row in document["timings"] if row["format"] != "tflite"]

    before = make("a")
    found = diff(before, make("b", fewer), Allowed(growth=0.05))
    assert found.regressions == ("tflite float32 is gone",)
    assert diff(before, make("c", fewer)).regressions == ()
    assert [row.status for row in diff(make("d", fewer), before).artifacts] == ["same", "changed", "new"]


def test_unlike_hosts_and_other_inputs_are_not_compared(make: Make) -> None:
    before = make("a")
    other_host = make("b", lambda d: d["environment"]["host"].update(cpu="Cortex-A76"))
    found = diff(before, other_host)
    assert found.latency == ()
    assert any("cannot be compared" in note and "Cortex-A76" in note for note in found.notes)
    with pytest.raises(UsageError, match="another kind of host"):
        diff(before, other_host, Allowed(slowdown=0.05))
    other_inputs = make("c", lambda d: [row.update(seed=1) for row in d["verdicts"]])
    found = diff(before, other_inputs)
    assert any("other inputs" in note for note in found.notes)
    assert [row.growth("error") for row in found.artifacts] == [None] * 3
    assert [row.growth("size_bytes") for row in found.artifacts] == [0.0] * 3
    with pytest.raises(UsageError, match="other inputs"):
        diff(before, other_inputs, Allowed(error_growth=0.05))


def test_a_bundle_that_was_touched_is_refused(make: Make) -> None:
    before, after = make("a"), make("b")
    (after / "digits.float32.onnx").write_bytes(b"another")
    with pytest.raises(IntegrityError, match=r"digits\.float32\.onnx is changed"):
        diff(before, after)
    with pytest.raises(UsageError, match="not a folder"):
        diff(before / "nowhere", before)


def test_operations_are_counted_in_real_files(tmp_path: Path) -> None:
    from exporter.difference.comparing import _operations

    one, other = (
        write_onnx(tmp_path / "one.onnx", ["Relu", "Relu"]),
        write_onnx(tmp_path / "other.onnx", ["Relu", "Tanh"]),
    )
    assert _operations(one, other) == {"Relu": (2, 1), "Tanh": (0, 1)}
    (tmp_path / "none.onnx").write_bytes(b"nothing of the kind")
    assert _operations(one, tmp_path / "none.onnx") is None


def write_onnx(path: Path, operations: list[str]) -> Path:
    import onnx
    from onnx import TensorProto, helper

    names = ["x", *(f"t{k}" for k in range(len(operations) - 1)), "y"]
    nodes = [helper.make_node(op, [names[k]], [names[k + 1]]) for k, op in enumerate(operations)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_the_command_prints_one_document_and_exits_with_1(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = make("a"), make("b", slower(1.5), seed=2)
    assert run(["diff", str(before), str(after)]) == 0
    shown = capsys.readouterr().out
    assert "SLOWER" in shown
    assert "No regression." in shown
    assert run(["diff", str(before), str(after), "--max-slowdown", "5%", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert len(document["regressions"]) == 1
    (miss,) = document["passing"]["misses"]
    assert (document["passing"]["ok"], miss["gate"], miss["limit"]) == (False, "slowdown", 0.05)
    assert miss["value"] == pytest.approx(0.5)
    assert miss["sentence"] == f"{document['regressions'][0]}."
    assert document["artifacts"][2]["status"] == "changed"
    assert document["artifacts"][2]["operations"] is None, "these files are no models"
    assert run(["diff", str(before), str(after), "--max-growth", "much"]) == 2


def test_errors_of_integers_grow_as_amplitudes(make: Make) -> None:
    def quantized(sqnr_db: float) -> Change:
        def change(document: dict[str, Any]) -> None:
            gate = {"measure": "sqnr_db", "value": sqnr_db, "limit": 16.0}
            document["verdicts"][1]["outputs"][0].update(sqnr_db=sqnr_db, gate=gate)

        return change

    found = diff(make("a", quantized(40.0)), make("b", quantized(34.0)), Allowed(error_growth=0.5))
    growth = found.artifacts[1].growth("error")
    assert growth is not None
    np.testing.assert_allclose(growth, 10 ** (6 / 20) - 1)
    assert len(found.regressions) == 1


def metric(value: float | None, name: str = "top1", *, lower: bool = False, status: str = "kept") -> Change:
    """Each verdict with what the user's metric came to, the TFLite file's at `value`."""

    def change(document: dict[str, Any]) -> None:
        for k, verdict in enumerate(document["verdicts"]):
            loss = {"status": status if k == 1 else "kept", "reason": "told", "output": "", "lower": lower}
            verdict["loss"] = loss | {"metric": name, "reference": 0.988, "value": value if k == 1 else 0.988}

    return change


@pytest.mark.parametrize(
    ("before", "after", "allowed", "words"),
    [
        (metric(0.988), metric(0.968), 1.5, "tflite float32 loses 2 of top1, and 1.5 are allowed"),
        (metric(0.988), metric(0.978), 1.0, ""),  # by one point, though 100 * (0.988 - 0.978) is more
        (metric(0.968), metric(0.988), 0.0, ""),
        (metric(0.5, "mae", lower=True), metric(0.9, "mae", lower=True), 0.3, "tflite float32 loses 0.4 of mae"),
        (metric(0.9, "mae", lower=True), metric(0.5, "mae", lower=True), 0.0, ""),
        (metric(3.0, "own.py:f"), metric(2.5, "own.py:f"), 0.25, "loses 0.5 of own.py:f"),
        (metric(0.988, status="lost"), metric(None, status="lost"), 1.0, "had top1, and now it gives none"),
    ],
)
def test_a_metric_may_fall_so_far(make: Make, before: Change, after: Change, allowed: float, words: str) -> None:
    found = diff(make("a", before), make("b", after), Allowed(max_drop=allowed))
    assert len(found.regressions) == bool(words), found.regressions
    assert words in " ".join(found.regressions)


def right(*wrong: slice, count: int = 400) -> dict[str, Any]:
    """What is kept of top1: by sample, decisions that are right and decisions in all."""
    rows = np.ones((count, 2), np.float32)
    for part in wrong:
        rows[part, 0] = 0
    return {"rows": rows, "labels": np.arange(32, dtype=np.uint8)}


@pytest.mark.parametrize(
    ("after", "allowed", "status", "words"),
    [
        (right(slice(0, 12)), 2.0, "kept", ""),
        (right(slice(0, 12)), 0.6, "unproven", r"400 samples are too few, about \d+ would do"),
        (right(slice(0, 12)), 0.5, "unproven", "400 samples are too few"),
        (right(slice(0, 12)), 0.4, "lost", ""),
        (right(slice(200, 212)), 2.0, "unproven", "would do"),  # the same figures of quite other samples
        (right(slice(0, 12)) | {"labels": np.zeros(32, np.uint8)}, 2.0, "unproven", "no values by sample"),
        (right(slice(0, 12), count=300), 2.0, "unproven", "no values by sample"),
    ],
)
def test_a_fall_is_held_by_the_paired_bootstrap_over_the_samples(
    make: Make,
    capsys: pytest.CaptureFixture[str],
    after: dict[str, Any],
    allowed: float,
    status: str,
    words: str,
) -> None:
    before = make("a", metric(0.975), scores=right(slice(0, 10)))
    worse = make("b", metric(0.97), seed=1, scores=after)
    code = run(["diff", str(before), str(worse), "--max-drop", str(allowed), "--json"])
    document = json.loads(capsys.readouterr().out)
    found = next(row["metric"] for row in document["artifacts"] if row["name"] == "tflite float32")
    assert (found["status"], found["drop"]["value"], code) == (status, 0.5, int(status == "lost"))
    assert re.search(words, found["reason"])
    assert (found["drop"]["high"] is None) == ("no values" in words)


def test_a_fall_needs_one_metric_and_the_same_inputs(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    before, worse = make("a", metric(0.988)), make("b", metric(0.9))
    for k, other in enumerate((metric(0.988, "top5"), lambda _: None)):
        with pytest.raises(UsageError, match="not held to one metric"):
            diff(before, make(f"other{k}", other), Allowed(max_drop=1.0))
    drawn = make("c", lambda d: [row.update(seed=1) for row in d["verdicts"]])
    with pytest.raises(UsageError, match="other inputs"):
        diff(before, drawn, Allowed(max_drop=1.0))
    assert run(["diff", str(before), str(worse)]) == 0
    capsys.readouterr()
    assert run(["diff", str(before), str(worse), "--max-drop", "1", "--json"]) == 1
    (miss,) = json.loads(capsys.readouterr().out)["passing"]["misses"]
    assert (miss["gate"], miss["limit"], miss["value"]) == ("max_drop", 1.0, 8.8)
