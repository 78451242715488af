"""Checks of single values: each takes what was given and returns what is kept, or raises UsageError.

A check names the option of the command line that sets the same thing, so that one mistake has one sentence, whether it
was typed or passed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from itertools import chain
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from converters.errors import UsageError

Check = Callable[[Any], Any]
"""Takes what was given and returns what is kept. Raises UsageError."""


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """The beginning of a next step that names the nearest of the known words; empty where none is near."""
    near = get_close_matches(str(given), list(known), n=1)
    return f"Did you mean `{near[0]}`? " if near else ""


def refusal(option: str, given: object, next_step: str) -> UsageError:
    """The error for a value that an option cannot have."""
    shown = f"{given:g}" if isinstance(given, float) else repr(given)
    return UsageError(f"{option} cannot be {shown}.", next_step=next_step)


@dataclass(frozen=True)
class Number:
    """A finite number.

    Attributes:
        low, high: the bounds, which are allowed themselves; `above`: but for the lower one.
        other: a word of the command line that stands for None, for the sentence.
    """

    option: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    whole: bool = False
    other: str = ""

    def __call__(self, given: Any) -> int | float:
        fits = isinstance(given, Integral if self.whole else Real) and not isinstance(given, bool)
        if not fits or not math.isfinite(given) or not self._within(given):
            raise refusal(self.option, given, f"Give {self.wanted}{self.other and f', or {self.other}'}.")
        return int(given) if self.whole else float(given)

    def _within(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        kind = "a whole number" if self.whole else "a number"
        if self.high < math.inf:
            return f"{kind} from {self.low:.10g} to {self.high:.10g}"
        if self.low > -math.inf:
            return f"{kind} above {self.low:g}" if self.above else f"{kind} of {self.low:g} or more"
        return kind

    def read(self, text: str) -> int | float:
        """The number that a text of the command line says."""
        try:
            given: Any = int(text) if self.whole else float(text)
        except ValueError:
            given = text
        return self(given)


@dataclass(frozen=True)
class Word:
    """One of the words of some enumerations.

    Attributes:
        noun: what such a word names.
    """

    noun: str
    kinds: tuple[type[StrEnum], ...]

    def __call__(self, given: Any) -> StrEnum:
        known = {str(word): word for word in chain(*self.kinds)}
        if isinstance(given, str) and given in known:
            return known[given]
        raise UsageError(
            f"There is no {self.noun} `{given}`.",
            next_step=f"{did_you_mean(given, known)}Choose from: {', '.join(known)}.",
        )


@dataclass(frozen=True)
class Several:
    """A tuple of values of one kind; lists and other iterables are taken as tuples, a text is not.

    Attributes:
        least: how many there are at least.
    """

    option: str
    each: Check
    least: int = 0

    def __call__(self, given: Any) -> tuple[Any, ...]:
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            raise refusal(self.option, given, "Give a tuple, also for a single value.")
        values = tuple(self.each(value) for value in given)
        if len(values) < self.least:
            raise refusal(self.option, values, "Give at least one value, or None to leave the choice open.")
        return values


@dataclass(frozen=True)
class Flag:
    """True or False."""

    option: str

    def __call__(self, given: Any) -> bool:
        if not isinstance(given, bool):
            raise refusal(self.option, given, "Give True or False.")
        return given


@dataclass(frozen=True)
class Text:
    """A text; a path is taken as one where it `may_be_path`."""

    option: str
    may_be_path: bool = False

    def __call__(self, given: Any) -> str:
        if self.may_be_path and isinstance(given, os.PathLike):
            return str(given)
        if not isinstance(given, str):
            raise refusal(self.option, given, "Give a text.")
        return given


@dataclass(frozen=True)
class FilePath:
    """A path, or the text of one."""

    option: str

    def __call__(self, given: Any) -> Path:
        if not isinstance(given, str | Path) or not str(given):
            raise refusal(self.option, given, "Give a path.")
        return Path(given)


@dataclass(frozen=True)
class Instance:
    """A value of a class."""

    option: str
    kind: type

    def __call__(self, given: Any) -> Any:
        if not isinstance(given, self.kind):
            raise refusal(self.option, given, f"Give a value of the class {self.kind.__name__}.")
        return given


@dataclass(frozen=True)
class Span:
    """Two finite numbers, the first below the second."""

    option: str

    def __call__(self, given: Any) -> tuple[float, float]:
        values = given if isinstance(given, tuple | list) else ()
        numbers = [float(v) for v in values if isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v)]
        if len(values) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
            shown = tuple(given) if isinstance(given, list) else given
            raise refusal(self.option, shown, "Give two numbers, LO,HI, of which LO is below HI.")
        return numbers[0], numbers[1]

    def read(self, text: str) -> tuple[float, float]:
        """The two numbers that a text of the command line says."""
        try:
            given: Any = tuple(float(part) for part in text.split(","))
        except ValueError:
            given = text
        return self(given)


@dataclass(frozen=True)
class Shape:
    """Height, width and channels: three whole numbers of 1 or more."""

    option: str

    def __call__(self, given: Any) -> tuple[int, int, int]:
        values = tuple(given) if isinstance(given, tuple | list) else ()
        whole = [int(v) for v in values if isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= 1]
        if len(values) != 3 or len(whole) != 3:
            shown = values or given
            raise refusal(self.option, shown, "Give three whole numbers, H,W,C, for example 224,224,3.")
        return whole[0], whole[1], whole[2]

    def read(self, text: str) -> tuple[int, int, int]:
        """The three numbers that a text of the command line says, separated by `,` or `x`."""
        try:
            given: Any = tuple(int(size) for size in text.lower().replace("x", ",").split(","))
        except ValueError:
            given = text
        return self(given)


@dataclass(frozen=True)
class Table:
    """A mapping of names to values of one kind.

    Attributes:
        names: those that there are; empty takes every text.
    """

    option: str
    each: Check
    names: tuple[str, ...] = ()

    def __call__(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            raise refusal(self.option, given, "Give a mapping of names to values.")
        for name in given:
            if not isinstance(name, str) or (self.names and name not in self.names):
                step = f"{did_you_mean(name, self.names)}Choose from: {', '.join(self.names)}." if self.names else ""
                raise refusal(self.option, name, step or "Give names as texts.")
        return {name: self.each(value) for name, value in given.items()}
