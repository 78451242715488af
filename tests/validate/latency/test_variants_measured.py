"""Rows of all settings, for real: both of LiteRT's interfaces, XNNPACK off, graph levels, cold starts, pinning."""

from __future__ import annotations

from pathlib import Path

import pytest

from validate.latency import BenchJob, Latency, Status, Variant, measure
from validate.latency.experiment import Experiment
from validate.latency.job import rows_of


@pytest.fixture(scope="module")
def swept(tensorflow_folder: Path, onnx_folder: Path) -> Latency:
    variants = (Variant(), Variant(xnnpack=False), Variant(interface="compiled"), Variant(graph="off", spinning=False))
    files = [tensorflow_folder / "dense.float32.tflite", onnx_folder / "dense.float32.onnx"]
    options = BenchJob.of(
        threads=(1,),
        batches=(3,),
        max_seconds=10,
        golden=onnx_folder / "golden.npz",
        variants=variants,
        cold_starts=2,
        compare_settings=True,
    )
    return measure(files, options)


def test_every_setting_is_a_row_that_answers_rightly(swept: Latency) -> None:
    found = [(t.row.format.value, t.row.variant.label) for t in swept.timings]
    assert found == [
        ("tflite", ""),
        ("tflite", "no xnnpack"),
        ("tflite", "compiled"),
        ("onnx", ""),
        ("onnx", "graph off, no spinning"),
    ]
    for timing in swept.timings:
        assert timing.status is Status.OK, timing.reason
        assert "unchecked" not in timing.flags
        assert timing.row.batch == 3


def test_settings_of_one_artifact_are_compared_with_its_defaults(swept: Latency) -> None:
    pairs = [(c.baseline.variant.label, c.candidate.variant.label) for c in swept.comparisons]
    assert pairs == [("", "no xnnpack"), ("", "compiled"), ("", "graph off, no spinning")]
    assert all(c.noise_floor is None or c.noise_floor >= 0.02 for c in swept.comparisons)


def test_one_control_sets_the_floor_of_its_device_and_threads(swept: Latency) -> None:
    (control,) = swept.controls
    assert control.row in [t.row for t in swept.timings]
    assert swept.noise["rounds"] >= 6


def test_rows_are_pinned_to_as_many_cpus_as_threads(swept: Latency) -> None:
    assert {len(t.facts["cpus"]) for t in swept.timings} == {1}


def test_cold_starts_are_fresh_processes(swept: Latency) -> None:
    for timing in swept.timings:
        assert timing.phases is not None
        assert timing.phases.cold_starts == 2
        both = timing.phases.cold_ms * 2  # the median of two is their mean; load and first run are the second's
        assert both > timing.phases.load_ms + timing.phases.first_ms


@pytest.mark.parametrize(
    ("p50_ns", "left_out"),
    [
        ([100, 200, 400], True),  # twice the samples in twice the time, twice
        ([100, 120, 150], False),
        ([100, 120, 240], False),  # the second brought more
        ([100, 200], False),
    ],
)
def test_a_sweep_of_batches_ends_when_throughput_stops_growing(
    p50_ns: list[int], left_out: bool, onnx_folder: Path
) -> None:
    batches = tuple(2**k for k in range(len(p50_ns) + 1))
    options = BenchJob.of(threads=(1,), batches=batches)
    rows = rows_of([onnx_folder / "dense.float32.onnx"], options)
    experiment = Experiment(rows, options, lambda _label, _share: None, launch=lambda *_: pytest.fail("not started"))
    for subject, p50 in zip(experiment.subjects, p50_ns, strict=False):
        subject.ready = {"p50_ns": p50}
    assert experiment._stopped_growing(rows[-1]) is left_out
    assert bool(experiment.notes) is left_out
