"""How long an artifact takes: workers, sampling, statistics and host facts, summed up in a Latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.faces import face

if TYPE_CHECKING:
    from converters.progress import Progress
    from validate.latency.experiment import measure
    from validate.latency.job import BenchJob
    from validate.latency.options import BenchOptions
    from validate.latency.results import Compared, Control, Latency, Phases, Row, Timing
    from validate.latency.rows import Status
    from validate.latency.statistics.pairwise import Comparison
    from validate.latency.statistics.percentiles import Interval
    from validate.runtimes.variant import Variant
    from validate.targets import Device

__all__ = [
    "BenchJob",
    "BenchOptions",
    "Compared",
    "Comparison",
    "Control",
    "Device",
    "Interval",
    "Latency",
    "Phases",
    "Progress",
    "Row",
    "Status",
    "Timing",
    "Variant",
    "measure",
]

__getattr__, __dir__ = face(
    __name__,
    {
        "validate.latency.statistics.pairwise": ("Comparison",),
        "validate.latency.experiment": ("Progress", "measure"),
        "validate.latency.job": ("BenchJob",),
        "validate.latency.options": ("BenchOptions",),
        "validate.latency.results": ("Compared", "Control", "Latency", "Phases", "Row", "Timing"),
        "validate.latency.rows": ("Status",),
        "validate.latency.statistics.percentiles": ("Interval",),
        "validate.runtimes.variant": ("Variant",),
        "validate.targets": ("Device",),
    },
)
