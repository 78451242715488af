"""Self-test: break a checkpoint in known ways and see whether the judge catches each on the inputs at hand."""

from validate.mutants.selftest import (
    CAUGHT,
    NO_PLACE,
    NOT_EXERCISED,
    NOT_WRITTEN,
    SURVIVED,
    MutantRow,
    SelfTest,
    self_test,
)

__all__ = ["CAUGHT", "NOT_EXERCISED", "NOT_WRITTEN", "NO_PLACE", "SURVIVED", "MutantRow", "SelfTest", "self_test"]
