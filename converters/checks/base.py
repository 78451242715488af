"""Options that are checked where they are made.

    @dataclass(frozen=True)
    class Drawing(Options):
        samples: int = checked(Number("--samples", 1, whole=True), 16)

    Drawing(samples=0)  # UsageError: --samples has to be a whole number of 1 or more, not 0.

The command line reads its words with the very same checks, see `exporter.cli.types`.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from itertools import chain
from typing import Any, Self, TypeVar

from converters.checks.values import Check, Instance, no_such

_CHECK, _PART = "check", "part"


@dataclass(frozen=True)
class Options:
    """Base of the options classes, which are frozen dataclasses: checks and coerces the fields that have a check."""

    def __post_init__(self) -> None:
        """Raises UsageError for a value that cannot be."""
        for entry in fields(self):
            if check := entry.metadata.get(_CHECK):
                object.__setattr__(self, entry.name, check(getattr(self, entry.name)))

    @classmethod
    def of(cls, **flat: Any) -> Self:
        """The same from one level of names: those of the class and those of the options classes inside it.

        Raises:
            UsageError: a name that none of them has, or a value that cannot be.
        """
        own_fields = {entry.name for entry in fields(cls)}
        inner = {name: {f.name for f in fields(kind)} for name, kind in _parts(cls).items()}
        options = {*own_fields, *chain(*inner.values())}
        for name in flat:
            if name not in options:
                raise no_such("option", name, sorted(options))
        values = {name: value for name, value in flat.items() if name in own_fields}
        for name, names in inner.items():
            part_values = {key: value for key, value in flat.items() if key in names and key not in own_fields}
            if part_values and name not in values:
                values[name] = _parts(cls)[name](**part_values)
            elif part_values and values[name] is not None:
                values[name] = replace(values[name], **part_values)
        return cls(**values)


def check_of(kind: type[Options], name: str) -> Check:
    """The check of a field, for callers that read its value from a text."""
    (entry,) = (f for f in fields(kind) if f.name == name)
    check: Check = entry.metadata[_CHECK]
    return check.check if isinstance(check, _OrNone) else check


def checked(check: Check, default: Any = MISSING) -> Any:
    """A field of an options class. Where the default is None, None passes: it leaves the choice open."""
    metadata = {_CHECK: _OrNone(check) if default is None else check}
    if default == {}:
        return field(default_factory=dict, metadata=metadata, hash=False)  # a mapping has no hash, its owner has
    return field(default=default, metadata=metadata)


_Kind = TypeVar("_Kind")


def part(kind: type[_Kind], *, may_be_none: bool = False) -> _Kind:
    """A field that is an options class of its own, made with its defaults."""
    check: Check = Instance(kind.__name__, kind)
    options_field: Any = field(
        default_factory=kind, metadata={_CHECK: _OrNone(check) if may_be_none else check, _PART: kind}
    )
    return options_field  # type: ignore[no-any-return]


def _parts(kind: type[Options]) -> dict[str, Any]:
    return {f.name: f.metadata[_PART] for f in fields(kind) if _PART in f.metadata}


@dataclass(frozen=True)
class _OrNone:
    check: Check

    def __call__(self, value: Any) -> Any:
        return None if value is None else self.check(value)
