"""A precision that is named after its integers has some, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.errors import UnsupportedError
from converters.formats import Precision
from converters.tracing import trace
from converters.writers.onnx.precisions import OnnxSource
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.precisions import TfliteSource
from converters.writers.tflite.write import write_tflite

INT8, DYNAMIC = Precision.INT8, Precision.DYNAMIC_INT8
CASES = [
    # layer             made as TFLite           made as ONNX
    ("Dense",           {INT8, DYNAMIC},         {INT8, DYNAMIC}),
    ("Softmax",         {INT8},                  {INT8}),
    ("ELU",             set(),                   set()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tflite", "onnx"), CASES)
def test_no_file_is_called_integer_that_is_all_floats(name: str, tflite: Any, onnx: Any, tmp_path: Path) -> None:
    import keras

    layer = {"Dense": lambda: keras.layers.Dense(3)}.get(name, getattr(keras.layers, name))()
    traced = trace(loaded_model(keras.Sequential([keras.Input((4, 4)), layer])))
    (spec,) = traced.signature.inputs
    calibration = {spec.name: np.random.default_rng(0).uniform(-1, 1, (8, 4, 4)).astype(np.float32)}
    write_saved_model(traced, tmp_path / "sm")
    write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    write_onnx(traced, tmp_path / "m.onnx")
    sources: list[tuple[Any, set[Precision]]] = [
        (TfliteSource(tmp_path / "m.tflite", traced.signature, calibration), tflite),
        (OnnxSource(tmp_path / "m.onnx", tmp_path, calibration), onnx),
    ]
    for source, made in sources:
        for precision in (INT8, DYNAMIC):
            path = tmp_path / "reduced"
            if precision in made:
                source.write(precision, path)
                path.unlink()
                continue
            with pytest.raises(UnsupportedError, match=f"Nothing of this model becomes an integer in {precision}"):
                source.write(precision, path)
            assert not path.exists()
