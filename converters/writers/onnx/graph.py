"""Passes over an ONNX model: fold what depends on constants only, then name and order everything by structure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.errors import UnsupportedError
from converters.writers.onnx.merge import refill, settle_identities
from converters.writers.onnx.order import has_subgraph, in_order, inputs_of

_NEVER_FOLDED = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_MOVES = {"Transpose", "Reshape"}
_ROLES = {(op, k): role for op in _WEIGHTED for k, role in ((1, "weight"), (2, "bias"))}
_GENERATED = re.compile(r"((__\d+)|(:\d+))+$")


def fold_constants(model: Any, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Evaluates every node that depends on constants only and removes it from the graph.

    Arithmetic is done in float64 and rounded once, where a value enters a node that stays; for a chain of one operation
    that is the same as float32 arithmetic. Reads `weights` and the graph's initializers; empties the latter.

    Returns:
        The constants that the remaining nodes use, by name.
    """
    from onnx import numpy_helper

    constants: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    constants.update(weights)
    del model.graph.initializer[:]
    pending: dict[str, Any] = {}
    nodes = []
    for node in model.graph.node:  # tf2onnx hands them out in topological order
        is_constant = all(not i or i in constants or i in pending for i in node.input)
        if is_constant and node.input and not has_subgraph(node) and node.op_type not in _NEVER_FOLDED:
            pending.update({output: node for output in node.output if output})
        elif node.op_type == "Constant" and not has_subgraph(node):
            constants[node.output[0]] = _evaluate(node, {}, model)[node.output[0]]
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    folder = _Folder(model, constants, pending)
    return {name: folder.value(name) for name in _used_names(model.graph) if name in constants or name in pending}


def settle_outputs(model: Any, constants: dict[str, Array]) -> None:
    """Gives outputs that depend on no input a node of their own: to ONNX, an initializer alone is no output."""
    from onnx import helper

    for name in [value.name for value in model.graph.output if value.name in constants]:
        constants[f"{name}/value"] = constants.pop(name)
        model.graph.node.append(helper.make_node("Identity", [f"{name}/value"], [name], name))


def settle_loops(model: Any, constants: dict[str, Array]) -> None:
    """Makes Loop conditions scalars, as the standard's shape inference wants them; tf2onnx gives them shape [1]."""
    for node in model.graph.node:
        if node.op_type == "Loop" and node.input[1] in constants:
            name = f"{node.name}/condition"
            constants[name] = constants[node.input[1]].reshape(())
            node.input[1] = name


