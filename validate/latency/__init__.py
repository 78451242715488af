"""How long an artifact takes: workers, sampling, statistics and host facts, summed up in a Latency."""

from __future__ import annotations

from validate.latency.experiment import Progress, measure
from validate.latency.options import DEVICES, MeasureOptions
from validate.latency.results import Compared, Latency, Phases, Row, Status, Timing
from validate.latency.statistics import Comparison, Interval

__all__ = [
    "DEVICES", "Compared", "Comparison", "Interval", "Latency", "MeasureOptions", "Phases", "Progress", "Row", "Status",
    "Timing", "measure",
]  # fmt: skip
