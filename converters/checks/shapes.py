"""The check of `--shape NAME=B,H,W,C`; apart from the others, as it is of two levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from converters.checks.values import number_in, refusal
from converters.errors import UsageError

_BATCH = "batch"


@dataclass(frozen=True)
class NamedShapes:
    """A mapping of input names to shapes: whole numbers of 1 or more, of which the first may be `batch`."""

    option: str

    def __call__(self, value: Any) -> dict[str, tuple[int | str, ...]]:
        if not isinstance(value, Mapping):
            raise refusal(self.option, value, "a mapping of input names to shapes")
        return {str(name): self._shape(str(name), sizes) for name, sizes in value.items()}

    def read(self, text: str) -> dict[str, tuple[int | str, ...]]:
        """The shape that a text of the command line says, by its name."""
        name, equals, sizes = text.rpartition("=")
        if not name or not equals:
            raise self._refused(text)
        words = [size.strip() for size in sizes.lower().split(",")]
        return {name: self._shape(name, [word if word == _BATCH else number_in(word) for word in words])}

    def _shape(self, name: str, value: Any) -> tuple[int | str, ...]:
        sizes = list(value) if isinstance(value, tuple | list) else []
        fits = [_is_size(size) or (k == 0 and size == _BATCH) for k, size in enumerate(sizes)]
        if not sizes or not all(fits):
            raise self._refused(f"{name}={','.join(map(str, sizes)) or value}")
        return tuple(size if size == _BATCH else int(size) for size in sizes)

    def _refused(self, text: str) -> UsageError:
        return UsageError(
            f"{self.option} {text} is not NAME=B,H,W,C.",
            next_step="Give an input's name and its sizes, the batch first: for example image=batch,320,320,3.",
        )


def _is_size(size: Any) -> bool:
    return isinstance(size, Integral) and not isinstance(size, bool) and int(size) >= 1
