"""Text in a traced function: the tables in which it is looked up, and the operations that work with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from converters.compat.tensorflow import TABLE_NAME, name_table

_CARRIED = frozenset({"Const", "Placeholder", "Identity", "Assert", "PrintV2", "StringFormat"})
"""Operations that have to do with texts and compute nothing from them that an output could show."""


def captured_tables(roots: Iterable[Any], concrete: Any) -> tuple[Any, ...]:
    """The look-up tables that a function uses, of those that belong to the models, in the order of the function.

    A SavedModel fills them when it is loaded, if the module that is saved owns them.
    """
    import tensorflow as tf

    handles = [id(outer) for outer, inner in concrete.graph.captures if inner.dtype == tf.resource]
    variables = {id(variable.handle) for variable in concrete.graph.variables}
    if not set(handles) - variables:
        return ()
    owned = {}
    for root in roots:
        for part in tf.train.TrackableView(root).descendants():
            if not isinstance(part, tf.Variable) and hasattr(part, "resource_handle"):
                owned[id(part.resource_handle)] = part
    tables = tuple(owned[handle] for handle in dict.fromkeys(handles) if handle in owned)
    for table in tables:
        _name_by_content(table)
    return tables


def _name_by_content(table: Any) -> None:
    """Names a table by what it holds: TensorFlow draws a name, and a file would have other bytes each time."""
    import tensorflow as tf

    if not isinstance(table, tf.lookup.StaticHashTable) or not TABLE_NAME.usable():
        return
    keys, values = (tensor.numpy().tolist() for tensor in table.export())
    content = repr((table.key_dtype.name, table.value_dtype.name, sorted(zip(keys, values, strict=True))))
    name_table(table, f"table_{hashlib.sha256(content.encode()).hexdigest()[:32]}")


def look_ups(concrete: Any) -> Iterator[Any]:
    """The operations of a function that look values up in a table."""
    yield from (operation for operation in _used(concrete) if operation.type.startswith("LookupTable"))


def text_operations(concrete: Any) -> Iterator[Any]:
    """The operations of a function that compute texts or from texts."""
    import tensorflow as tf

    for operation in _used(concrete):
        tensors = [*operation.inputs, *operation.outputs]
        if operation.type not in _CARRIED and any(tensor.dtype == tf.string for tensor in tensors):
            yield operation


def _used(concrete: Any) -> Iterator[Any]:
    """The operations that outputs are computed by, in the graph's order: a graph of TensorFlow 1 has others too."""
    waiting = [tensor.op for tensor in concrete.outputs]
    names = set[str]()
    while waiting:
        operation = waiting.pop()
        if operation.name not in names:
            names.add(operation.name)
            waiting.extend(tensor.op for tensor in operation.inputs)
    yield from (operation for operation in concrete.graph.get_operations() if operation.name in names)
