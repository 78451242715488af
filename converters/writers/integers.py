"""A file that is called integer holds integers, or is refused. Apart, for both formats say it in the same words."""

from __future__ import annotations

from converters.errors import UnsupportedError
from converters.formats import Precision

WITH_INTEGERS = frozenset(Precision) - {Precision.FLOAT32, Precision.FLOAT16}
"""Precisions that are named after their integers."""


def without_integers(precision: Precision, format_name: str) -> UnsupportedError:
    """The refusal of a precision whose file would hold the same floats as the float32 file."""
    return UnsupportedError(
        f"Nothing of this model becomes an integer in {precision.value}: it has no weights, or no operation that "
        f"{format_name}'s quantizer takes, and the file would be the float32 one under another name.",
        next_step=f"Leave {precision.value} out: the float32 file is all that there is to make.",
        step="convert",
    )
