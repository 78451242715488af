"""The values that an input takes, as the layers tell that it comes to."""

from __future__ import annotations

from typing import Any

import pytest

from converters.checkpoints.ranges import input_hints


@pytest.mark.parametrize("packed", [dict, list])
def test_each_input_of_a_nested_model_has_a_range_of_its_own(packed: Any) -> None:
    """As in a text classifier: words, the two segments and a mask are inputs of the model inside."""
    import keras

    words, segments, mask = (keras.Input((None,), dtype="int32", name=name) for name in ("words", "segments", "mask"))
    embedded = keras.layers.Embedding(40, 3)(words) + keras.layers.Embedding(2, 3)(segments)
    masked = embedded * keras.ops.cast(mask, "float32")[..., None]
    given = {"words": words, "segments": segments, "mask": mask} if packed is dict else [words, segments, mask]
    inner = keras.Model(given, masked)
    outer = {name: keras.Input((None,), dtype="int32", name=name) for name in ("mask", "segments", "words")}
    called = outer if packed is dict else [outer[name] for name in ("words", "segments", "mask")]
    model = keras.Model(outer, keras.layers.Dense(2)(inner(called)))
    limits = {name: (hint.low, hint.high) for name, hint in input_hints(model).items()}
    assert limits == {"words": (0, 39), "segments": (0, 1)}


def test_integers_that_are_looked_up_lie_in_the_vocabulary() -> None:
    import keras

    ids = keras.Input((3,), dtype="int64", name="ids")
    lookup = keras.layers.IntegerLookup(vocabulary=[30, 10, 20], name="lookup")
    hint = input_hints(keras.Model(ids, lookup(ids)))["ids"]
    assert (hint.low, hint.high, hint.whole, hint.source) == (10, 30, True, "the vocabulary of lookup")
