"""Which rounds count: taint comes from what was seen outside the samples, and taint without end is a flag."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from validate.latency import BenchJob
from validate.latency.host import noise
from validate.latency.host.noise import MachineState, NoiseLog, SlotNoise
from validate.latency.job import rows_of
from validate.latency.subject import Subject

QUIET = MachineState(at=10.0, steal_s=0.0, busy_s=5.0, all_s=20.0, throttled=0, clock_mhz=None)
LATER = MachineState(at=11.0, steal_s=0.0, busy_s=5.5, all_s=22.0, throttled=0, clock_mhz=None)
SLOT = SlotNoise(canary_ns=1000, involuntary_switches=2, major_faults=0, cpu_s=0.45)


@pytest.mark.parametrize(
    ("after", "own_s", "reasons"),
    [
        (LATER, 0.02, ()),
        (replace(LATER, steal_s=0.1), 0.02, ("steal",)),
        (replace(LATER, throttled=1), 0.02, ("quota",)),
        (replace(LATER, busy_s=6.0), 0.02, ("other processes",)),
        (replace(LATER, busy_s=6.0), 0.50, ()),
    ],
)
def test_a_disturbed_round_is_tainted_with_the_reason(
    after: MachineState, own_s: float, reasons: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MachineState, "now", classmethod(lambda _: after))
    log = NoiseLog()
    assert log.judge(7, QUIET, {1: SLOT}, own_s) == reasons
    assert log.tainted == ({7: reasons} if reasons else {})
    assert log.to_json()["involuntary_switches"] == 2


def test_a_canary_slower_than_its_own_median_taints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineState, "now", classmethod(lambda _: LATER))
    log = NoiseLog()
    for number in range(20):
        assert not log.judge(number, QUIET, {1: SLOT, 2: replace(SLOT, canary_ns=3000, cpu_s=0.0)}, 0.05)
    assert log.judge(20, QUIET, {1: replace(SLOT, canary_ns=1060)}, 0.05) == ("canary",)
    assert log.to_json()["canary_worst_drift"] == pytest.approx(0.06)


def test_a_throttled_gpu_taints() -> None:
    log = NoiseLog()
    fine = {"sm_clock_mhz": 1980, "throttle_reasons": ["gpu_idle", "applications_clocks_setting"]}
    assert not log.judge_gpu(0, fine)
    assert log.judge_gpu(1, fine | {"throttle_reasons": ["hw_thermal_slowdown"]}) == ("gpu hw_thermal_slowdown",)
    assert log.judge_gpu(2, fine | {"sm_clock_mhz": 1200}) == ("gpu clock",)
    assert not log.judge_gpu(3, {"missing": "no library"})
    assert set(log.tainted) == {1, 2}
    assert log.to_json()["gpu_sm_clock_mhz"] == [1200, 1980]


@pytest.mark.parametrize(("tainted", "kept"), [(6, {6, 7}), (7, set(range(8)))])
def test_tainted_rounds_are_left_out_until_they_are_most(tainted: int, kept: set[int], tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    options = BenchJob()
    (row,) = rows_of([tmp_path / "m.onnx"], options)
    subject = Subject(row, options, launch=lambda *_: pytest.fail("not started"))
    subject.rounds, subject.round_numbers = [[100, 101]] * 8, list(range(8))
    assert set(subject.clean(set(range(tainted)))[:, 0].tolist()) == kept
    assert len(subject.samples) == 16


def test_the_machine_tells_its_counters() -> None:
    state = MachineState.now()
    assert state.all_s >= state.busy_s >= 0
    assert noise.canary_ns() > 0
