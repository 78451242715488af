"""Types of the command line's options, made of the checks of the options classes: one mistake has one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import click

from converters.checks.base import Options, check_of
from converters.checks.values import Flag, Number, Several, Word, no_such


def type_of(kind: type[Options], field: str) -> click.ParamType[Any]:
    """The type of the option that sets a field: one value of it where there may be several."""
    check: Any = check_of(kind, field)
    one = check.each if isinstance(check, Several) else check
    if isinstance(one, Word):
        return _Word(one)
    if isinstance(one, Flag):
        return _Switch(one)
    return Bounded(one) if isinstance(one, Number) else _Text(one)


class _Word(click.Choice[str]):
    """Shown and completed as click's own."""

    def __init__(self, check: Word) -> None:
        super().__init__([str(word) for kind in check.kinds for word in kind])
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._check(value)


class Bounded(click.FloatRange):
    """Shown with its bounds as click's own."""

    def __init__(self, check: Number) -> None:
        low, high = (bound if math.isfinite(bound) else None for bound in (check.low, check.high))
        super().__init__(low, high, min_open=check.above)
        self.name = "integer range" if check.whole else "float range"
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._check.read(value) if isinstance(value, str) else self._check(value)


class _Text(click.ParamType[Any]):
    """A text that the check reads by itself."""

    name = "text"

    def __init__(self, check: Any) -> None:
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._check.read(value) if isinstance(value, str) else value


class Numbers(click.ParamType["tuple[int, ...]"]):
    """`1,2,4`: values of a field, separated by commas."""

    name = "numbers"

    def __init__(self, kind: type[Options], field: str) -> None:
        several: Any = check_of(kind, field)
        self._read = several.each.read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else tuple(self._read(part) for part in str(value).split(","))


class Renamed(click.Choice[str]):
    """Words of the command line that stand for other ones."""

    def __init__(self, noun: str, words: Mapping[str, Any]) -> None:
        super().__init__(list(words))
        self._noun, self._words = noun, words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self._words:
            raise no_such(self._noun, value, self._words)
        return self._words[value]


class _Switch(click.Choice[str]):
    """`on` or `off`, as True or False."""

    def __init__(self, check: Flag) -> None:
        super().__init__(["on", "off"])
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._check({"on": True, "off": False}.get(value, value))
