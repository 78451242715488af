"""Whatever edgeport calls or replaces without its maker's promise is named in a `compat` room, and nowhere else."""

from __future__ import annotations

import ast
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converters.compat import patch
from converters.compat.keras import SKLEARN
from converters.compat.patch import Part, Patch, is_our_mistake, lacks_attribute, misused, noting, parts_in
from converters.errors import MisfitError

ROOT = Path(__file__).parents[3]
PARTS = parts_in("converters.compat", "validate.compat")
OWN = ("converters", "validate", "exporter")
FILES = sorted(
    path for package in OWN for path in (ROOT / package).rglob("*.py") if "compat" not in path.relative_to(ROOT).parts
)
PRIVATE = ("keras.src", "tensorflow.python", "tensorflow.lite.python", "onnxruntime.tools")
"""Packages that their makers call internal, beside all whose name begins with an underscore."""
ALLOWED = {"os._exit", "sys.modules[__name__].__class__ = _Callable"}
"""The second is our own package, which can be called."""


def private_uses(tree: ast.Module) -> Iterator[str]:
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", "") or ""
            names = [f"{module}.{alias.name}".strip(".") for alias in node.names]
            imported.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
            foreign = [name for name in names if name.partition(".")[0] not in {*OWN, "__future__"}]
            yield from (n for n in foreign if n.startswith(PRIVATE) or any(p.startswith("_") for p in n.split(".")))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
                yield ast.unparse(node)
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith(PRIVATE):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr", "setattr"}:
            name = node.args[1]
            if isinstance(name, ast.Constant) and str(name.value).startswith("_") and "__" not in str(name.value):
                yield ast.unparse(node)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                holder = ast.unparse(target).partition(".")[0] if isinstance(target, ast.Attribute) else ""
                if holder in imported:
                    yield ast.unparse(node)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_private_parts_of_libraries_are_touched_in_compat_alone(path: Path) -> None:
    assert set(private_uses(ast.parse(path.read_text()))) <= ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "from keras.src.saving import saving_lib",
        "import tensorflow.python.framework.ops",
        "from ai_edge_litert import _pywrap_analyzer_wrapper as analyzer",
        "layers = model._flatten_layers()",
        "getattr(model, '_inputs_struct', None)",
        "hasattr(layer, '_operations')",
        "from keras import Operation\nOperation.__call__ = call",
        "import keras\nkeras.src.backend.standardize_data_format(None)",
    ],
)
def test_the_search_finds_what_it_is_for(code: str) -> None:
    assert list(private_uses(ast.parse(code)))


def test_the_table_is_whole() -> None:
    """The libraries and the number of parts: one that is dropped by mistake is missed here."""
    assert {part.library for part in PARTS} == {
        "keras",
        "tensorflow",
        "tf2onnx",
        "onnxruntime",
        "ai_edge_litert",
        "flatbuffers",
    }
    assert len(PARTS) >= 70
    assert sum(isinstance(part, Patch) for part in PARTS) >= 16


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{type(part).__name__}-{part.where}")
def test_a_part_says_why_and_fits(part: Part) -> None:
    assert part.why
    assert part.fits()
    if isinstance(part, Patch):
        assert part.parameters is not None


def test_parts_are_made_for_the_libraries_of_the_lock() -> None:
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    names = {"onnxruntime": "onnxruntime-gpu", "ai_edge_litert": "ai-edge-litert"}
    assert {(part.library, part.made_for) for part in PARTS} == {
        (library, locked[names.get(library, library)]) for library in {part.library for part in PARTS}
    }


