"""Checks of single values: each takes the user's value and returns it coerced, or raises UsageError.

A check names the option of the command line that sets the same thing, so that one mistake has one sentence, whether it
was typed or passed.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from converters.errors import UsageError

Check = Callable[[Any], Any]
"""Takes the user's value and returns it coerced. Raises UsageError."""


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """The beginning of a next step that names the nearest of the known words; empty where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(str(word), list(words), n=1)
    return f"Did you mean `{near[0]}`? " if near else ""


def no_such(noun: str, word: object, choices: Iterable[str], hint: str = "") -> UsageError:
    """The error for a word that is not in a list, with the nearest one that is."""
    words = [str(entry) for entry in choices]
    step = hint or f"Choose from: {', '.join(words)}."
    return UsageError(f"There is no {noun} `{word}`.", next_step=did_you_mean(word, words) + step)


def refusal(option: str, value: object, wanted: str) -> UsageError:
    """The error for a value that an option cannot have."""
    return UsageError(
        f"{option} has to be {wanted}, not {value!r}.", next_step=f"Give {wanted}, or leave it out for the default."
    )


@dataclass(frozen=True)
class Number:
    """A finite number.

    Attributes:
        low, high: the bounds, which are allowed themselves; `above`: but for the lower one.
    """

    option: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    whole: bool = False

    def __call__(self, value: Any) -> int | float:
        fits = isinstance(value, Integral if self.whole else Real) and not isinstance(value, bool)
        if not fits or not math.isfinite(value) or not self._within(value):
            raise refusal(self.option, value, self.wanted)
        return int(value) if self.whole else float(value)

    def _within(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)

    @property
    def wanted(self) -> str:
        """The allowed values, in words."""
        kind = "a whole number" if self.whole else "a number"
        if self.high < math.inf:
            return f"{kind} from {self.low:.10g} to {self.high:.10g}"
        if self.low > -math.inf:
            return f"{kind} above {self.low:g}" if self.above else f"{kind} of {self.low:g} or more"
        return kind

    def read(self, text: str) -> int | float:
        """The number that a text of the command line says."""
        return self(number_in(text))


@dataclass(frozen=True)
class Duration:
    """A time in seconds, on the command line with its unit: `90s`, `30m`, `2h`."""

    option: str

    def __call__(self, value: Any) -> float:
        return float(Number(self.option, 0, above=True)(value))

    def read(self, text: str) -> float:
        """The seconds that a text of the command line says."""
        seconds = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
        try:
            return self(float(text[:-1]) * seconds) if seconds else self(number_in(text))
        except (ValueError, UsageError):
            raise refusal(self.option, text, "a time with its unit (90s, 30m, 2h)") from None


@dataclass(frozen=True)
class Word:
    """One of the words of some enumerations.

    Attributes:
        noun: what such a word names.
    """

    noun: str
    kinds: tuple[type[StrEnum], ...]

    def __call__(self, value: Any) -> StrEnum:
        words = {str(word): word for word in chain(*self.kinds)}
        if isinstance(value, str) and value in words:
            return words[value]
        raise no_such(self.noun, value, words)


@dataclass(frozen=True)
class Several:
    """A tuple of values of one kind; lists and other iterables become tuples, a text does not.

    Attributes:
        least: the minimum number of values.
    """

    option: str
    each: Check
    least: int = 0

    def __call__(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise refusal(self.option, value, "a tuple, also for a single value")
        values = tuple(self.each(item) for item in value)
        if len(values) < self.least:
            raise refusal(self.option, values, "a tuple of at least one value")
        return values


@dataclass(frozen=True)
class Flag:
    """True or False."""

    option: str
    wanted: str = "True or False"

    def __call__(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise refusal(self.option, value, self.wanted)
        return value


@dataclass(frozen=True)
class Text:
    """A text; a path is taken as one where it `may_be_path`."""

    option: str
    may_be_path: bool = False

    def __call__(self, value: Any) -> str:
        if self.may_be_path and isinstance(value, os.PathLike):
            return str(value)
        if not isinstance(value, str):
            raise refusal(self.option, value, "a text")
        return value


@dataclass(frozen=True)
class FilePath:
    """A path, or the text of one."""

    option: str

    def __call__(self, value: Any) -> Path:
        if not isinstance(value, str | Path) or not str(value):
            raise refusal(self.option, value, "a path")
        return Path(value)


@dataclass(frozen=True)
class Instance:
    """A value of a class."""

    option: str
    kind: type

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, self.kind):
            raise refusal(self.option, value, f"of the class {self.kind.__name__}")
        return value


@dataclass(frozen=True)
class Batch:
    """A batch size."""

    option: str

    def __call__(self, value: Any) -> int:
        if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
            raise UsageError(
                f"{self.option} {value} is neither a size of 1 or more nor `dynamic`.",
                next_step="Give a whole number, or leave it out (None in Python) for a dynamic batch.",
            )
        return int(value)

    def read(self, text: str) -> int | None:
        """The size that a text of the command line says."""
        return None if text == "dynamic" else self(number_in(text))


@dataclass(frozen=True)
class Span:
    """Two finite numbers, the first below the second."""

    option: str

    def __call__(self, value: Any) -> tuple[float, float]:
        values = _several(value)
        numbers = [float(v) for v in values if isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v)]
        if len(values) != 2 or len(numbers) != 2:
            raise UsageError(
                f"{self.option} {_commas(value)} is not LO,HI.", next_step="Give two numbers, for example 0,255."
            )
        low, high = numbers
        if not low < high:
            raise UsageError(
                f"{self.option} {_commas(value)}: LO must be below HI.", next_step="Give the lower number first."
            )
        return low, high

    def read(self, text: str) -> tuple[float, float]:
        """The two numbers that a text of the command line says."""
        return self(tuple(number_in(part) for part in text.split(",")))


@dataclass(frozen=True)
class Shape:
    """Height, width and channels: three whole numbers of 1 or more."""

    option: str

    def __call__(self, value: Any) -> tuple[int, int, int]:
        values = _several(value)
        sizes = [int(v) for v in values if isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= 1]
        if len(values) != 3 or len(sizes) != 3:
            raise UsageError(
                f"{self.option} {_commas(value)} is not H,W,C.",
                next_step="Give three whole numbers, for example 224,224,3.",
            )
        return sizes[0], sizes[1], sizes[2]

    def read(self, text: str) -> tuple[int, int, int]:
        """The three numbers that a text of the command line says, separated by `,` or `x`."""
        return self(tuple(number_in(part) for part in text.lower().replace("x", ",").split(",")))


def number_in(text: str) -> Any:
    """The number that a text says; the text itself where it says none, for a check to refuse."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else ()


def _commas(value: Any) -> str:
    """A value as the command line would have it."""
    return ",".join(map(str, _several(value))) or str(value)


@dataclass(frozen=True)
class Table:
    """A mapping of names to values of one kind.

    Attributes:
        names: those that there are; empty takes every text.
    """

    option: str
    each: Number | Text
    noun: str = "name"
    names: tuple[str, ...] = ()

    def __call__(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise refusal(self.option, value, "a mapping of names to values")
        for name in value:
            if self.names and name not in self.names:
                raise no_such(self.noun, name, self.names)
            Text(self.option)(name)
        return {name: replace(self.each, option=f"{self.option} {name}")(item) for name, item in value.items()}
