"""SavedModels whose tables come from a file among their assets, and those that would read another file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.identify import identify
from converters.checkpoints.loading import load
from converters.checkpoints.texts import texts_of
from converters.errors import RefusedError
from converters.tracing import trace
from converters.writers.savedmodel import write_saved_model

WORDS = ("cat", "dog", "mat")
GIVEN = ["dog", "cow", "cat"]
EXPECTED = [1, -1, 0]


def _initializer(file: Any) -> Any:
    import tensorflow as tf

    index = tf.lookup.TextFileIndex
    return tf.lookup.TextFileInitializer(file, tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER)


def _second(folder: Path, vocabulary: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.file = tf.saved_model.Asset(str(vocabulary))
    module.table = tf.lookup.StaticHashTable(_initializer(module.file), -1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def look_up(words: Any) -> Any:
        return {"place": module.table.lookup(words)}

    tf.saved_model.save(module, str(folder), signatures=look_up.get_concrete_function())


def _first(folder: Path, vocabulary: Path) -> None:
    import tensorflow as tf

    first = tf.compat.v1
    with tf.Graph().as_default(), first.Session() as session:
        words = first.placeholder(tf.string, [None], name="words")
        table = tf.lookup.StaticHashTable(_initializer(str(vocabulary)), -1)
        places = table.lookup(words)
        session.run(first.tables_initializer())
        first.saved_model.simple_save(
            session, str(folder), {"words": words}, {"place": places}, legacy_init_op=first.tables_initializer()
        )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two SavedModels, whose vocabulary is gone from where it was."""
    folder = tmp_path_factory.mktemp("vocabulary")
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n")
    _second(folder / "second", vocabulary)
    _first(folder / "first", vocabulary)
    vocabulary.unlink()
    return folder


@pytest.mark.parametrize("version", ["first", "second"])
def test_the_words_of_the_file_are_looked_up(saved: Path, tmp_path: Path, version: str) -> None:
    import tensorflow as tf

    loaded = load(identify(saved / version))
    assert texts_of(loaded)["words"].words == WORDS
    write_saved_model(trace(loaded), tmp_path / "out")
    assert identify(tmp_path / "out").kind.value == "savedmodel"  # what was made is scanned as any other
    moved = tmp_path / "moved"
    (tmp_path / "out").rename(moved)
    made = tf.saved_model.load(str(moved)).signatures["serving_default"](words=tf.constant(GIVEN))
    np.testing.assert_array_equal(made["place"], EXPECTED)


def test_a_file_that_is_missing_is_named(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "second", tmp_path / "m")
    next((tmp_path / "m" / "assets").iterdir()).unlink()
    with pytest.raises(RefusedError, match=r"assets/words\.txt is missing"):
        identify(tmp_path / "m")


def _constant(meta: Any) -> None:
    """The loader binds a text of the file's own to the function that fills the table."""
    asset = next(node for node in meta.object_graph_def.nodes if node.WhichOneof("kind") == "asset")
    asset.constant.operation = "path"
    _path(meta.graph_def.node.add(), "path")


def _both(meta: Any) -> None:
    """An object of two kinds: the loader takes the one that comes last on the wire."""
    from tensorflow.core.protobuf import saved_object_graph_pb2 as objects

    _path(meta.graph_def.node.add(), "path")
    nodes = meta.object_graph_def.nodes
    for node in nodes:
        if node.WhichOneof("kind") == "asset":
            other = objects.SavedObject(constant=objects.SavedConstant(operation="path"))
            node.MergeFromString(other.SerializeToString())


def _literal(meta: Any) -> None:
    for function in meta.graph_def.library.function:
        for node in function.node_def:
            if node.op.startswith("InitializeTable"):
                _path(function.node_def.add(), "path")
                node.input[1] = "path:output:0"


def _passed_on(meta: Any) -> None:
    """A second caller, with a path of its own."""
    name = next(f.signature.name for f in meta.graph_def.library.function if "initializer" in f.signature.name)
    _path(meta.graph_def.node.add(), "path")
    call = meta.graph_def.node.add(name="call", op="StatefulPartitionedCall", input=["path", "hash_table"])
    call.attr["f"].func.name = name


def _of_the_first(meta: Any) -> None:
    next(node for node in meta.graph_def.node if node.op.startswith("InitializeTable")).input[1] = "path"
    _path(meta.graph_def.node.add(), "path")


def _outside(meta: Any) -> None:
    meta.asset_file_def[0].filename = "../../../etc/passwd"


def _path(node: Any, name: str) -> None:
    import tensorflow as tf

    node.CopyFrom(tf.compat.v1.NodeDef(name=name, op="Const"))
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))


@pytest.mark.parametrize(
    ("version", "change", "said"),
    [
        ("second", _constant, "InitializeTableFromTextFileV2"),
        ("second", _both, "InitializeTableFromTextFileV2"),
        ("second", _literal, "InitializeTableFromTextFileV2"),
        ("second", _passed_on, "InitializeTableFromTextFileV2"),
        ("second", _outside, "outside the folder"),
        ("first", _of_the_first, "InitializeTableFromTextFileV2"),
    ],
)
def test_any_other_file_is_refused(
    saved: Path, tmp_path: Path, version: str, change: Callable[[Any], None], said: str
) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    shutil.copytree(saved / version, tmp_path / "m")
    file = tmp_path / "m" / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(model.meta_graphs[0])
    file.write_bytes(model.SerializeToString())
    with pytest.raises(RefusedError, match=said):
        identify(tmp_path / "m")


def test_a_graph_in_two_parts_is_read_as_tensorflow_reads_it(saved: Path, tmp_path: Path) -> None:
    """Messages that occur twice are merged: what the first part holds must not be hidden by the second."""
    from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

    shutil.copytree(saved / "second", tmp_path / "m")
    file = tmp_path / "m" / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    more = meta_graph_pb2.MetaGraphDef()
    more.graph_def.node.add(name="reader", op="ReadFile")
    both = more.SerializeToString() + model.meta_graphs[0].SerializeToString()
    length = bytes([*(len(both) >> shift & 0x7F | 0x80 for shift in (0, 7)), len(both) >> 14])
    file.write_bytes(b"\x08\x01\x12" + length + both)
    assert saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0].graph_def.node[0].op == "ReadFile"
    with pytest.raises(RefusedError, match="ReadFile"):
        identify(tmp_path / "m")
