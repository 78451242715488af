"""Tiny files that add two vectors: what a runtime is tried with."""

from __future__ import annotations

from pathlib import Path

from converters.isolation import Channel, Message
from converters.signature import SIGNATURE_KEY

FEEDS = {"a": [1.0, 2.0], "b": [3.0, 4.0]}
TOTAL = [4.0, 6.0]


def tiny_onnx() -> bytes:
    """`sum = a + b` of two float32 vectors. Opset 17 and IR version 8 are read by every ONNX Runtime since 1.12."""
    from onnx import TensorProto, helper

    a, b, total = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("a", "b", "sum"))
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["sum"])], "tiny", [a, b], [total])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    content: bytes = model.SerializeToString()
    return content


def tiny_int8_onnx() -> bytes:
    """The same with a product by one, computed in int8 with steps of 1/16: no value needs to be rounded."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    step, zero = (
        numpy_helper.from_array(np.array(v), name) for name, v in (("step", np.float32(1 / 16)), ("zero", np.int8(0)))
    )
    one = numpy_helper.from_array(np.full(2, 16, np.int8), "one")
    nodes = [helper.make_node("DequantizeLinear", ["one", "step", "zero"], ["one_f"])]

    def coded(name: str) -> str:
        nodes.append(helper.make_node("QuantizeLinear", [name, "step", "zero"], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", "step", "zero"], [f"{name}_f"]))
        return f"{name}_f"

    nodes.append(helper.make_node("Mul", [coded("a"), "one_f"], ["a1"]))
    nodes.append(helper.make_node("Add", [coded("a1"), coded("b")], ["s"]))
    coded("s")
    nodes[-1].output[0] = "sum"
    a, b, total = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("a", "b", "sum"))
    graph = helper.make_graph(nodes, "tiny", [a, b], [total], [step, zero, one])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    content: bytes = model.SerializeToString()
    return content


def tiny_tflite() -> bytes:
    """`sum = a + b` of two float32 vectors, with the signature `serving_default`."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    names = ("a", "b", "sum")
    model, graph, signature = schema.ModelT(), schema.SubGraphT(), schema.SignatureDefT()
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    operator.inputs, operator.outputs = [0, 1], [2]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.tensors, maps = [], []
    for index, name in enumerate(names):
        tensor, entry = schema.TensorT(), schema.TensorMapT()
        tensor.name, tensor.shape, tensor.type = name, [2], schema.TensorType.FLOAT32
        entry.name, entry.tensorIndex = name, index
        graph.tensors.append(tensor)
        maps.append(entry)
    graph.inputs, graph.outputs, graph.operators = [0, 1], [2], [operator]
    signature.signatureKey, signature.subgraphIndex = SIGNATURE_KEY, 0
    signature.inputs, signature.outputs = maps[:2], maps[2:]
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers, model.signatureDefs = [schema.BufferT()], [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tiny_files() -> tuple[tuple[str, bytes], ...]:
    return ("tiny.tflite", tiny_tflite()), ("tiny.onnx", tiny_onnx()), ("tiny.int8.onnx", tiny_int8_onnx())


def write_all(request: Message, _: Channel) -> Message:
    """Writes all into a folder, in a worker: `{paths}`."""
    paths = []
    for name, content in _tiny_files():
        path = Path(request["folder"]) / name
        path.write_bytes(content)
        paths.append(str(path))
    return {"paths": paths}
