"""SavedModel: a copy of `saved_model.pb` whose serving function returns the value before a final softmax or sigmoid.

The variables are linked, not copied. Function calls are followed inwards: a signature wraps the traced function.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.signature import SIGNATURE_KEY
from validate.runtimes.base import damaged

_KINDS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
_PASS = {"Identity", "Cast", "StopGradient"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}


def tapped_folder(path: Path, folder: Path, wanted: str | None = None) -> tuple[dict[str, str], Path]:
    """The kind of each tapped output, by name, and the changed SavedModel, written under `folder` if there is anything.

    Args:
        wanted: of several signatures, which one.

    Raises:
        RefusedError: the folder holds no readable `saved_model.pb`.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
        graph = proto.meta_graphs[0]
    except Exception as cause:  # protobuf's DecodeError among them
        damaged(path, "a SavedModel", cause)
    kinds = _tap(graph, wanted or SIGNATURE_KEY)
    copy = folder / "tapped"
    if kinds:
        copy.mkdir(parents=True)
        (copy / "saved_model.pb").write_bytes(proto.SerializeToString())
        for part in ("variables", "assets"):
            if (path / part).is_dir():
                (copy / part).symlink_to((path / part).resolve(), target_is_directory=True)
    return kinds, copy


def _tap(graph: Any, wanted: str) -> dict[str, str]:
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    nodes = {node.name: node for node in graph.graph_def.node}
    signatures = graph.signature_def
    key = wanted if wanted in signatures else next(iter(signatures), None)
    if key is None:
        return {}
    kinds: dict[str, str] = {}
    for name, tensor in signatures[key].outputs.items():
        node_name, _, port = tensor.name.partition(":")
        kind = _tap_call(nodes.get(node_name), int(port or 0), functions)
        if kind is not None:
            kinds[name] = kind
    return kinds


def _tap_call(call: Any, port: int, functions: dict[str, Any]) -> str | None:
    """Taps output `port` of the function that a node calls."""
    function = functions.get(call.attr["f"].func.name) if call is not None and call.op in _CALLS else None
    if function is None or port >= len(function.signature.output_arg):
        return None
    nodes = {node.name: node for node in function.node_def}
    output_name = function.signature.output_arg[port].name
    node, index = _before_passes(function.ret[output_name], nodes)
    if node is None:
        return None
    if node.op in _CALLS:
        return _tap_call(node, index, functions)
    if node.op not in _KINDS:
        return None
    function.ret[output_name] = node.input[0]
    return _KINDS[node.op]


def _before_passes(reference: str, nodes: dict[str, Any]) -> tuple[Any, int]:
    """The node behind `node:output:index`, looking through those that change nothing, and the index."""
    while True:
        name, _, place = reference.partition(":")
        node = nodes.get(name)
        if node is None or node.op not in _PASS:
            return node, int(place.rpartition(":")[2] or 0)
        reference = node.input[0]
