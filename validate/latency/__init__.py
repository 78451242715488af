"""How long an artifact takes: workers, sampling, statistics and host facts, summed up in a Latency."""

from __future__ import annotations

from validate.latency.comparing import Comparison
from validate.latency.experiment import Progress, measure
from validate.latency.options import DEVICES, MeasureOptions
from validate.latency.results import Compared, Control, Latency, Phases, Row, Status, Timing
from validate.latency.statistics import Interval
from validate.latency.variant import Variant

__all__ = [
    "DEVICES",
    "Compared",
    "Comparison",
    "Control",
    "Interval",
    "Latency",
    "MeasureOptions",
    "Phases",
    "Progress",
    "Row",
    "Status",
    "Timing",
    "Variant",
    "measure",
]
