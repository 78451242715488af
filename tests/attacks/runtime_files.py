"""Builds ONNX and TFLite files that parse and are wrong further in. The libraries that write them are imported late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Edit = Callable[[Any], None]


def onnx_model(
    path: Path,
    nodes: list[Any],
    *,
    opset: int = 17,
    ir: int = 8,
    initializers: tuple[Any, ...] = (),
    domains: tuple[str, ...] = (),
    input_type: int = 1,
) -> Path:
    """A model of these nodes from `x` to `y`, both float [1]; nothing checks it."""
    from onnx import helper

    ends = [helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    ends[0].type.tensor_type.elem_type = input_type
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(initializers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=ir).SerializeToString())
    return path


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(op, inputs, outputs, **attributes)


def endless_loop(path: Path) -> Path:
    """A Loop whose condition stays true: ONNX Runtime does not see Ctrl-C in it."""
    from onnx import helper

    body_nodes = [helper.make_node("Identity", [a], [b]) for a, b in (("go", "still"), ("value", "next"))]
    types = {"i": (7, []), "go": (9, []), "value": (1, [1]), "still": (9, []), "next": (1, [1])}
    info = {name: helper.make_tensor_value_info(name, *kind) for name, kind in types.items()}
    body = helper.make_graph(body_nodes, "body", [info["i"], info["go"], info["value"]], [info["still"], info["next"]])
    yes = helper.make_tensor("yes", 9, [], [True])
    return onnx_model(path, [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)], initializers=(yes,))


def huge_constant(path: Path, elements: int) -> Path:
    """Allocates `elements` floats when it runs."""
    from onnx import helper

    size = helper.make_tensor("size", 7, [1], [elements])
    one = helper.make_tensor("one", 1, [1], [1.0])
    nodes = [
        helper.make_node("Cast", ["x"], ["x_int"], to=7),
        helper.make_node("Max", ["size", "x_int"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"], value=one),
        helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return onnx_model(path, nodes, initializers=(size,))


def external_tensor(path: Path, *, offset: str = "0", length: str = "16") -> Path:
    """A tensor of four floats in a 48-byte file beside the model, at this offset and of this length."""
    from onnx import helper

    path.with_name("w.data").write_bytes(bytes(48))
    tensor = helper.make_tensor("w", 1, [4], [0.0] * 4)
    tensor.ClearField("float_data")
    tensor.data_location = 1
    for key, value in (("location", "w.data"), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return onnx_model(path, [helper.make_node("Add", ["x", "w"], ["y"])], initializers=(tensor,))


def edited_tflite(source: Path, path: Path, edit: Edit) -> Path:
    """A TFLite file with its unpacked flatbuffer changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(bytearray(source.read_bytes()), 0)
    edit(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
