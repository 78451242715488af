"""Models that look values up and work with texts: a SavedModel holds them, other formats are refused by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.graphs import open_frozen_graph, open_saved_model
from converters.checkpoints.identify import identify
from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.loading import load, loaded_model
from converters.errors import RefusedError, UnsupportedError
from converters.formats import Format, Precision
from converters.tracing import Traced, trace
from converters.trial.opening import function_of
from converters.trial.trial import Trial
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite

WORDS = ["alpha", "beta", "gamma"]


def numbers() -> Any:
    """Numbers alone outside, a table inside, and nested."""
    import keras

    inner_input = keras.Input((2,), dtype="int64")
    inner = keras.Model(inner_input, keras.layers.IntegerLookup(vocabulary=[10, 20, 30], name="codes")(inner_input))
    given = keras.Input((2,), dtype="int64", name="i")
    encoded = keras.layers.CategoryEncoding(num_tokens=5, output_mode="multi_hot", name="encode")(inner(given))
    return keras.Model(given, keras.layers.Dense(2, name="dense")(encoded))


def texts(words: list[str], folder: Path) -> Any:
    import keras

    layers = keras.layers
    file = folder / f"{words[0]}.txt"
    file.write_text("\n".join(words))
    text = keras.Input((1,), dtype="string", name="t")
    lookup = layers.StringLookup(vocabulary=words, name="lookup")(text)
    tokens = layers.TextVectorization(vocabulary=words, output_sequence_length=4, name="tokens")(text)
    outputs = {
        "lookup": lookup,
        "file": layers.StringLookup(vocabulary=str(file), name="from_file")(text),
        "many": layers.StringLookup(vocabulary=words, output_mode="multi_hot", name="many")(text),
        "weighted": layers.StringLookup(
            vocabulary=words, output_mode="tf_idf", idf_weights=[0.5, 1.5, 2.5], name="weighted"
        )(text),
        "embedded": layers.Embedding(9, 3, name="embedded")(tokens),
        "letters": layers.TextVectorization(
            vocabulary=["a", "b"], split="character", output_sequence_length=3, name="letters"
        )(text),
        "hashed": layers.Hashing(7, name="hashed")(text),
        "salted": layers.Hashing(7, salt=[1, 2], name="salted")(text),
        "word": layers.StringLookup(vocabulary=words, invert=True, name="word")(lookup),
    }
    return keras.Model(text, outputs)


def hashing(crossed: bool) -> Any:
    """Texts on the way between numbers, without a table."""
    import keras

    one, other = (keras.Input((1,), dtype="int64", name=name) for name in ("one", "other"))
    if crossed:
        return keras.Model([one, other], keras.layers.HashedCrossing(7, name="codes")((one, other)))
    hashed = [keras.layers.Hashing(7, name=name)(given) for name, given in (("codes", one), ("more", other))]
    return keras.Model([one, other], keras.layers.Concatenate(name="both")(hashed))


def saved(model: Any, folder: Path) -> Traced:
    traced = trace(loaded_model(model))
    write_saved_model(traced, folder)
    return traced


def check(model: Any, loaded: Any, given: Any) -> None:
    """`serve` and the signature of a SavedModel against Keras, run eagerly."""
    import keras

    expected = keras.tree.map_structure(np.array, model(given))
    served = keras.tree.map_structure(np.array, loaded.serve(given))
    keras.tree.map_structure(lambda e, a: np.testing.assert_array_equal(a, e), expected, served)
    names = [tensor.name for tensor in keras.tree.flatten(model.inputs)]
    by_name = loaded.signatures["serving_default"](**dict(zip(names, keras.tree.flatten(given), strict=True)))
    for name in by_name:
        value = expected[name] if isinstance(expected, dict) else expected
        np.testing.assert_array_equal(by_name[name].numpy(), value)


def test_two_files_with_tables_of_other_words_keep_apart(tmp_path: Path) -> None:
    import tensorflow as tf

    given = tf.constant([["beta"], ["gamma"], ["Alpha beta"], ["abba"], [""]])
    models = [texts(words, tmp_path) for words in (WORDS, WORDS[::-1])]
    for k, model in enumerate(models):
        traced = saved(model, tmp_path / str(k))
        trial = Trial.drawn(function_of(traced.concrete), traced.signature, {})
        assert trial.check(tmp_path / str(k), Format.SAVEDMODEL, Precision.FLOAT32, traced.signature)
    loaded = [tf.saved_model.load(str(tmp_path / str(k))) for k in range(2)]
    for model, module in zip(models, loaded, strict=True):
        check(model, module, given)
    assert not np.array_equal(loaded[0].serve(given)["lookup"], loaded[1].serve(given)["lookup"])


def test_the_same_table_has_the_same_name_in_every_file(tmp_path: Path) -> None:
    """TensorFlow draws it at random, and the bytes of a SavedModel would be others each time."""
    from tensorflow.core.protobuf import saved_model_pb2

    numbers().save(tmp_path / "m.keras")
    found = []
    for k in range(2):
        write_saved_model(trace(load(identify(tmp_path / "m.keras"))), tmp_path / str(k))
        file = saved_model_pb2.SavedModel.FromString((tmp_path / str(k) / "saved_model.pb").read_bytes())
        nodes = [node for f in file.meta_graphs[0].graph_def.library.function for node in f.node_def]
        found.append({node.attr["shared_name"].s for node in nodes if node.op == "HashTableV2"})
    assert len(found[0]) == 1
    assert found[0] == found[1]


def test_a_saved_model_with_tables_is_a_source(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    whole = texts(WORDS, tmp_path)  # a table that is read from a file is refused in a source: it may be any file
    model = keras.Model(whole.input, {name: end for name, end in whole.output.items() if name != "file"})
    saved(model, tmp_path / "first")
    traced = trace(open_saved_model(identify(tmp_path / "first")))
    write_saved_model(traced, tmp_path / "second")
    given = tf.constant([["beta"], ["nothing"]])
    again = tf.saved_model.load(str(tmp_path / "second")).signatures["serving_default"](t=given)
    for name, expected in model(given).items():
        np.testing.assert_array_equal(again[name].numpy(), expected.numpy())


def test_between_numbers(tmp_path: Path) -> None:
    import tensorflow as tf

    model = numbers()
    traced = saved(model, tmp_path / "numbers")
    given = tf.constant([[10, 3], [30, 20], [1, 2]], tf.int64)
    check(model, tf.saved_model.load(str(tmp_path / "numbers")), given)
    for write in (
        lambda: write_onnx(traced, tmp_path / "m.onnx"),
        lambda: write_tflite(traced, lambda: tmp_path / "numbers", tmp_path / "m.tflite", allow_flex=True),
    ):
        with pytest.raises(UnsupportedError, match=r"in a table .*LookupTableFindV2 \(layer `codes`\)"):
            write()


@pytest.mark.parametrize("crossed", [False, True])
def test_texts_between_numbers(tmp_path: Path, crossed: bool) -> None:
    import tensorflow as tf

    model = hashing(crossed)
    traced = saved(model, tmp_path / "hashed")
    given = [tf.constant([[1], [2], [3]], tf.int64), tf.constant([[4], [5], [6]], tf.int64)]
    check(model, tf.saved_model.load(str(tmp_path / "hashed")), given)
    with pytest.raises(UnsupportedError, match=r"\(layer `codes`"):
        write_onnx(traced, tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match=r"layer `codes`"):
        write_tflite(traced, lambda: tmp_path / "hashed", tmp_path / "m.tflite")


def test_texts_are_named_where_they_are_refused(tmp_path: Path) -> None:
    traced = trace(loaded_model(texts(WORDS, tmp_path)))
    with pytest.raises(UnsupportedError, match=r"`t`, `word` carry text; .*\(layer `tokens`\)"):
        write_onnx(traced, tmp_path / "m.onnx")


def decoding(path: Path, shape: list[int] | None) -> Path:
    """A graph of TensorFlow 1 that is fed a sound file's bytes."""
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        content = tf.compat.v1.placeholder(tf.string, shape, name="content")
        audio = tf.audio.decode_wav(content, 1, 16, name="decoded").audio
        tf.nn.softmax(tf.reshape(audio, [-1, 16], name="flat") * 3.0, name="labels")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def test_bytes_of_no_known_shape_are_asked_for_behind_their_decoder(tmp_path: Path) -> None:
    path = decoding(tmp_path / "old.pb", None)
    with pytest.raises(RefusedError, match="no known shape") as refusal:
        open_frozen_graph(identify(path))
    assert "DecodeWav reads. Start behind that: --graph-input decoded=16,1." in str(refusal.value.next_step)
    loaded = open_frozen_graph(identify(path, LoadOptions(inputs=("decoded=16,1",))))
    assert loaded.signature.inputs[0].shape == (16, 1)
    write_onnx(trace(loaded), tmp_path / "part.onnx")


def test_a_decoder_that_no_output_needs_is_no_reason(tmp_path: Path) -> None:
    path = decoding(tmp_path / "old.pb", [])
    whole = trace(open_frozen_graph(identify(path)))
    with pytest.raises(UnsupportedError, match=r"`content` carries text; .* DecodeWav"):
        write_onnx(whole, tmp_path / "whole.onnx")
    part = trace(open_frozen_graph(identify(path, LoadOptions(inputs=("flat=batch,16",)))))
    write_onnx(part, tmp_path / "part.onnx")
    trial = Trial.drawn(function_of(part.concrete), part.signature, {})
    assert trial.check(tmp_path / "part.onnx", Format.ONNX, Precision.FLOAT32, part.signature)
