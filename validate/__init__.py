"""Opens artifacts from disk and judges them: do they agree with the checkpoint, and how fast are they.

    from validate import compare, measure

    agreement = compare(Path("model.keras"), [Path("model.tflite")])
    latency = measure([Path("model.tflite")])

Names are imported when they are first used (PEP 562), so that `import validate` loads no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.faces import face

if TYPE_CHECKING:
    from validate.agreement import Agreement, JudgeJob, JudgeOptions, Verdict
    from validate.agreement.compare import compare
    from validate.latency import BenchJob, BenchOptions, Latency, Timing, measure
    from validate.localize import LocalizeJob, LocalizeOptions, localize

__all__ = [
    "Agreement",
    "BenchJob",
    "BenchOptions",
    "JudgeJob",
    "JudgeOptions",
    "Latency",
    "LocalizeJob",
    "LocalizeOptions",
    "Timing",
    "Verdict",
    "compare",
    "localize",
    "measure",
]

__getattr__, __dir__ = face(
    __name__,
    {
        "validate.agreement": ("Agreement", "JudgeJob", "JudgeOptions", "Verdict"),
        "validate.agreement.compare": ("compare",),
        "validate.latency": ("BenchJob", "BenchOptions", "Latency", "Timing", "measure"),
        "validate.localize": ("LocalizeJob", "LocalizeOptions", "localize"),
    },
)
