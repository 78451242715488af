"""Rows that are not timed say why: the target gives no times, or is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from validate import targets
from validate.latency import BenchJob
from validate.latency.experiment import measure
from validate.latency.results import Latency
from validate.targets import Places


def asked(tmp_path: Path, target: str) -> Latency:
    """Of an empty file: none of these opens it."""
    (tmp_path / "x.tflite").write_bytes(b"")
    return measure([tmp_path / "x.tflite"], BenchJob(places=Places(devices=(target,), require=(target,))))


def test_a_target_that_gives_no_times_has_a_row_of_the_kind_never(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason="needs the extra `tflm`")
    latency = asked(tmp_path, "tflm")
    (row,) = (timing.entry() for timing in latency.timings)
    assert (row.target, row.status, row.kind, row.p50_ms) == ("tflm", "untimed", "never", None)
    assert "never timed" in row.reason
    assert latency.errors == ()
    assert not latency.lacks("tflm"), "it is there, and whoever requires it is content"


@pytest.mark.parametrize(("target", "extra"), [("tflm", "tflm"), ("ethos-u55", "ethos-u"), ("openvino", "openvino")])
def test_one_that_is_not_installed_has_a_row_with_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, extra: str
) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda _name: None)
    latency = asked(tmp_path, target)
    row, *_ = (timing.entry() for timing in latency.timings)
    assert (row.status, row.kind) == ("unavailable", "never")
    assert f"pip install 'edgeport[{extra}]'" in row.next
    assert latency.lacks(target)
