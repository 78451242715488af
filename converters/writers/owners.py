"""Whose an operation of the traced graph is: the layer by the name that its author gave it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from converters.checkpoints.quick import graph_name
from converters.errors import UnsupportedError
from converters.tables import look_ups, text_operations
from converters.tracing import Traced

_PATH = re.compile(r"\((\w+) in `([^`]+/[^`]+)`")
"""How a writer tells of an operation that it made itself of the graph's."""
_SUFFIX = re.compile(r"_\d+$")
"""What TensorFlow adds to a scope that is opened again. Keras opens each layer's twice: to build it and to call it."""


@contextlib.contextmanager
def naming_layers(traced: Traced) -> Iterator[None]:
    """While open, a refusal that speaks of TensorFlow's operations names the layers that these are of too.

    Raises:
        UnsupportedError: as it was raised inside, with the layers.
    """
    try:
        yield
    except UnsupportedError as error:
        words = set(re.findall(r"\w+", re.sub(r" in `[^`]+`", "", error.message)))
        nodes = operations(traced.concrete.graph.as_graph_def())
        named = ((path, node.op) for path, node in nodes if node.op in words)
        spoken = {f"{op}{numbers_of(path, traced)}{whose(path, traced)}": None for path, op in named}
        told = _PATH.search(error.message)
        if told and not spoken:
            spoken = {f"{told[1]}{whose(told[2], traced)}": None}
        if not spoken:
            raise
        message = f"{error.message.removesuffix('.')}: {', '.join(spoken)}."
        raise UnsupportedError(message, next_step=error.next_step, step=error.step) from error


def whose(operation: str, traced: Traced) -> str:
    """An operation's layer in words, in brackets: the outermost one that is not a model.

    Args:
        operation: its path in the graph, scopes and all.
    """
    scopes = operation.strip("/").split("/")[:-1]
    by_scope = {graph_name(name): name for name in traced.layers}
    for first in range(len(scopes)):
        for last in range(len(scopes), first, -1):  # a name may have slashes
            scope = "/".join(scopes[first:last])
            name = by_scope.get(_SUFFIX.sub("", scope), by_scope.get(scope))
            if name is not None:
                return f" (layer `{name}`)"
    if traced.layers or not scopes:
        return " (outside of any layer)"
    return f" (in `{'/'.join(scopes)}`)"


def refuse_text(traced: Traced, format_name: str, *, operations_too: bool = True) -> None:
    """Raises UnsupportedError for a format that edgeport writes with numbers alone, where a model works with texts.

    Args:
        operations_too: operations between inputs and outputs of numbers are refused as well.
    """
    tables, texts = list(look_ups(traced.concrete)), list(text_operations(traced.concrete))
    carrying = [f"`{spec.name}`" for spec in traced.signature.inputs + traced.signature.outputs if spec.is_text]
    found = tables or texts
    if not (tables or carrying or (texts and operations_too)):
        return
    layers = ", ".join(dict.fromkeys(f"{operation.type}{whose(operation.name, traced)}" for operation in found))
    reasons = (
        f"{', '.join(carrying)} {'carries' if len(carrying) == 1 else 'carry'} text" if carrying else "",
        f"values are looked up in a table or made from texts by {layers}" if found else "",
    )
    raise UnsupportedError(
        f"{format_name} files hold numbers alone: {'; '.join(filter(None, reasons))}.",
        next_step="Make a SavedModel with -f savedmodel, or look texts up outside of the model and give it numbers.",
        step="convert",
    )


def numbers_of(operation: str, traced: Traced) -> str:
    """What an operation of the graph computes with, where a format has it for other numbers: complex, of float64."""
    import tensorflow as tf

    nodes = operations(traced.concrete.graph.as_graph_def())
    types = {node.attr["T"].type for path, node in nodes if path == operation and "T" in node.attr}
    complexes = {tf.complex64.as_datatype_enum, tf.complex128.as_datatype_enum}
    if types & complexes:
        return " of complex numbers"
    return " of float64" if tf.float64.as_datatype_enum in types else ""


def operations(definition: Any) -> Iterator[tuple[str, Any]]:
    """Every operation of a graph with its path; those of functions come under the operation that calls them."""
    functions = {function.signature.name: function.node_def for function in definition.library.function}

    def walk(nodes: Iterable[Any], scope: str) -> Iterator[tuple[str, Any]]:
        for node in nodes:
            path = scope + node.name
            yield path, node
            for value in node.attr.values():
                for called in [value.func, *value.list.func]:
                    yield from walk(functions.get(called.name, ()), f"{path}/")

    yield from walk(definition.node, "")
