"""A user's options of a localisation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from converters.checks.base import Options, checked
from converters.checks.values import Flag, Word


class Localized(StrEnum):
    """Artifacts that a run localizes: those that disagree, all that were judged, none."""

    AUTO = "auto"
    ALL = "all"
    OFF = "off"


@dataclass(frozen=True)
class LocalizeOptions(Options):
    """Artifacts to localize, and the method.

    Attributes:
        which: of a run's artifacts.
        bisect: do not read the tensors inside the candidate; cut it and run the pieces as they really run. `localize`
            does so by itself where only the file as it really runs parts.
    """

    which: Localized = checked(Word("--localize", (Localized,)), Localized.AUTO)
    bisect: bool = checked(Flag("--bisect"), False)
