"""Texts drawn by rule: of a model's words, with some that it does not know and some that are empty."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from converters.arrays import Array, Arrays, as_array
from converters.checkpoints.texts import ANY, Texts
from converters.errors import StepError

_LONGEST = 12
"""Words in a text."""

_EVERY = 8
"""Of so many texts one is empty and one, of a model of single words, is a word that it does not know."""

_STRANGE = 0.1
"""The share of words that the model does not know, where a text holds several."""

_MADE_UP = tuple(f"word{k}" for k in range(100))


def draw_texts(texts: Texts, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Texts of this shape, as bytes: every fourth with capitals and a mark at its end, where unknown words may be."""
    words = texts.words or _MADE_UP
    drawn = [_text(k, texts, words, rng) for k in range(math.prod(shape))]
    return as_array(np.array(drawn, object)).reshape(shape)


def texts_that_run(
    texts: Mapping[str, Texts],
    draw: Callable[[Mapping[str, Texts]], Arrays],
    run: Callable[[Arrays], Arrays],
    rows: int,
) -> dict[str, Texts]:
    """What can be drawn: without empty texts, then without unknown words, where the model fails or gives NaN on them.

    A sequence of no words has no step for a recurrent layer and no mean; a table may have no place for other words.

    Args:
        rows: how many samples are run at once, as the model may fail on one that it takes beside others.
    """
    for k in range(len(ANY.narrower)):
        narrower = {name: one.narrower[k] for name, one in texts.items()}
        if _runs(draw(narrower), run, rows):
            return narrower
    return dict(texts)


def _runs(arrays: Arrays, run: Callable[[Arrays], Arrays], rows: int) -> bool:
    count = min(min(len(array) for array in arrays.values()), _EVERY * rows)
    try:
        for start in range(0, count, rows):
            outputs = run({name: array[start : start + rows] for name, array in arrays.items()})
            if any(value.dtype.kind == "f" and not np.isfinite(value).all() for value in outputs.values()):
                return False
    except StepError:
        return False
    return True


def _text(k: int, texts: Texts, words: tuple[str, ...], rng: np.random.Generator) -> str:
    known = [words[i] for i in rng.integers(len(words), size=1 if texts.joint is None else rng.integers(1, _LONGEST))]
    if texts.empty and k % _EVERY == _EVERY - 2:
        return ""
    if not texts.others:
        return (texts.joint or "").join(known)
    strange = f"unknown{rng.integers(1000)}"
    if texts.joint is None:
        return strange if k % _EVERY == _EVERY // 2 - 1 else known[0]
    text = texts.joint.join(strange if rng.random() < _STRANGE else word for word in known)
    return f"{text.title()}!" if k % 4 == 1 else text
