"""Look-up tables that are filled from files: whether each file is one of the SavedModel's own assets.

An operation that reads a file passes where nothing but an asset can be the file's name. So the name is followed
backwards: through the arguments of functions to every caller, and to the objects that the loader binds to a function.
What cannot be followed does not pass. Nothing else about such a model is taken on trust: its assets lie in its folder
(`saved_model_file`), and its worker sees no other files where there is a sandbox.

Field numbers: meta_graph.proto, graph.proto, function.proto, op_def.proto, node_def.proto, saved_object_graph.proto of
TensorFlow 2.21.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from converters.readers.protobuf import Message

FILE_TABLES = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
_FILE_NAME = 1
"""Which of their inputs is the file's name."""

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Callers whose inputs are the arguments of the function, one by one."""

_OBJECT_KINDS = frozenset({4, 5, 6, 7, 8, 9, 10, 12})
_ASSET = 5
_COLLECTION = "saved_model_assets"
_MAIN = ""
"""The scope of the nodes that are in no function."""


@dataclass(frozen=True)
class _Node:
    name: str
    op: str
    inputs: tuple[str, ...]
    functions: tuple[str, ...]


@dataclass
class _Graph:
    """A meta graph, by scope (`_MAIN` or a function's name).

    Attributes:
        arguments: of each function.
        assets: nodes of the main graph for which the loader feeds an asset's path.
        bound: of each function that the loader restores, whether the object behind each of its last arguments is an
            asset.
    """

    nodes: dict[str, dict[str, _Node]] = field(default_factory=dict)
    arguments: dict[str, list[str]] = field(default_factory=dict)
    assets: frozenset[str] = frozenset()
    bound: dict[str, list[bool]] = field(default_factory=dict)


def foreign_files(meta: Message) -> set[tuple[str, str]]:
    """(operation, node) of each table that may be filled from another file than an asset of the SavedModel."""
    graph = _read(meta)
    return {
        (node.op, node.name)
        for scope, nodes in graph.nodes.items()
        for node in nodes.values()
        if node.op in FILE_TABLES
        if len(node.inputs) <= _FILE_NAME or not _is_asset(graph, scope, node.inputs[_FILE_NAME], set())
    }


def _is_asset(graph: _Graph, scope: str, tensor: str, seen: set[tuple[str, str]]) -> bool:
    """Whether a tensor is an asset's path, whoever calls."""
    name = tensor.split(":")[0]
    if (scope, name) in seen:  # a function that calls itself with its own argument adds no other value
        return True
    seen.add((scope, name))
    if scope != _MAIN and name in graph.arguments[scope]:
        return _all_callers_give_assets(graph, scope, graph.arguments[scope].index(name), seen)
    node = graph.nodes[scope].get(name)
    if node is None:
        return False
    if scope == _MAIN and name in graph.assets:
        return True
    if node.op == "Identity" and node.inputs:
        return _is_asset(graph, scope, node.inputs[0], seen)
    return scope == _MAIN and node.op == "ReadVariableOp" and _holds_assets(graph, node.inputs[:1], seen)


def _all_callers_give_assets(graph: _Graph, function: str, place: int, seen: set[tuple[str, str]]) -> bool:
    called = False
    bound = graph.bound.get(function)
    if bound is not None:
        called, behind = True, place - (len(graph.arguments[function]) - len(bound))
        if behind < 0 or not bound[behind]:
            return False
    for scope, nodes in graph.nodes.items():
        for node in nodes.values():
            if function not in (*node.functions, node.op):
                continue
            plain = node.op in _CALLS or node.op == function
            if not plain or len(node.inputs) <= place or not _is_asset(graph, scope, node.inputs[place], seen):
                return False
            called = True
    return called


def _holds_assets(graph: _Graph, handles: Iterable[str], seen: set[tuple[str, str]]) -> bool:
    """Whether a variable of the main graph is assigned there alone, and nothing but assets."""
    nodes, assigned = graph.nodes[_MAIN], False
    for handle in handles:
        variable = handle.split(":")[0]
        if variable not in nodes or nodes[variable].op != "VarHandleOp":
            return False
        for user in (node for node in nodes.values() if variable in {name.split(":")[0] for name in node.inputs}):
            if user.op == "AssignVariableOp":
                assigned = True
                if len(user.inputs) < 2 or not _is_asset(graph, _MAIN, user.inputs[1], seen):
                    return False
            elif user.op not in {"ReadVariableOp", "VarIsInitializedOp"}:
                return False
    return assigned


def _read(meta: Message) -> _Graph:
    graph = _Graph()
    definition, objects = meta.message(2), meta.message(7)
    if definition is None:
        return graph
    graph.nodes[_MAIN] = {node.name: node for node in _nodes(definition.messages(1))}
    library = definition.message(2)
    for function in library.messages(1) if library is not None else ():
        signature = function.message(1)
        if signature is None:
            continue
        name = signature.text(1)
        graph.arguments[name] = [argument.text(1) for argument in signature.messages(2)]
        graph.nodes[name] = {node.name: node for node in _nodes(function.messages(3))}
    graph.assets = frozenset(_asset_tensors(meta))
    if objects is not None:
        kinds = [frozenset(number for number in _OBJECT_KINDS if number in one) for one in objects.messages(1)]
        for name, function in objects.map(2):
            places = function.integers(2)
            graph.bound[name] = [0 <= k < len(kinds) and kinds[k] == {_ASSET} for k in places]
    return graph


def _nodes(messages: Iterable[Message]) -> Iterator[_Node]:
    for message in messages:
        inputs = tuple(name for name in message.texts(3) if not name.startswith("^"))
        yield _Node(message.text(1), message.text(2), inputs, tuple(_functions(message)))


def _functions(node: Message) -> Iterator[str]:
    for _, value in node.map(5):
        single, several = value.message(10), value.message(1)
        if single is not None:
            yield single.text(1)
        for function in several.messages(9) if several is not None else ():
            yield function.text(1)


def asset_files(meta: Message) -> Iterator[Message]:
    """The `AssetFileDef`s of a meta graph; TensorFlow 1 keeps them in a collection."""
    yield from meta.messages(6)
    for name, collection in meta.map(4):
        several = collection.message(5) if name == _COLLECTION else None
        for anything in several.messages(1) if several is not None else ():
            asset = anything.message(2)
            if asset is not None:
                yield asset


def _asset_tensors(meta: Message) -> Iterator[str]:
    for asset in asset_files(meta):
        tensor = asset.message(1)
        if tensor is not None:
            yield tensor.text(1).split(":")[0]
