"""`--map THEIRS=OURS`, apart from the command that has it: held against both files before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.checkpoints.load_options import LoadOptions
from converters.checks.values import did_you_mean
from converters.errors import EdgeportError, UsageError
from converters.signature import BATCH

if TYPE_CHECKING:
    from converters.common import Common

_Shapes = dict[str, list[Any]]
_SIDES = ("inputs", "outputs")


def mapping_of(texts: Iterable[str]) -> dict[str, str]:
    """The options as a mapping; a name may hold `=` on their side. Raises UsageError."""
    mapping: dict[str, str] = {}
    for text in texts:
        theirs, equals, ours = text.rpartition("=")
        if not (theirs and equals and ours):
            raise UsageError(f"--map {text} is not THEIRS=OURS.", next_step="Give for example --map Identity=labels.")
        if theirs in mapping or ours in mapping.values():
            raise UsageError(f"--map {text} gives a name a second meaning.", next_step="Give each name once.")
        mapping[theirs] = ours
    return mapping


def check_mapping(mapping: Mapping[str, str], reference: Path, candidates: Sequence[Path], common: Common) -> None:
    """Raises UsageError for a name that no file has, or for two that cannot be the same; what cannot be read passes,
    since the file's runtime says more of it."""
    if not mapping:
        return
    from exporter.inspection import inspect

    try:
        opening = LoadOptions(signature=common.signature)
        files = [inspect(path, opening) for path in candidates]
        ours = [_shapes(inspect(reference, common.opening)[side]) for side in _SIDES]
        theirs = [[_shapes(found[side]) for found in files] for side in _SIDES]
    except EdgeportError:
        return
    for their_name, our_name in mapping.items():
        side = next((k for k in range(2) if any(their_name in shapes for shapes in theirs[k])), None)
        if side is None:
            raise _unknown(f"--map {their_name}={our_name}", "no candidate has", their_name, theirs)
        if ours[side] and our_name not in ours[side]:
            noun = _SIDES[side].removesuffix("s")
            raise _unknown(f"--map {their_name}={our_name}", f"the reference has no {noun}", our_name, [[ours[side]]])
        for shapes in theirs[side]:
            if their_name in shapes and ours[side] and not _alike(shapes[their_name], ours[side][our_name]):
                raise UsageError(
                    f"--map {their_name}={our_name}: their shapes differ, {_text(shapes[their_name])} and "
                    f"{_text(ours[side][our_name])}.",
                    next_step="Map names of tensors that hold the same.",
                )


def _shapes(specs: Iterable[Mapping[str, Any]]) -> _Shapes:
    return {spec["name"]: list(spec["shape"]) for spec in specs}


def _alike(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """The same sizes where both are known; a shape that is not told is empty."""
    if not one or not other:
        return True
    pairs = list(zip(one, other, strict=False))
    start = 1 if BATCH in pairs[0] else 0
    return len(one) == len(other) and all(isinstance(a, str) or isinstance(b, str) or a == b for a, b in pairs[start:])


def _text(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))})"


def _unknown(option: str, words: str, name: str, known: Sequence[Sequence[_Shapes]]) -> UsageError:
    names = list(dict.fromkeys(name for side in known for shapes in side for name in shapes))
    step = f"{did_you_mean(name, names)}Choose from: {', '.join(names)}."
    return UsageError(f"{option}: {words} `{name}`.", next_step=step)
