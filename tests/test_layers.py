"""The arrows of the design: exporter -> validate -> converters, read off the imports."""

from __future__ import annotations

import ast
import graphlib
import json
import re
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("exporter", "validate", "converters")
FRAMEWORKS = {"tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "ai_edge_litert", "ai_edge_quantizer"}
VALIDATE_MAY_IMPORT = {
    *("errors", "formats", "signature", "artifact", "checkpoints", "isolation", "user_arrays", "progress", "arrays"),
    *("checks", "common", "faces", "readers", "shapes"),
}
"""Of converters: the vocabulary, of options too, and the readers, of models, files and arrays. What made a file may not
grade it."""
CONTRACTS = "converters.compat.patch"
"""The vocabulary of `validate.compat`; the rooms beside it belong to the writers."""

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def module_level(tree: ast.Module) -> set[str]:
    """Imports that run when the module is imported: not those inside functions or `if TYPE_CHECKING`."""
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(imported(node))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return names


def test_there_is_something_to_read() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_arrows(path: Path) -> None:
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT).parts[0]
    names = imported(tree)
    own = {name for name in names if name.split(".")[0] in PACKAGES}
    if package == "converters":
        assert {name.split(".")[0] for name in own} <= {"converters"}
    if package == "validate":
        assert {name.split(".")[0] for name in own} <= {"validate", "converters"}
        read = {name for name in own if name != CONTRACTS and not name.startswith(f"{CONTRACTS}.")}
        parts = {name.split(".")[1] for name in read if name.startswith("converters.")}
        assert parts <= VALIDATE_MAY_IMPORT
    assert not {name for name in names if name.split(".")[0] in {"scripts", "tests"}}


CAPABILITIES = {"session", "prepared", "refuses", "quantization", "stopwatch", "facts", "loaded", "extremes", "notes"}
"""Of `Runtime` and `Tapped`: their Protocols have an answer for each, so nobody has to ask whether it is there."""


def test_nobody_asks_a_runtime_by_name() -> None:
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "hasattr"}
        if any(isinstance(word, ast.Constant) and word.value in CAPABILITIES for word in node.args[1:2])
    ]
    assert not asked


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and for type checking count too: a circle is two modules that are one."""
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
    graph = {name: imported_modules(ast.parse(path.read_text()), names) - {name} for name, path in names.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as circle:
        pytest.fail(" <- ".join(circle.args[1]))


def imported_modules(tree: ast.AST, known: Container[str]) -> set[str]:
    """`from package import module` is an import of the module, not of the package."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in known else str(node.module) for name in full)
    return {name for name in found if name in known}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_frameworks_are_imported_inside_functions(path: Path) -> None:
    tops = {name.split(".")[0] for name in module_level(ast.parse(path.read_text()))}
    assert not tops & FRAMEWORKS


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_only_the_cli_prints_and_exits(path: Path) -> None:
    if path.is_relative_to(ROOT / "exporter" / "cli") or path.name == "_worker.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"print", "exit", "sys.exit", "quit"}, f"{path}:{node.lineno} calls {name}"


CAPS = {"exporter": (16, 7, 50), "validate": (10, 6, 24), "converters": (36, 8, 128)}
"""By package, the most rooms, levels and arrows between rooms. Whoever adds a room raises its cap and says why."""


@pytest.mark.parametrize("package", PACKAGES)
def test_the_rooms_of_a_package_keep_to_their_caps(package: str) -> None:
    """`scripts/house` draws the same graph for people."""
    command = [sys.executable, ROOT / "scripts" / "house", "--json", package]
    row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)[package]
    assert row["upward"] == []
    assert all(row[name] <= cap for name, cap in zip(("rooms", "levels", "arrows"), CAPS[package], strict=True)), row


def test_exporter_has_few_modules_beside_its_rooms() -> None:
    assert len(list((ROOT / "exporter").glob("*.py"))) <= 8


SMALL = 60
"""Lines below which a module is part of its one importer, unless its first line says why it stands apart."""


def test_a_small_module_with_one_importer_says_why_it_stands_apart() -> None:
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
    importers: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for target in imported_modules(ast.parse(path.read_text()), names) - {name}:
            importers[target].add(name)
    alone = [
        name
        for name, path in names.items()
        if path.name != "__init__.py" and len(importers[name]) == 1 and path.read_text().count("\n") < SMALL
    ]
    assert [n for n in alone if not re.search(r"\b[Aa]part\b", names[n].read_text().split("\n", 1)[0])] == []
