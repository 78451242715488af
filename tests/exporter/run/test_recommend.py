"""The choice of what to ship."""

from __future__ import annotations

from typing import Any

from exporter.manifest.schema import Manifest
from exporter.options import Choice
from exporter.run.recommend import recommend

SIGNATURE = {"inputs": [], "outputs": []}


def bundle(**given: tuple[int, float, float, str]) -> dict[str, Any]:
    """The document of artifacts by name: size in bytes, p50 in ms, accuracy, status."""
    row = {"format": "onnx", "precision": "float32", "signature": SIGNATURE, "sha256": "0" * 64}
    nothing = dict.fromkeys(("max_abs", "rmse", "noise_ratio", "probability_max_abs", "ties"))
    figures = {"name": "y", "basis": "outputs", "sqnr_db": 30.0, "nonfinite": 0, "samples": 9, "gate": {}, **nothing}
    timing = {"format": "onnx", "precision": "float32", "device": "cpu", "status": "ok"}
    return {
        "tool": {"name": "edgeport", "version": "0"},
        "source": {"path": "m.keras", "kind": "keras", "sha256": "0" * 64},
        "signature": SIGNATURE,
        "artifacts": [row | {"path": name, "size_bytes": size} for name, (size, _, _, _) in given.items()],
        "verdicts": [
            {"artifact": name, "status": said, "outputs": [figures | judged(share, said)]}
            for name, (_, _, share, said) in given.items()
        ],
        "timings": [timing | {"artifact": name, "p50_ms": {"value": p50}} for name, (_, p50, _, _) in given.items()],
        "created": "2026-01-01T00:00:00Z",
    }


def judged(share: float, status: str) -> dict[str, Any]:
    return {"top1_agreement": share, "accuracy": share, "status": status, "reason": ""}


def chosen_of(
    document: dict[str, Any], choice: Choice = Choice(), *, allow_inconclusive: bool = False
) -> dict[str, Any]:
    return recommend(Manifest.from_document(document), choice, allow_inconclusive=allow_inconclusive)


ROWS = bundle(
    float32=(400, 4.0, 0.99, "agree"),
    float16=(200, 4.1, 0.99, "agree"),
    int8=(100, 1.0, 0.97, "agree"),
    int4=(60, 2.0, 0.95, "agree"),
    broken=(10, 0.1, 1.0, "disagree"),
)


def test_each_objective_has_its_best_among_those_that_pass() -> None:
    chosen = chosen_of(ROWS, Choice())
    assert chosen["smallest"] == "int4"
    assert chosen["fastest"] == {"cpu": "int8"}
    assert chosen["most_accurate"] == "float16", "of two as accurate, the smaller"
    assert chosen["choice"] == {"cpu": "int8"}
    assert chosen_of(ROWS, Choice("size"))["choice"] == {"cpu": "int4"}
    assert chosen_of(ROWS, Choice("accuracy"))["choice"] == {"cpu": "float32"}, "of two as accurate, the faster"


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    assert chosen_of(ROWS, Choice())["pareto"] == ["float32", "float16", "int8", "int4"]
    slower = bundle(a=(100, 1.0, 0.99, "agree"), b=(100, 2.0, 0.99, "agree"), c=(90, 2.0, 0.99, "agree"))
    assert chosen_of(slower, Choice())["pareto"] == ["a", "c"]


def test_limits_narrow_the_choice() -> None:
    chosen = chosen_of(ROWS, Choice("latency", max_latency_ms=3.0, max_size_mb=80e-6, min_agreement=0.9))
    assert chosen["choice"] == {"cpu": "int4"}
    assert "unmet" not in chosen
    assert chosen["limits"] == {"max_latency_ms": 3.0, "max_size_mb": 80e-6, "min_agreement": 0.9}


def test_limits_that_nothing_keeps_to_are_told_by_the_nearest() -> None:
    chosen = chosen_of(ROWS, Choice("size", max_latency_ms=0.5))
    assert chosen["choice"] == {}
    unmet = "No artifact keeps to the limits; int4: its p50 is 2 ms, and 0.5 ms are allowed."
    assert chosen["unmet"] == unmet
    miss = {"subject": "int4", "gate": "max_latency_ms", "limit": 0.5, "value": 2.0, "sentence": unmet}
    assert chosen["misses"] == [miss]
    few = chosen_of(ROWS, Choice("size", min_agreement=0.995))
    assert "95.0% of samples keep their class of 99.5% wanted" in few["unmet"]


def test_an_artifact_that_misses_a_gate_of_its_own_is_no_choice() -> None:
    document = bundle(a=(1, 1.0, 1.0, "agree"), b=(2, 2.0, 1.0, "agree"))
    document["artifacts"][0]["gates"] = [{"gate": "fully-integer", "passed": False, "reason": "one island"}]
    assert chosen_of(document)["choice"] == {"cpu": "b"}


def test_an_artifact_that_answers_wrongly_wherever_it_was_timed_is_no_choice() -> None:
    document = bundle(a=(1, 1.0, 1.0, "agree"), b=(2, 2.0, 1.0, "agree"))
    document["timings"][0] |= {"status": "error", "reason": "It answers wrongly.", "p50_ms": None}
    chosen = chosen_of(document)
    assert (chosen["choice"], chosen["smallest"], chosen["pareto"]) == ({"cpu": "b"}, "b", ["b"])


def test_an_inconclusive_artifact_is_a_choice_where_that_is_allowed() -> None:
    document = bundle(a=(1, 1.0, 1.0, "inconclusive"))
    assert chosen_of(document, Choice(max_size_mb=1.0)) == {"unmet": "No artifact passed."}
    assert chosen_of(document, Choice(max_size_mb=1.0), allow_inconclusive=True)["choice"] == {"cpu": "a"}


def test_without_timings_and_labels_there_is_still_a_smallest() -> None:
    document = bundle(a=(1, 1.0, 1.0, "agree"), b=(2, 2.0, 1.0, "agree")) | {"timings": []}
    for verdict in document["verdicts"]:
        verdict["outputs"][0] |= {"top1_agreement": None, "accuracy": None}
    chosen = chosen_of(document, Choice("size"))
    assert (chosen["smallest"], chosen["choice"], chosen["fastest"]) == ("a", {"any": "a"}, {})
    assert "most_accurate" not in chosen
    assert chosen_of(document | {"artifacts": [], "verdicts": []}) == {}
