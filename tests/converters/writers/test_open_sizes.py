"""Files that leave sizes open and do not start at the 1 that they state for these: they are calibrated at real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from converters.readers.tflite_signed import signed
from converters.writers.tflite.io import with_sizes, without_sizes


def test_only_what_is_open_gets_a_size_and_stays_open(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.tools import flatbuffer_utils

    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ABS
    graph.tensors = []
    for name in ("x", "y"):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.shapeSignature = name, 0, [1, 1, 3], [-1, -1, 3]
        graph.tensors.append(tensor)
    operator.inputs, operator.outputs = [0], [1]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AbsOptions, schema.AbsOptionsT()
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [1]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    path = tmp_path / "net.tflite"
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    path.write_bytes(signed(path).content or b"")

    sized = with_sizes(path.read_bytes(), {"x": (1, 5, 3)})
    (entry,) = Interpreter(model_content=bytes(sized)).get_input_details()
    np.testing.assert_array_equal(entry["shape"], [1, 5, 3])
    np.testing.assert_array_equal(entry["shape_signature"], [-1, -1, 3])
    (entry,) = Interpreter(model_content=without_sizes(bytes(sized))).get_input_details()
    np.testing.assert_array_equal(entry["shape"], [1, 1, 3])
