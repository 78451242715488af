"""The metrics that go by a name: what each sample adds, so that a resample of samples is a sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from converters.arrays import Array
from validate.agreement.arrays import wide

Rows = Callable[[Array, Array], Array | None]
"""Outputs and labels -> by sample, what it adds; None where the labels do not fit."""


@dataclass(frozen=True)
class NamedMetric:
    """A metric of outputs against labels.

    Attributes:
        share: of 1, and its drop is told in points; else in the metric's own unit.
        lower: less is better.
        labels: what it wants of them, in words.
        total: what sums over samples (the last axis: what a sample adds) come to.
        won, lost: what a sample adds that is all right or all wrong; None where there is no such thing.
    """

    share: bool
    lower: bool
    labels: str
    rows: Rows
    total: Callable[[Array], Array]
    won: tuple[float, ...] | None = None
    lost: tuple[float, ...] | None = None


def _ratio(sums: Array) -> Array:
    result: Array = np.divide(sums[..., 0], sums[..., 1], out=np.ones(sums.shape[:-1]), where=sums[..., 1] > 0)
    return result


def _classes(outputs: Array, labels: Array) -> Array | None:
    """The labels as a class for each decision; one-hot labels too. None where they are none of `outputs`."""
    if outputs.ndim < 2:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1 and outputs.ndim == 2:
        labels = labels[:, 0]
    if labels.shape == outputs.shape and outputs.shape[-1] > 1 and bool((labels.sum(axis=-1) == 1).all()):
        labels = labels.argmax(axis=-1)
    fits = labels.shape == outputs.shape[:-1] and labels.dtype.kind in "iub"
    inside = fits and int(labels.min(initial=0)) >= 0 and int(labels.max(initial=0)) < max(2, outputs.shape[-1])
    return labels if inside else None


def _guesses(outputs: Array) -> Array:
    guesses: Array = outputs.argmax(axis=-1) if outputs.shape[-1] > 1 else outputs[..., 0] > 0.5
    return guesses


def _hits(right: Array) -> Array:
    """By sample, decisions that are right and decisions in all."""
    flat = right.reshape(len(right), -1)
    return np.stack([flat.sum(axis=1), np.full(len(flat), flat.shape[1])], axis=1).astype(np.float64)


def _top1(outputs: Array, labels: Array) -> Array | None:
    classes = _classes(outputs, labels)
    return None if classes is None else _hits(_guesses(outputs) == classes)


def _top5(outputs: Array, labels: Array) -> Array | None:
    classes = _classes(outputs, labels)
    if classes is None or outputs.shape[-1] < 6:
        return None
    best = np.argpartition(outputs, -5, axis=-1)[..., -5:]
    return _hits((best == classes[..., None]).any(axis=-1))


def _f1(outputs: Array, labels: Array) -> Array | None:
    if outputs.ndim != 2 or labels.shape != outputs.shape or not np.isin(labels, (0, 1)).all():
        return None
    predicted, true = outputs > 0.5, labels > 0
    hits, wrong = (predicted & true).sum(axis=1), (predicted != true).sum(axis=1)
    return np.stack([2 * hits, 2 * hits + wrong], axis=1).astype(np.float64)


def _overlaps(outputs: Array, labels: Array) -> Array | None:
    """By sample and class, positions in both and positions in either."""
    classes = _classes(outputs, labels)
    if classes is None or outputs.ndim < 3:
        return None
    guesses, count = _guesses(outputs), max(2, outputs.shape[-1])
    parts = []
    for k in range(count):
        guessed, true = (guesses == k).reshape(len(outputs), -1), (classes == k).reshape(len(outputs), -1)
        parts += [(guessed & true).sum(axis=1), (guessed | true).sum(axis=1)]
    return np.stack(parts, axis=1).astype(np.float64)


def _mean_overlap(sums: Array) -> Array:
    """The mean over the classes that occur."""
    both, either = sums[..., 0::2], sums[..., 1::2]
    occurs = either > 0
    shares = np.divide(both, either, out=np.zeros(both.shape), where=occurs)
    mean: Array = shares.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1)
    return mean


def _errors(outputs: Array, labels: Array) -> Array | None:
    if labels.shape != outputs.shape and (labels.ndim != 1 or outputs.shape != (len(labels), 1)):
        return None
    gaps = np.abs(wide(outputs).reshape(len(outputs), -1) - wide(labels).reshape(len(labels), -1))
    return np.stack([gaps.sum(axis=1), np.full(len(gaps), gaps.shape[1])], axis=1)


_ONE = ((1.0, 1.0), (0.0, 1.0))
_CLASS = "one whole number for each decision, or one-hot rows"

NAMED_METRICS: dict[str, NamedMetric] = {
    "top1": NamedMetric(True, False, _CLASS, _top1, _ratio, *_ONE),
    "top5": NamedMetric(True, False, f"{_CLASS}, of six classes and more", _top5, _ratio, *_ONE),
    "f1": NamedMetric(True, False, "rows of zeros and ones, as many as outputs", _f1, _ratio, (2.0, 2.0), (0.0, 2.0)),
    "miou": NamedMetric(True, False, "a class for each position of a map", _overlaps, _mean_overlap),
    "mae": NamedMetric(False, True, "numbers of the outputs' shape", _errors, _ratio),
}
