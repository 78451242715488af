"""A pytest plugin for Keras' own export tests: their converters are replaced by a saved file and edgeport's export."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from random_zoo.making import make, opened_anew

from converters.checkpoints.load_options import Code, LoadOptions
from converters.formats import Format

ABOUT_THE_CONVERTER = {
    "test_export_saved_model_errors": "the words of its errors",
    "test_input_signature_error": "the words of its errors",
    "test_export_invalid_filepath": "the words of its errors",
    "test_export_with_input_names": "its argument that renames inputs",
    "test_export_optimization_file_size_comparison": "its argument for quantization",
}
"""Tests of what the replaced function itself is asked and says."""

_reached: set[str] = set()
_not_saved: dict[str, str] = {}
_results: dict[str, tuple[str, str]] = {}
_now = ""


def _exported(model: Any, path: str, fmt: Format, opset: int | None = None) -> None:
    """What stands in the converter's place: save the model, export the file, leave the artifact at `path`."""
    if _now.rpartition("::")[2] in ABOUT_THE_CONVERTER:
        pytest.skip(f"is about {ABOUT_THE_CONVERTER[_now.rpartition('::')[2]]}")
    with tempfile.TemporaryDirectory(prefix="keras-export-") as scratch:
        source = Path(scratch) / "model.keras"
        _saved(model, source)
        _reached.add(_now)
        made = Path(scratch) / f"model.{fmt.value}"
        opened_anew()
        make(source, fmt, made, LoadOptions(custom_objects=_codes(model)), opset)
        target = Path(path)
        files = list(made.iterdir()) if made.is_dir() else [made]
        folder = target if made.is_dir() else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.move(file, target if file == made else folder / file.name)


def _saved(model: Any, source: Path) -> None:
    """Saves the model; skips the test where Keras itself cannot save it, or load what it saved."""
    import keras

    try:
        model.save(source)
        kinds = {code.name: getattr(sys.modules[code.module], code.name or "") for code in _codes(model)}
        keras.saving.load_model(source, custom_objects=kinds, compile=False)
    except Exception as cause:  # Keras' kinds are many
        _not_saved[_now] = f"{type(cause).__name__}: {' '.join(str(cause).split())[:90]}"
        pytest.skip("Keras cannot save its model, or load it")


def _codes(model: Any) -> tuple[Code, ...]:
    """The classes that the tests define, as `--custom-objects` names them; those inside functions are put into their
    module, where an import finds them."""
    layers = [model, *getattr(model, "_flatten_layers", lambda **_: [])(include_self=False)]
    kinds = {type(layer) for layer in layers if type(layer).__module__.endswith("_test")}
    for kind in kinds:
        setattr(sys.modules[kind.__module__], kind.__name__, kind)
    return tuple(Code(kind.__module__, kind.__name__) for kind in kinds)


def _export_saved_model(model: Any, filepath: str, verbose: Any = None, input_signature: Any = None, **_: Any) -> None:
    _exported(model, filepath, Format.SAVEDMODEL)


def _export_onnx(model: Any, filepath: str, verbose: Any = None, opset_version: int | None = None, **_: Any) -> None:
    _exported(model, filepath, Format.ONNX, opset_version)


def _export_litert(model: Any, filepath: str, *_: Any, **__: Any) -> None:
    _exported(model, filepath, Format.TFLITE)


def pytest_configure(config: pytest.Config) -> None:
    from keras.src import export
    from keras.src.export import litert, onnx, saved_model

    for module, name, ours in (
        (saved_model, "export_saved_model", _export_saved_model),
        (onnx, "export_onnx", _export_onnx),
        (litert, "export_litert", _export_litert),
    ):
        setattr(module, name, ours)
        setattr(export, name, ours)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    global _now
    _now = item.nodeid
    return (yield)


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call":
        reason = str(report.longrepr).strip().splitlines()[-1] if report.failed else ""
        crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", reason)
        _results[report.nodeid] = report.outcome, str(crash)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reached = {test: _results[test] for test in sorted(_reached) if test in _results}
    by_file: dict[str, list[str]] = {}
    for test, (outcome, _) in reached.items():
        by_file.setdefault(test.split("::")[-2], []).append(outcome)
    write = terminalreporter.write_line
    write("")
    for test, reason in _not_saved.items():
        write(f"Keras cannot save or load the model of {test.rpartition('::')[2]}: {reason}")
    for file, outcomes in by_file.items():
        write(f"{file}: {outcomes.count('passed')} of {len(outcomes)} that reach a converter")
    passed = sum(outcome == "passed" for outcome, _ in reached.values())
    write(f"Keras' own export tests that reach a converter: {passed} of {len(reached)}.")
    for test, (outcome, reason) in reached.items():
        if outcome != "passed":
            write(f"- {test.rpartition('::')[2]}: {' '.join(reason.split())[:600]}")
