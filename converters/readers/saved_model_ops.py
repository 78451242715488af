"""Operations of a SavedModel that do more than compute: those off an allowlist, and who calls the saver.

An operation passes where it is in `tensorflow_ops.txt` (scripts/list_safe_ops.py) or is a function of the model's own
library. Lists of what is dangerous have been passed by what they forgot: WholeFileReaderV2 reads files too.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.readers.protobuf import Message
from converters.readers.saved_model_assets import FILE_TABLES, foreign_files

SAVER_OPS = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints"})
"""They read and write files, and every SavedModel has them: for its loader alone, so no signature may reach them."""

_CALLERS = frozenset(
    {
        "PartitionedCall",
        "StatefulPartitionedCall",
        "If",
        "StatelessIf",
        "While",
        "StatelessWhile",
        "Case",
        "StatelessCase",
        "For",
        "MapDefun",
        "XlaCallModule",
    }
)
"""The operations of the list that take functions as attributes."""

_RUN_AT_LOAD = frozenset({"saved_model_main_op", "legacy_init_op"})


@dataclass(frozen=True)
class _Node:
    name: str
    op: str
    inputs: tuple[str, ...]
    functions: tuple[str, ...]


@functools.cache
def safe_ops() -> frozenset[str]:
    """The allowlist."""
    return frozenset(Path(__file__).with_name("tensorflow_ops.txt").read_text("utf-8").split())


@dataclass(frozen=True)
class GraphOps:
    """The operations of a meta graph, function bodies included.

    Attributes:
        counts: how often each occurs.
        unsafe: (operation, node) of all that is not let pass: sorted, each once.
    """

    counts: Counter[str]
    unsafe: list[tuple[str, str]]


def read_ops(meta: Message) -> GraphOps:
    """Walks through a meta graph once.

    Field numbers: meta_graph.proto, graph.proto, function.proto, node_def.proto of TensorFlow 2.21.
    """
    graph, objects = meta.message(2), meta.message(7)
    if graph is None:
        return GraphOps(Counter(), [])
    ops = read_graph_ops(graph, _entries(meta), [name for name, _ in objects.map(2)] if objects is not None else [])
    if not FILE_TABLES & ops.counts.keys():
        return ops
    beyond = {(op, node) for op, node in ops.unsafe if op not in FILE_TABLES}
    return GraphOps(ops.counts, sorted(beyond | foreign_files(meta)))


def read_graph_ops(graph: Message, entries: Iterable[str], functions: Iterable[str] = ()) -> GraphOps:
    """Walks through a GraphDef once.

    Args:
        entries: the tensors and operations that a caller or the loader asks for.
        functions: library functions that they may call by name.
    """
    bodies = dict(_library(graph))
    main = list(_nodes(graph.messages(1), in_function=False))
    everything = [node for nodes in (main, *bodies.values()) for node in nodes]
    allowed = safe_ops() | bodies.keys()
    unsafe = {(node.op, node.name) for node in everything if node.op not in allowed}
    unsafe |= {(node.op, node.name) for node in _reached(entries, functions, main, bodies) if node.op in SAVER_OPS}
    return GraphOps(Counter(node.op for node in everything), sorted(unsafe))


def _library(graph: Message) -> Iterator[tuple[str, list[_Node]]]:
    library = graph.message(2)
    for function in library.messages(1) if library is not None else ():
        signature = function.message(1)
        name = signature.text(1) if signature is not None else ""
        yield name, list(_nodes(function.messages(3), in_function=True))


def _nodes(messages: Iterable[Message], *, in_function: bool) -> Iterator[_Node]:
    for message in messages:
        op = message.text(2)
        called = _functions(message) if op in _CALLERS else (op,)  # an old graph calls a function by its bare name
        yield _Node(message.text(1), op, () if in_function else tuple(message.texts(3)), called)


def _functions(node: Message) -> tuple[str, ...]:
    """The functions that a node's attributes name (AttrValue.func, and those in AttrValue.list)."""
    names = []
    for _, value in node.map(5):
        single = value.message(10)
        if single is not None:
            names.append(single.text(1))
        functions = value.message(1)
        if functions is not None:
            names += [function.text(1) for function in functions.messages(9)]
    return tuple(names)


def _reached(
    entries: Iterable[str], callable_: Iterable[str], main: list[_Node], bodies: dict[str, list[_Node]]
) -> list[_Node]:
    """The nodes that run on loading or calling: from signatures, initialisers and callable functions downwards."""
    by_name = {node.name: node for node in main}
    waiting = [_node_of(name) for name in entries]
    nodes: dict[str, _Node] = {}
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in nodes:
            nodes[name] = by_name[name]
            waiting += [_node_of(source) for source in by_name[name].inputs]
    functions = list(callable_)
    functions += [function for node in nodes.values() for function in node.functions]
    visited: set[str] = set()
    reached = list(nodes.values())
    while functions:
        function = functions.pop()
        if function in bodies and function not in visited:
            visited.add(function)
            reached += bodies[function]
            functions += [called for node in bodies[function] for called in node.functions]
    return reached


def _entries(meta: Message) -> Iterator[str]:
    """The tensors and operations of the main graph that a caller or the loader asks for."""
    for _, signature in meta.map(5):
        for _, tensor in signature.map(2):
            yield tensor.text(1)
    for name, collection in meta.map(4):
        node_list = collection.message(1) if name in _RUN_AT_LOAD else None
        if node_list is not None:
            yield from node_list.texts(1)


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").split(":")[0]
