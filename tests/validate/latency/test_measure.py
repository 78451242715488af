"""`measure` on real files in real worker processes: good ones, wrong ones, hanging, crashing and missing ones."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from converters.errors import UsageError
from converters.isolation import Limits
from validate.latency import BenchJob, Comparison, Latency, Status, measure
from validate.latency.experiment import MIN_ROUNDS, every_how_many
from validate.latency.host import facts as host

ROW_FIELDS = {
    "artifact", "format", "precision", "device", "status", "reason", "threads", "batch", "boundary", "p50_ms",
    "p90_ms", "p95_ms", "p99_ms", "min_ms", "throughput", "variant", "cold_ms", "tainted_rounds",
    "load_ms", "first_ms", "peak_rss_bytes", "samples", "flags",
}  # fmt: skip


@pytest.fixture(scope="module")
def told() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def loaded_before() -> frozenset[str]:
    """What other tests of this process had imported."""
    return frozenset(sys.modules)


@pytest.fixture(scope="module")
def mixed(
    loaded_before: frozenset[str], onnx_folder: Path, tensorflow_folder: Path, told: list[tuple[str, float]]
) -> Latency:
    """ONNX, TFLite and a file that answers wrongly, on the CPU and on CUDA, in one experiment."""
    files = [
        onnx_folder / "dense.float32.onnx",
        tensorflow_folder / "dense.float32.tflite",
        onnx_folder / "wrong.float32.onnx",
    ]
    options = BenchJob.of(devices=("cpu", "cuda"), threads=(1,), max_seconds=8, golden=onnx_folder / "golden.npz")
    return measure(files, options, lambda label, fraction: told.append((label, fraction)))


def test_both_runtimes_are_timed(mixed: Latency) -> None:
    for timing in mixed.timings:
        if timing.row.device == "cpu" and "wrong" not in timing.row.artifact.name:
            assert timing.status is Status.OK, timing.reason
            assert timing.p50_ms is not None
            assert timing.p99_ms is not None
            assert timing.min_ms is not None
            low = timing.p50_ms.low
            assert (low is None) == ("p50_too_few_samples" in timing.flags), "a busy machine may have few rounds"
            assert timing.min_ms <= (low or timing.p50_ms.value) <= timing.p50_ms.value <= timing.p99_ms.value
            assert "unchecked" not in timing.flags
            assert timing.phases is not None
            assert timing.phases.first_ms >= timing.min_ms
            assert timing.phases.cold_ms >= timing.phases.import_ms + timing.phases.load_ms + timing.phases.first_ms
            assert timing.phases.warmup_runs >= 10
            assert timing.phases.load_ms > 0
            assert timing.phases.peak_rss_bytes > 0
            assert timing.phases.cpu_seconds > 0


def test_timing_an_onnx_or_tflite_file_loads_no_tensorflow(mixed: Latency) -> None:
    libraries = {t.row.format.value: set(t.phases.libraries) for t in mixed.timings if t.phases}
    assert libraries["tflite"] == {"ai-edge-litert"}
    assert len(libraries["onnx"] & {"onnxruntime", "onnxruntime-gpu"}) == 1
    assert not libraries["onnx"] & {"tensorflow", "keras", "ai-edge-litert"}


def test_a_fast_wrong_answer_is_no_timing(mixed: Latency) -> None:
    (wrong,) = (t for t in mixed.timings if "wrong" in t.row.artifact.name and t.row.device == "cpu")
    assert wrong.status is Status.ERROR
    assert "wrong.float32.onnx" in wrong.reason
    assert "wrong answer" in wrong.reason
    assert wrong.p50_ms is None


def test_a_wrong_answer_takes_no_control_with_it(onnx_folder: Path) -> None:
    """The row that loads quickest is timed twice; that its answers are wrong is found after the rounds."""
    options = BenchJob.of(threads=(1,), max_seconds=2, golden=onnx_folder / "golden.npz")
    latency = measure([onnx_folder / "wrong.float32.onnx"], options)
    assert latency.timings[0].status is Status.ERROR
    (control,) = latency.controls
    assert 0 < control.ratio.value < math.inf
    assert latency.notes == ()


def test_a_device_that_is_not_there_is_unavailable_with_the_library_named(mixed: Latency) -> None:
    for timing in mixed.timings:
        if timing.row.device == "cuda" and timing.status is not Status.OK:
            assert timing.status is Status.UNAVAILABLE
            assert timing.p50_ms is None
    (row,) = (t for t in mixed.timings if t.row.device == "cuda" and t.row.artifact.name == "dense.float32.onnx")
    if row.status is Status.UNAVAILABLE:
        assert any(word in row.reason for word in ("libcu", "CUDA", "onnxruntime", "ONNX Runtime"))
        assert row.next_step
        assert mixed.lacks("cuda")
        assert row in mixed.unavailable
    assert not mixed.lacks("cpu")


def test_the_candidate_is_compared_with_the_first_artifact(mixed: Latency) -> None:
    compared = next(c for c in mixed.comparisons if c.candidate.device == "cpu")
    assert compared.baseline.artifact.name == "dense.float32.onnx"
    assert compared.candidate.artifact.name == "dense.float32.tflite"
    first, second = (next(t for t in mixed.timings if t.row == row) for row in (compared.baseline, compared.candidate))
    medians = [
        {number: float(np.median(t.samples[t.samples[:, 0] == number, 1])) for number in set(t.samples[:, 0].tolist())}
        for t in (first, second)
    ]
    rounds = medians[0].keys() & medians[1].keys()
    clean = rounds - {*first.tainted, *second.tainted}  # all of them where most are tainted
    of_rounds = [
        float(np.exp(np.median([np.log(medians[1][k] / medians[0][k]) for k in chosen])))
        for chosen in (rounds, clean)
        if chosen
    ]
    assert any(compared.ratio.value == pytest.approx(ratio) for ratio in of_rounds)


def test_the_document_has_the_designs_fields(mixed: Latency, onnx_folder: Path) -> None:
    document = json.loads(json.dumps(mixed.to_json(onnx_folder), allow_nan=False))
    assert set(document) >= {"host", "timings", "comparisons", "controls", "noise", "notes"}
    assert len(document["timings"]) == 6
    for row in document["timings"]:
        assert set(row) >= ROW_FIELDS
        assert row["boundary"] == "host_to_host"
    first = document["timings"][0]
    assert first["artifact"] == "dense.float32.onnx"
    assert set(first["p50_ms"]) == {"value", "low", "high"}
    assert set(document["comparisons"][0]) >= {"baseline", "candidate", "ratio", "verdict"}


def test_raw_samples_are_kept_whole(mixed: Latency, tmp_path: Path) -> None:
    kept = mixed.save_samples(tmp_path / "latency")
    timed = [t for t in kept.timings if t.status is Status.OK]
    rows = [row for row in kept.to_json(tmp_path)["timings"] if row["status"] == "ok"]
    assert rows[0]["samples_file"] == "latency/dense.float32.onnx.cpu.t1.b1.npy"
    for row, timing in zip(rows, timed, strict=True):
        stored = np.load(tmp_path / row["samples_file"], allow_pickle=False)
        assert stored.dtype == np.int64
        assert stored.shape == (len(timing.samples), 2)
        rounds = Counter(stored[:, 0].tolist())
        assert len(rounds) >= MIN_ROUNDS
        assert len(set(rounds.values())) == 1


def test_progress_goes_from_nothing_to_the_end(mixed: Latency, told: list[tuple[str, float]]) -> None:
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.2
    assert fractions[-1] <= 1


def test_this_process_stays_light_and_alone(mixed: Latency, loaded_before: frozenset[str]) -> None:
    assert not {"tensorflow", "onnxruntime", "ai_edge_litert"} & (set(sys.modules) - loaded_before)
    assert not _workers()


def test_crashing_hanging_and_damaged_files_are_rows_and_the_others_go_on(onnx_folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.float32.onnx"
    damaged.write_bytes((onnx_folder / "dense.float32.onnx").read_bytes()[:1000])
    files = [damaged, *(onnx_folder / f"{name}.onnx" for name in ("endless", "dense.float32", "fixed.float32"))]
    for seconds in (3, 12, 48):  # until a healthy file is opened within it: the limit is for the endless one
        latency = _with_the_last_killed(files, seconds)
        broken, endless, good, crashed = latency.timings
        if good.exit_code != 6 and "first run" in endless.reason and "SIGSEGV" in crashed.reason:
            break
    assert (broken.status, broken.exit_code) == (Status.ERROR, 3)
    assert "damaged.float32.onnx" in broken.reason
    assert (endless.status, endless.exit_code) == (Status.ERROR, 6)
    assert "endless.onnx, in its first run" in endless.reason
    assert (crashed.status, crashed.exit_code) == (Status.ERROR, 5)
    assert "SIGSEGV" in crashed.reason
    assert good.status is Status.OK, good.reason
    assert "unchecked" in good.flags
    assert latency.errors == (broken, endless, crashed)
    assert not _workers()


def test_running_out_of_memory_is_a_row(onnx_folder: Path) -> None:
    options = BenchJob.of(threads=(1,), max_seconds=3, limits=Limits(memory_bytes=30 << 20))
    (timing,) = measure([onnx_folder / "dense.float32.onnx"], options).timings
    assert (timing.status, timing.exit_code) == (Status.ERROR, 7)
    assert "memory" in timing.reason


def test_a_savedmodel_is_timed_in_tensorflow(tensorflow_folder: Path, onnx_folder: Path) -> None:
    options = BenchJob.of(threads=(1,), max_seconds=8, golden=onnx_folder / "golden.npz")
    (timing,) = measure([tensorflow_folder / "dense.float32.savedmodel"], options).timings
    assert timing.status is Status.OK, timing.reason
    assert timing.row.format.value == "savedmodel"
    assert timing.phases is not None
    assert timing.phases.libraries["tensorflow"]
    assert not {"onnxruntime", "onnxruntime-gpu", "ai-edge-litert"} & set(timing.phases.libraries)


def test_a_fixed_batch_and_too_many_threads(onnx_folder: Path) -> None:
    cores = host.physical_cores()
    options = BenchJob.of(threads=(cores, cores + 1), batches=(2, 4), max_seconds=5)
    timings = measure([onnx_folder / "fixed.float32.onnx"], options).timings
    assert [(t.row.threads, t.row.batch) for t in timings] == [
        (threads, batch) for threads in (cores, cores + 1) for batch in (2, 4)
    ]
    for timing in timings:
        if timing.row.batch == 4:
            assert timing.status is Status.ERROR
            assert "fixed to a batch of 2" in timing.reason
        else:
            assert timing.status is Status.OK, timing.reason
            assert ("oversubscribed" in timing.flags) == (timing.row.threads > cores)


def test_the_same_file_twice_is_not_told_apart(onnx_folder: Path) -> None:
    """Five A/A experiments with 95 % intervals: a claim may happen, on a loaded machine two; three hardly ever.

    A machine that was halted meanwhile, or whose load jumped, is asked once more: a fault of ours would show again.
    """
    file = onnx_folder / "dense.float32.onnx"

    def claims(seeds: range) -> list[Comparison]:
        found = []
        for seed in seeds:
            options = BenchJob.of(threads=(1,), max_seconds=2, seed=seed, golden=onnx_folder / "golden.npz")
            found.append(measure([file, file], options).comparisons[0].verdict)
        return [verdict for verdict in found if verdict not in {Comparison.SAME, Comparison.AMBIGUOUS}]

    assert len(claims(range(5))) <= 2 or len(claims(range(5, 10))) <= 2


def test_what_cannot_be_timed_is_a_usage_error(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.keras"
    checkpoint.write_bytes(b"PK")
    for artifacts, cause in (([], "nothing"), ([tmp_path / "no.onnx"], r"no\.onnx"), ([checkpoint], r"model\.keras")):
        with pytest.raises(UsageError, match=cause):
            measure(artifacts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": (0,)},
        {"batches": (0,)},
        {"devices": ("tpu",)},
        {"max_seconds": 0.0},
        {"threads": ()},
        {"golden": Path("nowhere.npz")},
    ],
)
def test_options_that_cannot_be_are_usage_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        BenchJob.of(**wrong)


def _with_the_last_killed(files: list[Path], seconds: float) -> Latency:
    """Measured under a limit on each step; the last file's worker is killed when the rounds begin."""
    killed: list[int] = []

    def kill_one(label: str, _: float) -> None:
        if label.startswith("timing") and not killed:
            *_, worker, _control = sorted(_workers(), key=lambda p: p.create_time())  # the control's starts last
            os.kill(worker.pid, signal.SIGSEGV)
            killed.append(worker.pid)

    options = BenchJob.of(threads=(1,), batches=(2,), max_seconds=6, limits=Limits(timeout_s=seconds))
    return measure(files, options, kill_one)


def _workers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # one that ends meanwhile
            if "validate.latency.worker:serve" in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ([], []),
        ([0.03], [1]),
        ([0.03, 0.05, 0.08, 0.06], [1, 1, 1, 1]),
        ([0.03, 1.2], [1, 16]),
        ([0.1, 0.1, 0.12, 0.8, 2.2], [1, 1, 1, 2, 8]),
    ],
)
def test_slow_rows_sit_rounds_out(slots: list[float], expected: list[int]) -> None:
    assert every_how_many(slots) == expected
