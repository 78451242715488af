"""Under lasting load: the moment of a slowdown, its cause, and the energy that a run takes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from converters.errors import StepError, UsageError
from validate.latency import BenchJob, BenchOptions, Status, measure
from validate.latency.host.energy import EnergyMeter
from validate.latency.sustained import Lasting, MachineLog, minutes_of, pettitt, slowdown_of

from ...tools import missing


def lasting(level: Callable[[float], float], seconds: float = 240, seed: int = 0) -> Lasting:
    """Ten slots a second whose means follow a level, with 3 % of noise."""
    at = np.arange(0.1, seconds, 0.1)
    noise = np.random.default_rng(seed).normal(1, 0.03, len(at))
    mean = [1e6 * level(t) * n for t, n in zip(at, noise, strict=True)]
    return Lasting(list(at), mean, [1000] * len(at))


def quiet(load: Lasting) -> MachineLog:
    count = len(load.at_s)
    return MachineLog(list(load.at_s), [0] * count, [3000.0] * count, [50.0] * count)


@settings(max_examples=25, deadline=None)
@example(begins=31.0, ratio=2.0, seed=181)
@given(begins=st.floats(30, 180), ratio=st.floats(1.1, 4), seed=st.integers(0, 1000))
def test_a_lasting_slowdown_is_found_where_it_begins(begins: float, ratio: float, seed: int) -> None:
    load = lasting(lambda t: ratio if t >= begins else 1.0, seed=seed)
    found = slowdown_of(load, quiet(load), 0.02)
    assert found is not None
    assert abs(found.begins_s - begins) <= 2 * found.within_s
    assert found.ratio == pytest.approx(ratio, rel=0.05)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_steady_rows_are_never_accused(seed: int) -> None:
    load = lasting(lambda _: 1.0, seed=seed)
    assert slowdown_of(load, quiet(load), 0.0) is None


@pytest.mark.parametrize(
    "level",
    [
        lambda t: 2.0 if 100 <= t < 120 else 1.0,  # it passed
        lambda t: 1.04 if t > 100 else 1.0,  # below what is claimed
        lambda t: 2.0 if t < 20 else 1.0,  # it became faster
    ],
)
def test_what_passes_or_is_little_is_no_slowdown(level: Callable[[float], float]) -> None:
    load = lasting(level)
    assert slowdown_of(load, quiet(load), 0.02) is None


def test_a_gradual_slowdown_begins_where_it_leaves_the_floor() -> None:
    load = lasting(lambda t: 1.0 if t < 60 else 1 + (t - 60) / 180)
    found = slowdown_of(load, quiet(load), 0.02)
    assert found is not None
    assert 60 < found.begins_s < 130


def test_another_disturbance_before_it_is_not_its_beginning() -> None:
    load = lasting(lambda t: 1.6 if t >= 120 else 1.1 if t >= 90 else 1.0)
    found = slowdown_of(load, quiet(load), 0.02)
    assert found is not None
    assert abs(found.begins_s - 120) <= 2 * found.within_s


def test_the_cause_is_what_changed_with_it() -> None:
    load = lasting(lambda t: 1.5 if t >= 120 else 1.0)
    late = [t >= 120 for t in load.at_s]

    def cause(machine: MachineLog) -> str:
        found = slowdown_of(load, machine, 0.02)
        assert found is not None
        return found.cause

    machine = quiet(load)
    assert cause(machine).startswith("unknown")
    assert cause(MachineLog()).startswith("unknown"), "another machine's counters are not read"
    machine.clock_mhz, machine.celsius = ([1800.0 if x else 3000.0 for x in late], [84.0 if x else 50.0 for x in late])
    assert cause(machine) == "the clock fell from 3000 to 1800 MHz, at 84 instead of 50 degrees Celsius"
    machine.throttled = list(np.cumsum(late))
    assert cause(machine) == "the control group was out of its quota 600 times a minute"
    load.canary_ns = [1500 if x else 1000 for x in late]
    assert cause(quiet(load)) == "a fixed kernel became 50% slower too: it is the machine"


def test_a_change_is_placed_as_pettitt_does() -> None:
    change, chance = pettitt(np.asarray([1.0] * 20 + [2.0] * 30))
    assert change == 20
    assert chance == pytest.approx(2 * np.exp(-6 * 600**2 / (50**3 + 50**2)))
    assert pettitt(np.asarray([1.0]))[1] == 1.0


def test_minutes_hold_their_own_samples() -> None:
    load = lasting(lambda t: 2.0 if t >= 60 else 1.0, seconds=121)
    rounds = list(range(len(load.at_s)))
    samples = np.asarray([(k, int(ns)) for k, ns in zip(rounds, load.mean_ns, strict=True) for _ in range(3)])
    first, second, third = minutes_of(samples, load, rounds, 0)
    assert [first["minute"], second["minute"], third["minute"]] == [1, 2, 3]
    assert first["p50_ms"].value == pytest.approx(1, rel=0.01)
    assert second["p50_ms"].value == pytest.approx(2, rel=0.01)
    assert first["p50_ms"].low < 1.01 < second["p50_ms"].low
    assert second["slots"] == 600


def counters(folder: Path, **domains: tuple[str, int]) -> Path:
    for name, (kind, value) in domains.items():
        place = folder / name.replace("_", ":")
        place.mkdir(exist_ok=True)
        (place / "name").write_text(f"{kind}\n")
        (place / "energy_uj").write_text(f"{value}\n")
        (place / "max_energy_range_uj").write_text("1000000\n")
    return folder


def test_joules_are_those_of_packages_and_memory_and_survive_a_wrap(tmp_path: Path) -> None:
    def at(package: int, dram: int) -> Path:
        return counters(
            tmp_path,
            **{"intel-rapl_0": ("package-0", package), "intel-rapl_0_0": ("core", 7), "intel-rapl_0_2": ("dram", dram)},
            **{"intel-rapl_1": ("psys", 9)},
        )

    meter = EnergyMeter.of(at(900_000, 100))
    before = meter.read()
    assert len(before) == 2
    at(950_000, 200)
    assert meter.joules_since(before) == pytest.approx(0.0501)
    at(100_000, 200)
    assert meter.joules_since(before) == pytest.approx(0.2001), "the package's counter began again"


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="there is no counter below"):
        EnergyMeter.of(tmp_path)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0), ("12", 12.0)])
def test_a_time_has_its_unit(text: str, seconds: float) -> None:
    from converters.checks.base import check_of

    assert check_of(BenchOptions, "sustain_s").read(text) == seconds  # type: ignore[attr-defined]
    for wrong in ("soon", "-3m", "0s", "3 weeks"):
        with pytest.raises(UsageError, match="90s, 30m, 2h"):
            check_of(BenchOptions, "sustain_s").read(wrong)  # type: ignore[attr-defined]


def test_every_row_is_under_load_to_the_end(onnx_folder: Path) -> None:
    """No early stop, no row that sits out; few samples are kept, and the processor time is that of all runs."""
    files = [onnx_folder / "dense.float32.onnx", onnx_folder / "wrong.float32.onnx"]
    start = time.monotonic()
    latency = measure(files, BenchJob.of(threads=(1,), sustain_s=6.0))
    assert time.monotonic() - start >= 6
    document = latency.to_json()
    assert document["energy"]["status"] in {"ok", "unavailable"}
    for timing, row in zip(latency.timings, document["sustained"], strict=True):
        assert timing.status is Status.OK, timing.reason
        (minute,) = row["minutes"]
        assert minute["p50_ms"]["low"] <= minute["p50_ms"]["value"]
        assert len(timing.samples) <= 101 * minute["slots"]
        assert timing.phases is not None
        assert timing.phases.cpu_seconds < 10 * minute["mean_ms"] / 1e3


@contextlib.contextmanager
def control_group(seconds: float) -> Iterator[Path]:
    """A group whose quota of 40 % of a processor begins after so many seconds, or a skip."""
    for root, unlimited, limited in (
        (Path("/sys/fs/cgroup/cpu"), ("cpu.cfs_quota_us", "-1"), "40000"),
        (Path("/sys/fs/cgroup"), ("cpu.max", "max"), "40000 100000"),
    ):
        group = root / f"edgeport-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / unlimited[0]).write_text(unlimited[1])
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        begin = f"import time; time.sleep({seconds}); open({str(group / unlimited[0])!r}, 'w').write({limited!r})"
        limiter = subprocess.Popen([sys.executable, "-c", begin])
        try:
            yield group
        finally:
            limiter.wait()
            group.rmdir()
        return
    pytest.skip(missing("a control group for processor time that may be written"))


@pytest.mark.slow
def test_a_quota_that_begins_in_the_second_minute_is_found(onnx_folder: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; from validate.latency import BenchJob, measure\n"
        "job = BenchJob.of(threads=(1,), sustain_s=130.0)\n"
        "print(json.dumps(measure([Path(sys.argv[1])], job).to_json()['sustained']))"
    )
    with control_group(75) as group:
        enter = f'echo $$ > {group}/cgroup.procs; exec {sys.executable} -c "$0" {onnx_folder / "dense.float32.onnx"}'
        done = subprocess.run(["sh", "-c", enter, code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    (row,) = json.loads(done.stdout)
    assert 60 <= row["slowdown"]["begins_s"] <= 80
    assert "out of its quota" in row["slowdown"]["cause"]
