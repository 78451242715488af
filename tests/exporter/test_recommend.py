"""The choice of what to ship."""

from __future__ import annotations

from typing import Any

from exporter.options import Choice
from exporter.recommend import recommend

Rows = list[dict[str, Any]]


def rows(**given: tuple[int, float, float, str]) -> tuple[Rows, Rows, Rows]:
    """Artifacts by name: size in bytes, p50 in ms, accuracy, status."""
    artifacts = [{"path": name, "size_bytes": size} for name, (size, _, _, _) in given.items()]
    verdicts = [
        {"artifact": name, "status": status, "outputs": [{"top1_agreement": share, "accuracy": share, "sqnr_db": 30.0}]}
        for name, (_, _, share, status) in given.items()
    ]
    timings = [
        {"artifact": name, "status": "ok", "device": "cpu", "p50_ms": {"value": p50}}
        for name, (_, p50, _, _) in given.items()
    ]
    return artifacts, verdicts, timings


ROWS = rows(
    float32=(400, 4.0, 0.99, "agree"),
    float16=(200, 4.1, 0.99, "agree"),
    int8=(100, 1.0, 0.97, "agree"),
    int4=(60, 2.0, 0.95, "agree"),
    broken=(10, 0.1, 1.0, "disagree"),
)


def test_each_objective_has_its_best_among_those_that_pass() -> None:
    chosen = recommend(*ROWS, Choice())
    assert chosen["smallest"] == "int4"
    assert chosen["fastest"] == {"cpu": "int8"}
    assert chosen["most_accurate"] == "float16", "of two as accurate, the smaller"
    assert chosen["choice"] == {"cpu": "int8"}
    assert recommend(*ROWS, Choice("size"))["choice"] == {"cpu": "int4"}
    assert recommend(*ROWS, Choice("accuracy"))["choice"] == {"cpu": "float32"}, "of two as accurate, the faster"


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    assert recommend(*ROWS, Choice())["pareto"] == ["float32", "float16", "int8", "int4"]
    slower = rows(a=(100, 1.0, 0.99, "agree"), b=(100, 2.0, 0.99, "agree"), c=(90, 2.0, 0.99, "agree"))
    assert recommend(*slower, Choice())["pareto"] == ["a", "c"]


def test_limits_narrow_the_choice() -> None:
    chosen = recommend(*ROWS, Choice("latency", max_latency_ms=3.0, max_size_mb=80e-6, min_agreement=0.9))
    assert chosen["choice"] == {"cpu": "int4"}
    assert "unmet" not in chosen
    assert chosen["limits"] == {"max_latency_ms": 3.0, "max_size_mb": 80e-6, "min_agreement": 0.9}


def test_limits_that_nothing_keeps_to_are_told_by_the_nearest() -> None:
    chosen = recommend(*ROWS, Choice("size", max_latency_ms=0.5))
    assert chosen["choice"] == {}
    assert chosen["unmet"] == "No artifact keeps to the limits; int4: its p50 is 2 ms, and 0.5 ms are allowed."
    few = recommend(*ROWS, Choice("size", min_agreement=0.995))
    assert "95.0% of samples keep their class of 99.5% wanted" in few["unmet"]


def test_an_artifact_that_misses_a_gate_of_its_own_is_no_choice() -> None:
    artifacts, verdicts, timings = rows(a=(1, 1.0, 1.0, "agree"), b=(2, 2.0, 1.0, "agree"))
    artifacts[0]["gates"] = [{"gate": "fully-integer", "passed": False, "reason": "one island"}]
    assert recommend(artifacts, verdicts, timings, Choice())["choice"] == {"cpu": "b"}


def test_without_timings_and_labels_there_is_still_a_smallest() -> None:
    artifacts, verdicts, _ = rows(a=(1, 1.0, 1.0, "agree"), b=(2, 2.0, 1.0, "agree"))
    for verdict in verdicts:
        verdict["outputs"] = [{"sqnr_db": 30.0}]
    chosen = recommend(artifacts, verdicts, [], Choice("size"))
    assert (chosen["smallest"], chosen["choice"], chosen["fastest"]) == ("a", {"any": "a"}, {})
    assert "most_accurate" not in chosen
    assert recommend([], [], [], Choice()) == {}
