"""Against an earlier result: unlike hosts are refused, the gate fails on what is surely slower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from converters.errors import RefusedError, UsageError
from validate.latency.statistics.earlier import compare_results, parse_share, read_result

HOST = {"cpu": "C", "cpu_flags": ["avx2"], "cores": 2, "cpu_quota": None, "machine": "x86_64", "system": "Linux"}
OLD = Path("old.json")


def result(p50: float, half_width: float | None = 0.01, **more: Any) -> dict[str, Any]:
    low, high = (None, None) if half_width is None else (p50 / (1 + half_width), p50 * (1 + half_width))
    row = {
        "artifact": "a/m.onnx",
        "device": "cpu",
        "threads": 1,
        "batch": 1,
        "variant": "",
        "status": "ok",
        "p50_ms": {"value": p50, "low": low, "high": high},
        **more,
    }
    return {"host": HOST, "timings": [row], "controls": [{"noise_floor": 0.02}]}


@pytest.mark.parametrize(
    ("now", "half_width", "verdict", "fails"),
    [
        (10.0, 0.01, "same", False),
        (10.8, 0.01, "slower", True),
        (10.4, 0.001, "slower", False),
        (9.0, 0.01, "faster", False),
        (10.8, 0.2, "unknown", False),
        (10.8, None, "unknown", True),
        (10.1, None, "unknown", False),
    ],
)
def test_the_gate(now: float, half_width: float | None, verdict: str, fails: bool) -> None:
    """What is over the gate without an interval fails too: a gate that cannot be judged is not passed."""
    (change,) = compare_results(result(10.0), result(now, half_width), 0.05, OLD)
    assert (change.verdict, change.fails) == (verdict, fails)
    assert change.row == "m.onnx (cpu, 1 thread, batch 1)"
    assert change.ratio is not None
    assert change.ratio.value == pytest.approx(now / 10)


def test_without_a_gate_nothing_fails_and_rows_come_and_go() -> None:
    old, new = result(10.0), result(20.0, batch=8)
    assert [(c.verdict, c.fails) for c in compare_results(old, new, None, OLD)] == [("new", False), ("gone", False)]


def test_a_noisy_control_makes_the_floor_higher() -> None:
    noisy = result(10.8) | {"controls": [{"noise_floor": 0.2}]}
    (change,) = compare_results(result(10.0), noisy, None, OLD)
    assert change.verdict == "same"


@pytest.mark.parametrize(("fact", "value"), [("cpu", "D"), ("cores", 4), ("cpu_flags", [])])
def test_unlike_hosts_are_refused(fact: str, value: object) -> None:
    other = result(10.0) | {"host": HOST | {fact: value}}
    with pytest.raises(UsageError, match=f"its {fact} is"):
        compare_results(other, result(10.0), None, OLD)


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not there"):
        read_result(tmp_path / "no.json")
    for text in ("{", "[]", '{"timings": 3, "host": {}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(RefusedError, match=r"bad\.json"):
            read_result(tmp_path / "bad.json")


def test_a_manifest_is_a_result_too(tmp_path: Path) -> None:
    stored = result(10.0)
    (tmp_path / "manifest.json").write_text(json.dumps({"timings": stored["timings"], "environment": {"host": HOST}}))
    assert read_result(tmp_path / "manifest.json")["host"] == HOST


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.1", 0.1), ("0%", 0.0)])
def test_shares(text: str, value: float) -> None:
    assert parse_share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["five", "-1%", "inf", ""])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_share(text)
