"""A pytest plugin for tf2onnx's tests of Keras models: a saved file and edgeport's export replace its converter."""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from random_zoo.making import make, opened_anew

from converters.checkpoints.load_options import Code, LoadOptions
from converters.formats import Format
from converters.writers.onnx.write import DEFAULT_OPSET

ABOUT_THE_CONVERTER = {"test_channel_first_input", "test_channel_last"}
"""Tests of an argument of the replaced function, which asks for another order of channels."""

_reached: set[str] = set()
_not_saved: dict[str, str] = {}
_results: dict[str, tuple[str, str]] = {}
_now = ""


def _convert_keras(model: Any, name: str | None = None, *_: Any, target_opset: int | None = None, **__: Any) -> Any:
    """What stands in the converter's place: save the model, export the file, load the artifact.

    An opset below 13, which edgeport does not write, is the default one.
    """
    import onnx

    if _now.rpartition("::")[2] in ABOUT_THE_CONVERTER:
        pytest.skip("is about an argument of the converter")
    opset = target_opset if target_opset and target_opset >= 13 else None
    with tempfile.TemporaryDirectory(prefix="tf2onnx-keras-") as scratch:
        source, made = Path(scratch) / "model.keras", Path(scratch) / "model.onnx"
        _saved(model, source)
        _reached.add(_now)
        opened_anew()
        make(source, Format.ONNX, made, LoadOptions(custom_objects=_codes(model), allow_unsafe=True), opset)
        return _begun(onnx.load(made))


def _begun(model: Any) -> Any:
    """The model whose states, which are inputs of a step model, begin at zero where they are not fed."""
    from onnx import helper, numpy_helper

    for value in model.graph.input:
        if re.search(r"_state\d+$", value.name):
            shape = [size.dim_value for size in value.type.tensor_type.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, dtype), value.name))
    return model


def _saved(model: Any, source: Path) -> None:
    """Saves the model; skips the test where Keras itself cannot save it, or load what it saved."""
    import keras

    try:
        if not model.built:
            raise ValueError("it was never called, and has no weights yet")
        model.save(source)
        kinds = {code.name: getattr(sys.modules[code.module], code.name or "") for code in _codes(model)}
        loaded = keras.saving.load_model(source, custom_objects=kinds, compile=False, safe_mode=False)
        _check_loaded(model, loaded)
    except Exception as cause:  # Keras' kinds are many
        _not_saved[_now] = f"{type(cause).__name__}: {' '.join(str(cause).split())[:90]}"
        pytest.skip("Keras cannot save its model, or load it")


def _check_loaded(model: Any, loaded: Any) -> None:
    """Raises whatever Keras does where it cannot run what it loaded, ValueError where that answers otherwise."""
    import keras

    draw = np.random.default_rng(0)
    try:
        feed = [draw.uniform(0, 1, [size or 2 for size in t.shape]).astype(t.dtype) for t in model.inputs]
        feed = feed if len(feed) > 1 else feed[0]
        expected = keras.tree.flatten(model(feed, training=False))
    except Exception:  # these inputs do not fit it
        return
    for value, right in zip(keras.tree.flatten(loaded(feed, training=False)), expected, strict=True):
        if not np.allclose(value, right, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ValueError("Keras answers otherwise once it has loaded what it saved")
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()  # as the test has it


def _lend_names() -> None:
    """A Lambda keeps its code and not what its names mean, which Keras looks for in a module of its own."""
    import keras
    import tensorflow as tf
    from keras.src.utils import python_utils

    for name, value in {"tf": tf, "keras": keras, "K": tf.keras.backend, "np": np}.items():
        setattr(python_utils, name, value)


def _codes(model: Any) -> tuple[Code, ...]:
    """The classes that the tests define, as `--custom-objects` names them."""
    layers = [model, *getattr(model, "_flatten_layers", lambda **_: [])(include_self=False)]
    kinds = {type(layer) for layer in layers if type(layer).__module__.startswith("test_")}
    for kind in kinds:  # those inside functions are put where an import finds them
        setattr(sys.modules[kind.__module__], kind.__name__, kind)
    return tuple(Code(kind.__module__, kind.__name__) for kind in kinds)


def _replace_converter() -> None:
    """Puts a module in the place of tf2onnx's, which the newest `onnx` does not let be imported."""
    module: Any = ModuleType("tf2onnx.keras2onnx_api")
    module.convert_keras, module.get_maximum_opset_supported = _convert_keras, lambda: DEFAULT_OPSET
    sys.modules[module.__name__] = module


_replace_converter()  # before the tests' own conftest is read
_lend_names()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    global _now
    _now = item.nodeid
    return (yield)


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome == "failed" or (report.when == "setup" and report.skipped):
        reason = str(report.longrepr).strip().splitlines()[-1] if report.failed else ""
        crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", reason)
        _results[report.nodeid] = report.outcome, str(crash)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    write = terminalreporter.write_line
    write("")
    before = {t: r for t, (outcome, r) in _results.items() if outcome == "failed" and t not in _reached}
    for title, tests in (("Keras cannot save or load the model", _not_saved), ("fails before a converter", before)):
        write(f"{len(tests)}: {title}")
        for reason, count in Counter(tests.values()).most_common():
            example = next(t for t, r in tests.items() if r == reason)
            write(f"- {count} as {example.rpartition('::')[2]}: {' '.join(reason.split())[:300]}")
    reached = {test: _results[test] for test in sorted(_reached - set(_not_saved)) if test in _results}
    passed = sum(outcome == "passed" for outcome, _ in reached.values())
    write(f"tf2onnx's tests of Keras models that reach a converter: {passed} of {len(reached)}.")
    for test, (outcome, reason) in reached.items():
        if outcome != "passed":
            write(f"- {test.rpartition('::')[2]}: {' '.join(reason.split())[:600]}")
