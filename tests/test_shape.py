"""The shape of the code: one story in `pipeline.run`, and no parameter that packs unlike things into a tuple."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for package in ("exporter", "validate", "converters") for path in (ROOT / package).rglob("*.py"))

GIVEN = {("exporter/manifest/reader.py", "_no_duplicates")}
"""Functions whose parameters others decide: `json` hands over pairs."""


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


def packed(annotation: ast.expr) -> Iterator[str]:
    """Tuples of unlike things within an annotation; a key of a mapping may have several parts."""
    if isinstance(annotation, ast.Subscript):
        name, inner = ast.unparse(annotation.value), annotation.slice
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        kinds = {ast.unparse(part) for part in parts} - {"..."}
        if name == "tuple" and len(kinds) > 1:
            yield ast.unparse(annotation)
        for part in parts[1:] if name in {"dict", "Mapping"} else parts:
            yield from packed(part)
    elif isinstance(annotation, ast.BinOp):
        yield from packed(annotation.left)
        yield from packed(annotation.right)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_parameter_is_a_tuple_of_unlike_things(path: Path) -> None:
    found = []
    for function in functions(path):
        given = function.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        if (path.relative_to(ROOT).as_posix(), function.name) not in GIVEN:
            found += [(function.name, p.arg, t) for p in named if p.annotation for t in packed(p.annotation)]
    assert found == []


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        ("tuple[str, Path]", 1),
        ("tuple[str, Path] | None", 1),
        ("Sequence[tuple[str, int]]", 1),
        ("dict[tuple[str, int], Path]", 0),
        ("Mapping[str, tuple[int, str]]", 1),
        ("tuple[float, float]", 0),
        ("tuple[str, ...]", 0),
    ],
)
def test_a_tuple_of_unlike_things_is_told(annotation: str, found: int) -> None:
    assert len(list(packed(ast.parse(annotation, mode="eval").body))) == found


def test_the_story_of_a_run_fits_on_a_page() -> None:
    (story,) = (function for function in functions(ROOT / "exporter" / "run" / "pipeline.py") if function.name == "run")
    assert story.end_lineno is not None
    assert story.end_lineno - story.lineno < 40
