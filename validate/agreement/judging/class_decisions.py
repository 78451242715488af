"""A classifier's decisions: classes and labels. How many keep theirs, and how many are right, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.arrays import Array
from validate.agreement.arrays import wide

CONFIDENCE = 0.95
_RESAMPLES = 1000


def lower_bound(hits: int, count: int) -> float:
    """Minimum share that is compatible with `hits` of `count`, one-sided, 95 % (Clopper and Pearson 1934).

    >>> round(lower_bound(500, 500), 4)
    0.994
    """
    from scipy.special import betaincinv

    return 0.0 if hits == 0 else float(betaincinv(hits, count - hits + 1, 1 - CONFIDENCE))


def share_interval(right: int, count: int) -> dict[str, float]:
    """A share with its two-sided 95 % interval (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if right == 0 else float(betaincinv(right, count - right + 1, tail))
    high = 1.0 if right == count else float(betaincinv(right + 1, count - right, 1 - tail))
    return {"value": right / count, "low": low, "high": high}


@dataclass(frozen=True)
class LabelAgreement:
    """Multi-label decisions alike: every label of every sample, on or off at a probability of one half.

    Attributes:
        agreement: share of decisions like the reference's, near-ties counted as alike.
        flips: decisions that differ and are not near-ties.
        ties: decisions that lie closer to the threshold in the reference than `margin`.
        count: decisions in all.
    """

    agreement: float
    flips: int
    ties: int
    count: int


def label_agreement(candidate: Array, reference: Array, margin: float | Array, threshold: float) -> LabelAgreement:
    """Compares thresholded labels; a flip within `margin` of the threshold in the reference tells nothing.

    Args:
        margin: one number, or one a sample.
    """
    ties = int((~_clear(wide(reference), margin, threshold)).sum())
    flips = int(changed_labels(candidate, reference, margin, threshold).sum())
    return LabelAgreement(1.0 - flips / max(1, reference.size), flips, ties, reference.size)


def changed_labels(candidate: Array, reference: Array, margin: float | Array, threshold: float) -> Array:
    """Where a label is on in one and off in the other, and clear of the threshold by `margin` in the reference."""
    got, want = wide(candidate), wide(reference)
    other: Array = ((got > threshold) != (want > threshold)) & _clear(want, margin, threshold)
    return other


def _clear(values: Array, margin: float | Array, threshold: float) -> Array:
    margins = np.reshape(margin, (-1, *(1,) * (values.ndim - 1)))
    clear: Array = np.abs(values - threshold) > margins
    return clear


def allowed(count: int, share: float) -> int:
    """How many of `count` may change where `share` must keep theirs."""
    return math.ceil((1 - share) * count - 1e-9)  # 1 - 0.998 is a little more than 0.002


def scores(outputs: Array, labels: Array | None, kind: str | None = None) -> dict[str, dict[str, float]] | None:
    """How right the outputs are, each figure with a 95 % interval; None without labels, or where they do not fit.

    Classes (one whole number a sample, or one-hot rows) give `top1` and, from six classes on, `top5`. Rows of zeros and
    ones that are not one-hot, or belong to a sigmoid, are labels, and give the micro-averaged `f1` at one half; its
    interval is a seeded bootstrap over samples (percentile, 1000 resamples).
    """
    if labels is None or outputs.ndim != 2:
        return None
    if _is_multi_label(outputs, labels, kind):
        return {"f1": _f1(outputs > 0.5, labels > 0)}
    classes = _classes(outputs, labels)
    if classes is None:
        return None
    count = len(classes)
    if outputs.shape[1] == 1:
        return {"top1": share_interval(int(((outputs[:, 0] > 0.5) == classes).sum()), count)}
    result = {"top1": share_interval(int((outputs.argmax(axis=1) == classes).sum()), count)}
    if outputs.shape[1] > 5:
        best = np.argpartition(outputs, -5, axis=1)[:, -5:]
        result["top5"] = share_interval(int((best == classes[:, None]).any(axis=1).sum()), count)
    return result


def _is_multi_label(outputs: Array, labels: Array, kind: str | None) -> bool:
    if labels.ndim != 2 or labels.shape != outputs.shape or outputs.shape[1] < 2:
        return False
    if not np.isin(labels, (0, 1)).all():
        return False
    return kind == "sigmoid" or not bool((labels.sum(axis=1) == 1).all())


def _classes(outputs: Array, labels: Array) -> Any:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape == outputs.shape and bool((labels.sum(axis=1) == 1).all()):
        labels = labels.argmax(axis=1)
    return labels if labels.ndim == 1 and labels.dtype.kind in "iub" else None


def _f1(predicted: Array, true: Array) -> dict[str, float]:
    hits = (predicted & true).sum(axis=1).astype(np.float64)
    wrong = (predicted != true).sum(axis=1).astype(np.float64)

    def value(h: Any, w: Any) -> Any:
        return np.where(2 * h + w > 0, 2 * h / np.maximum(2 * h + w, 1e-300), 1.0)

    rng = np.random.Generator(np.random.PCG64(0))
    resamples = rng.integers(0, len(hits), (_RESAMPLES, len(hits)))
    low, high = np.quantile(value(hits[resamples].sum(axis=1), wrong[resamples].sum(axis=1)), (0.025, 0.975))
    return {"value": float(value(hits.sum(), wrong.sum())), "low": float(low), "high": float(high)}


def accuracy(outputs: Array, labels: Array | None) -> float | None:
    """Share of samples of the labelled class: the maximum of several outputs, or a single one over one half.

    None without labels or where they do not fit: they must be one whole number a sample, or one-hot rows.
    """
    if labels is None or outputs.ndim != 2:
        return None
    classes = _classes(outputs, labels)
    if classes is None:
        return None
    guess = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.5
    return float((guess == classes).mean())
