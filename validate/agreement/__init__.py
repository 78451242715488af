"""Agreement: do artifacts compute what their checkpoint computes? `compare` judges files read back from disk."""

from validate.agreement.compare import compare
from validate.agreement.processes import tensorflow_worker
from validate.agreement.results import Agreement, CompareOptions, Golden, OutputRow, Verdict

__all__ = ["Agreement", "CompareOptions", "Golden", "OutputRow", "Verdict", "compare", "tensorflow_worker"]
