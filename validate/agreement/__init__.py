"""Agreement: do artifacts compute what their checkpoint computes? `compare.compare` judges files on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.faces import face

if TYPE_CHECKING:
    from validate.agreement.job import JudgeJob
    from validate.agreement.options import JudgeOptions
    from validate.agreement.processes import tensorflow_worker
    from validate.agreement.results import Agreement, Golden, Verdict
    from validate.agreement.rows import OutputRow

__all__ = [
    "Agreement",
    "Golden",
    "JudgeJob",
    "JudgeOptions",
    "OutputRow",
    "Verdict",
    "tensorflow_worker",
]

__getattr__, __dir__ = face(
    __name__,
    {
        "validate.agreement.options": ("JudgeOptions",),
        "validate.agreement.processes": ("tensorflow_worker",),
        "validate.agreement.job": ("JudgeJob",),
        "validate.agreement.results": ("Agreement", "Golden", "Verdict"),
        "validate.agreement.rows": ("OutputRow",),
    },
)
