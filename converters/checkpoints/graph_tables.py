"""Look-up tables of a graph of TensorFlow 1, which its loader fills, with their contents; apart from its opening."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TABLES = frozenset({"HashTableV2"})
Contents = dict[str, tuple[Any, Any]]
"""By the tensor of a table, its keys and its values."""


def table_contents(session: Any, definition: Any) -> Contents:
    """What the tables of a graph hold in a session in which they were filled."""
    import tensorflow as tf

    contents: Contents = {}
    for node in definition.node:
        if node.op in _TABLES:
            table = session.graph.get_operation_by_name(node.name)
            types = {"Tkeys": table.get_attr("key_dtype"), "Tvalues": table.get_attr("value_dtype")}
            contents[table.outputs[0].name] = session.run(
                tuple(tf.raw_ops.LookupTableExportV2(table_handle=table.outputs[0], **types))
            )
    return contents


def filled_tables(contents: Contents) -> Mapping[str, Any]:
    """Tables with these contents, which a SavedModel fills again; what is not found is the graph's own word."""
    import tensorflow as tf

    tables = {}
    for name, (keys, values) in contents.items():
        content = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values))
        tables[name] = tf.lookup.StaticHashTable(content, tf.zeros((), tf.constant(values).dtype))
    return tables
