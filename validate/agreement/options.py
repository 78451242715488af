"""The options of a judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.checks.base import Options, checked
from converters.checks.values import Flag, Number, Table
from validate.agreement.judging.gates import TOLERANCES

_TOLERANCES = Table("--tolerance", Number("--tolerance", 0, above=True), "tolerance", TOLERANCES)


@dataclass(frozen=True)
class JudgeOptions(Options):
    """The conditions for passing.

    Attributes:
        tolerances: overrides of the gates, see `gates.TOLERANCES`.
        allow_inconclusive: an `inconclusive` verdict passes.
        allow_nonfinite: weights that hold NaN or infinity pass.
    """

    tolerances: Mapping[str, float] = checked(_TOLERANCES, {})
    allow_inconclusive: bool = checked(Flag("--allow-inconclusive"), False)
    allow_nonfinite: bool = checked(Flag("--allow-nonfinite"), False)
