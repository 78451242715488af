"""Which settings are handed out as the fastest, of figures that are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from validate.latency import BenchJob, Comparison, Latency, Status, Variant
from validate.latency.job import rows_of
from validate.latency.results import Compared, Timing
from validate.latency.statistics.percentiles import Interval
from validate.latency.tuning import best_of


@pytest.mark.parametrize(
    ("p50_ms", "verdicts", "best", "gain"),
    [
        ((4.0, 2.0, 3.0), ("FASTER", "FASTER"), "graph basic", 2.0),
        ((4.0, 2.0, 3.0), ("AMBIGUOUS", "FASTER"), "graph off", 4 / 3),
        ((4.0, 2.0, 3.0), ("AMBIGUOUS", "SAME"), "", 1.0),
        ((4.0, 5.0, 3.0), ("FASTER", "SLOWER"), "", 1.0),  # a busy machine: the pairs say so, the whole does not
    ],
)
def test_the_fastest_is_claimed_and_has_the_lower_p50(
    p50_ms: tuple[float, ...], verdicts: tuple[str, ...], best: str, gain: float, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    variants = (Variant(), Variant(graph="basic"), Variant(graph="off"))
    rows = rows_of([path], BenchJob.of(threads=(1,), variants=variants))
    timings = tuple(Timing(row, Status.OK, p50_ms=Interval(ms)) for row, ms in zip(rows, p50_ms, strict=True))
    pairs = zip(rows[1:], verdicts, strict=True)
    comparisons = tuple(Compared(rows[0], row, Interval(1.0), Comparison[verdict]) for row, verdict in pairs)
    tuned = best_of(path, Latency({}, timings, comparisons, (), {}, ()))
    assert tuned is not None
    assert (tuned.best.variant.label, tuned.gain) == (best, pytest.approx(gain))
    assert tuned.sure == bool(best)
