"""A restored function without its idle assignments: of variables that no output depends on, as the seeds of dropout.

Keras draws the masks of recurrent layers in inference too and throws them away; its exported SavedModels hold that in
functions that call each other. Stands apart, for it knows graphs alone and no source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from converters.rewrites.definition import with_definition
from converters.weightless_graph import ASSIGNMENTS, assigned_variables

_SUFFIX = "_without_idle_assignments"


def without_idle_assignments(concrete: Any) -> Any:
    """The concrete function itself where it assigns to nothing, or to what an output depends on."""
    if not assigned_variables(concrete):
        return concrete
    definition = concrete.graph.as_graph_def()
    library = _Library(definition.library)
    outputs = [tensor.op.name for tensor in concrete.outputs]
    kept = _needed(definition.node, outputs)
    used = {name for node in kept for name in library.inputs(node, library.used)}
    assigned = {name for node in definition.node for name in library.inputs(node, library.assigned)}
    if used & assigned:
        return concrete
    pruned = type(definition)(versions=definition.versions)
    pruned.node.extend(_pruned(kept, {node.name for node in kept}))
    pruned.library.function.extend(map(library.pruned, definition.library.function))
    return with_definition(concrete, pruned)


class _Library:
    """The functions of a graph: which of their arguments their results depend on, and which they assign to."""

    def __init__(self, library: Any) -> None:
        self._functions = {function.signature.name: function for function in library.function}
        self._used: dict[str, set[int]] = {}
        self._assigned: dict[str, set[int]] = {}

    def inputs(self, node: Any, of: Any) -> set[str]:
        """The names of those inputs of a node that the functions which it calls use, or assign to."""
        data = [_producer(name) for name in node.input if not name.startswith("^")]
        called = _called(node)
        if called:
            # A loop or a branch hands on what it is handed; a branch keeps the first for itself.
            shift = len(data) - max(len(self._functions[name].signature.input_arg) for name in called)
            places = {place + shift for name in called for place in of(name)}
            kept = set(range(shift)) if of == self.used else set[int]()
            return {data[place] for place in places | kept}
        if of == self.used:
            return set(data)
        return set(data[:1]) if node.op in ASSIGNMENTS else set()

    def used(self, name: str) -> set[int]:
        """The places of the arguments that a function's results depend on."""
        if name not in self._used:
            function = self._functions[name]
            kept = _needed(function.node_def, map(_producer, function.ret.values()))
            names = {i for node in kept for i in self.inputs(node, self.used)}
            names |= {_producer(value) for value in function.ret.values()}
            self._used[name] = _places(function, names)
        return self._used[name]

    def assigned(self, name: str) -> set[int]:
        """The places of the arguments that a function assigns to."""
        if name not in self._assigned:
            function = self._functions[name]
            names = {i for node in function.node_def for i in self.inputs(node, self.assigned)}
            self._assigned[name] = _places(function, names)
        return self._assigned[name]

    def pruned(self, function: Any) -> Any:
        """The function with what its results depend on, under a name of its own."""
        kept = _needed(function.node_def, map(_producer, function.ret.values()))
        result = type(function)()
        result.CopyFrom(function)
        result.signature.name += _SUFFIX
        del result.node_def[:]
        result.control_ret.clear()
        del result.signature.control_output[:]
        result.node_def.extend(_pruned(kept, {node.name for node in kept}))
        return result


def _called(node: Any) -> list[str]:
    single = [value.func.name for value in node.attr.values() if value.HasField("func")]
    return [*single, *(function.name for value in node.attr.values() for function in value.list.func)]


def _places(function: Any, names: set[str]) -> set[int]:
    return {place for place, argument in enumerate(function.signature.input_arg) if argument.name in names}


def _needed(nodes: Iterable[Any], outputs: Iterable[str]) -> list[Any]:
    """The nodes that the outputs depend on, in the graph's order."""
    by_name: Mapping[str, Any] = {node.name: node for node in nodes}
    waiting, visited = list(outputs), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in visited and name in by_name:
            visited.add(name)
            waiting.extend(_producer(i) for i in by_name[name].input if not i.startswith("^"))
    return [node for node in by_name.values() if node.name in visited]


def _pruned(nodes: Iterable[Any], names: set[str]) -> Iterable[Any]:
    """Copies that wait for none that is not there, and call the pruned functions."""
    for node in nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(i for i in node.input if not i.startswith("^") or i[1:] in names)
        for value in copy.attr.values():
            if value.HasField("func"):
                value.func.name += _SUFFIX
            for function in value.list.func:
                function.name += _SUFFIX
        yield copy


def _producer(reference: str) -> str:
    return reference.lstrip("^").split(":")[0]