def settle_pads(model: Any) -> None:
    """Writes out the padding of dilated convolutions over unknown sizes, where no stride makes it depend on the size.

    ONNX Runtime has no kernel for a dilation beside `auto_pad`.
    """
    from onnx import helper

    for node in model.graph.node:
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        gaps, same = values.get("dilations", [1]), values.get("auto_pad") == b"SAME_UPPER"
        if node.op_type != "Conv" or not same or max(gaps) == 1:
            continue
        if max(values.get("strides", [1])) > 1:
            raise UnsupportedError(
                f"ONNX Runtime cannot pad images of unknown size for strides and dilation at once ({node.name}).",
                next_step="Give the model's input its size.",
                step="convert",
            )
        totals = [(size - 1) * gap for size, gap in zip(values["kernel_shape"], gaps, strict=True)]
        pads = [*(total // 2 for total in totals), *(total - total // 2 for total in totals)]
        kept = [a for a in node.attribute if a.name not in {"auto_pad", "pads"}]
        refill(node.attribute, [*kept, helper.make_attribute("pads", pads)])


class _Folder:
    """Computes folded values on demand; a value that two nodes share is computed once."""

    def __init__(self, model: Any, constants: Mapping[str, Array], pending: Mapping[str, Any]) -> None:
        self._model, self._constants, self._pending = model, constants, pending
        self._wide: dict[str, Array] = {}

    def value(self, name: str) -> Array:
        """The constant, rounded to float32 when it was computed in float64."""
        if name in self._constants:
            return self._constants[name]
        node = self._pending[name]
        if node.op_type in _MOVES and all(i in self._constants for i in node.input):  # no arithmetic: nothing to widen
            return np.ascontiguousarray(_evaluate(node, {i: self._constants[i] for i in node.input}, self._model)[name])
        wide = self._compute(name)
        return np.ascontiguousarray(wide.astype(np.float32) if wide.dtype == np.float64 else wide)

    def _compute(self, name: str) -> Array:
        if name in self._constants:
            return _widened(self._constants[name])
        if name not in self._wide:
            node = self._pending[name]
            inputs = {i: self._compute(i) for i in node.input if i}
            shared = len(node.output) > 1
            results = {name: _widened(value) for name, value in _evaluate(node, inputs, self._model).items()}
            if not shared:
                return results[name]
            self._wide.update(results)
        return self._wide[name]


def _widened(value: Array) -> Array:
    """Float32 as float64: of a constant, or of a Cast, whose result stands beside others that are wide."""
    return value.astype(np.float64) if value.dtype == np.float32 else value


def _evaluate(node: Any, inputs: Mapping[str, Array], model: Any) -> dict[str, Array]:
    from onnx.reference import ReferenceEvaluator

    quick: Callable[[Any, list[Array]], Array] | None = _QUICK.get(node.op_type)
    if quick is not None and len(node.output) == 1:
        return {node.output[0]: quick(node, [inputs[i] for i in node.input])}
    from onnx import helper

    dtypes = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in inputs.items()}
    graph = helper.make_graph(
        [node],
        "folded",
        [helper.make_tensor_value_info(name, dtypes[name], value.shape) for name, value in inputs.items()],
        [helper.make_empty_tensor_value_info(o) for o in node.output if o],
    )
    alone = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    outputs = [o for o in node.output if o]
    return dict(zip(outputs, ReferenceEvaluator(alone).run(outputs, dict(inputs)), strict=True))


def _transpose(node: Any, inputs: list[Array]) -> Array:
    axes = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
    return np.transpose(inputs[0], axes)


_QUICK: dict[str, Callable[[Any, list[Array]], Array]] = {
    "Transpose": _transpose,
    "Mul": lambda _, x: np.multiply(*x),
    "Add": lambda _, x: np.add(*x),
    "Sub": lambda _, x: np.subtract(*x),
    "Identity": lambda _, x: x[0],
}  # the operations that weights go through; ONNX's reference implementation does the others


def canonical_model(
    model: Any, constants: Mapping[str, Array], renames: Mapping[str, str], outputs: Sequence[str]
) -> tuple[Any, dict[str, Array]]:
    """A new model: nodes in the order in which the outputs reach them, names by structure, nothing unused.

    tf2onnx walks Python sets, so its names and orders differ from process to process. The depth-first order from the
    outputs depends on the graph alone.

    Args:
        renames: the graph's input and output names -> the signature's names.

    Returns:
        The model without initializers, and the constants under their new names in the order of their first use.
    """
    import onnx
    from onnx import helper

    names = _Names(renames)
    graph = model.graph
    nodes = in_order(graph, outputs)
    for node in nodes:
        for name in node.output:
            names.assign(name, node)
    renamed = []
    used: dict[str, None] = {}
    for node in nodes:
        used |= dict.fromkeys(n for n in inputs_of(node) if n in constants)
        renamed.append(names.renamed(node, constants))
    domains = {node.domain for node in _all_nodes(renamed)} | {""}
    finished = helper.make_model(
        helper.make_graph(renamed, "edgeport", [], []),
        opset_imports=[o for o in model.opset_import if o.domain in domains],
        producer_name="edgeport",
        ir_version=onnx.IR_VERSION,
    )
    return finished, {names[n]: constants[n] for n in used}


class _Names:
    """Old names -> new names, unique, without the counters that tf2onnx appends."""

    def __init__(self, renames: Mapping[str, str]) -> None:
        self._new = dict(renames)
        self._names_in_use = set(renames.values())
        self._nodes: set[str] = set()

    def __getitem__(self, name: str) -> str:
        return self._new.get(name, name)

    def assign(self, name: str, node: Any = None) -> None:
        if not name or name in self._new:
            return
        stem = _GENERATED.sub("", node.name if node is not None and node.name else name) or "value"
        self._new[name] = self._unique(stem, self._names_in_use)

    def _unique(self, stem: str, names: set[str]) -> str:
        candidate, k = stem, 0
        while candidate in names:
            k += 1
            candidate = f"{stem}_{k}"
        names.add(candidate)
        return candidate

    def renamed(self, node: Any, constants: Collection[str]) -> Any:
        """A copy of the node under its new names, bodies of loops and branches included.

        A constant is named after the first node that reads it: `<node>/weight`, `/bias`, `/input_<k>`.
        """
        import onnx

        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = self._unique(_GENERATED.sub("", node.name) or node.op_type, self._nodes)
        copy.ClearField("doc_string")
        if not copy.domain:
            copy.ClearField("domain")  # set to nothing and not set are other bytes
        for position, name in enumerate(inputs_of(node)):
            if name in constants and name not in self._new:
                role = _ROLES.get((node.op_type, position), f"input_{position}")
                self._new[name] = self._unique(f"{copy.name}/{role}", self._names_in_use)
        copy.input[:] = [self[i] for i in node.input]
        copy.output[:] = [self[o] for o in node.output]
        for attribute in copy.attribute:
            for body in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                self._rename_body(body, copy.name)
        return copy

    def _rename_body(self, body: Any, owner: str) -> None:
        """A loop's or branch's body, like the graph: nodes as its outputs reach them, constants by their reader."""
        if not any(has_subgraph(node) for node in body.node):
            settle_identities(body)
        nodes = in_order(body, [o.name for o in body.output])
        initializers = {i.name: i for i in body.initializer}
        for k, value in enumerate(body.input):
            self._new[value.name] = self._unique(f"{owner}/carried_{k}", self._names_in_use)
        for node in nodes:
            for name in node.output:
                self.assign(name, node)
        renamed = [self.renamed(node, initializers) for node in nodes]
        for value in body.output:
            if value.name in initializers:
                self.assign(value.name)
        used = [n for n in dict.fromkeys(self._new) if n in initializers]
        body_constants = [initializers[n] for n in used]
        for value in (*body.input, *body.output, *body_constants):
            value.name = self[value.name]
        body.name = "body"
        del body.value_info[:]
        refill(body.initializer, body_constants)
        refill(body.node, renamed)


def _used_names(graph: Any) -> list[str]:
    used = [name for node in graph.node for name in inputs_of(node)]
    return list(dict.fromkeys([*used, *(o.name for o in graph.output)]))


def _all_nodes(nodes: Sequence[Any]) -> Iterator[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for body in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _all_nodes(body.node)