def _library(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "somelib.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "somelib", raising=False)


ADD = Patch("somelib:add", "adds", "1.0", "(a, b=1)", mentions=("total",), otherwise="it adds by itself")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def add(a, b=2):\n    total = a + b\n    return total",
        "def add(a, b=1, c=0):\n    total = a + b\n    return total",
        "def add(a, b=1):\n    return a + b",
        "add = 3",
    ],
    ids=["gone", "another default", "another parameter", "another inside", "no function"],
)
def test_a_part_that_does_not_fit_is_left_alone_and_noted(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _library(text, monkeypatch, tmp_path)
    import somelib

    before = getattr(somelib, "add", None)
    with noting() as notes, ADD.replaced(lambda _: max):
        assert getattr(somelib, "add", None) is before
    assert notes == ["somelib is not as edgeport knows it from somelib 1.0 at somelib:add: it adds by itself."]
    with pytest.raises(MisfitError, match="somelib is not as edgeport knows it") as caught:
        ADD.required()
    assert "somelib==1.0" in caught.value.next_step
    assert caught.value.exit_code == 4


def test_what_was_replaced_is_put_back_whatever_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _library("def add(a: int, b: int = 1) -> int:\n    total = a + b\n    return total", monkeypatch, tmp_path)
    import somelib

    original = somelib.add
    with noting() as notes, ADD.replaced(lambda f: lambda a, b=1: -f(a, b)):
        assert somelib.add(2) == -3
        with ADD.replaced(lambda f: lambda a, b=1: 10 * f(a, b)):  # what replaces it does not hide the original
            assert somelib.add(2) == -30
        assert somelib.add(2) == -3
    assert somelib.add is original
    with contextlib.suppress(ZeroDivisionError), ADD.replaced(lambda f: lambda a, b=1: a / 0):
        somelib.add(1)
    assert somelib.add is original
    assert notes == []


def test_a_part_that_is_called_may_have_grown_optional_parameters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _library("def f(a, b, c=1, *, d=2): pass\ndef g(a, b, c): pass\ndef h(b, a): pass", monkeypatch, tmp_path)
    fits = {name: Part(f"somelib:{name}", "", "1", "(a, b)").fits() for name in "fgh"}
    assert fits == {"f": True, "g": False, "h": False}


def test_a_part_needs_those_that_it_stands_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _library("def f(): pass", monkeypatch, tmp_path)
    assert Part("somelib:f", "", "1").fits()
    assert not Part("somelib:f", "", "1", needs=(Part("somelib:g", "", "1"),)).fits()


def test_a_note_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _library("", monkeypatch, tmp_path)
    patch._log.cache_clear()
    assert [ADD.usable(), ADD.usable()] == [False, False]
    assert [record.message for record in caplog.records] == [
        "somelib is not as edgeport knows it from somelib 1.0 at somelib:add: it adds by itself."
    ]


def _caught(action: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it raises is looked at
        action()
    return caught.value


def test_whose_code_failed_is_told() -> None:
    from converters.compat.keras import own_variables

    theirs = _caught(lambda: __import__("json").loads("{"))
    ours = _caught(lambda: own_variables(__import__("keras").layers))
    assert [is_our_mistake(theirs), is_our_mistake(ours)] == [False, True]
    assert lacks_attribute(ours, "keras")
    assert not lacks_attribute(ours, "tensorflow")
    assert not lacks_attribute(theirs, "keras")
    error = misused(ours, "keras", "3.15.1")
    assert "edgeport's own use of keras" in error.message
    assert "model" not in error.message


HIDDEN = """
import sys
from converters.checkpoints.quick import import_keras
import_keras()
import keras
print("sklearn" in sys.modules, keras.__version__)
"""


def test_keras_is_imported_without_scikit_learn_where_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split()[0] == "False"
    (tmp_path / "keras" / "src" / "wrappers").mkdir(parents=True)
    (tmp_path / "keras" / "__init__.py").touch()
    for name in SKLEARN.mentions:
        (tmp_path / "keras" / "src" / "wrappers" / name).write_text("import sklearn\n")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with noting() as notes, SKLEARN.hidden():
        assert "sklearn" not in sys.modules
    assert "Keras imports scikit-learn" in notes[0]
