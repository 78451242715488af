"""How far the user's metric falls from one bundle to the next, by the paired bootstrap over their samples.

`metric.npz` of a bundle has what each sample adds for each file, or of a function what it gave on each resample; the
samples are the same in both bundles, so that their difference is a matter of these alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from converters.arrays import NamedArrays
from converters.errors import UsageError
from exporter.bundle import Bundle, read_answers
from exporter.difference.values import ArtifactChange, MetricChange, miss
from exporter.manifest.rows import Miss
from exporter.manifest.schema import SCORES
from validate.agreement.judging.named_metrics import NAMED_METRICS
from validate.agreement.judging.paired import drop_between, samples_that_would_do
from validate.agreement.losses import KEPT, LOST, UNPROVEN, Estimate
from validate.agreement.metric import LABELS_DIGEST
from validate.agreement.rows import ERROR

Scores = Mapping[str, NamedArrays]


def scores_of(bundle: Bundle) -> Scores:
    """By artifact path, what is kept of its metric; nothing of a bundle that was made without one."""
    return read_answers(bundle.folder / SCORES) if any(row.path == SCORES for row in bundle.manifest.files) else {}


def with_metric(change: ArtifactChange, scores: tuple[Scores, Scores], max_drop: float | None) -> ArtifactChange:
    """The change with how far the metric fell, where both files had the same one."""
    old, new = change.before, change.after
    if old is None or new is None or not change.judged_alike or old.metric is None or old.metric != new.metric:
        return change
    if old.metric_value is None or new.metric_value is None:
        return change
    named = NAMED_METRICS.get(old.metric)
    sides = (scores[0].get(old.path, {}), scores[1].get(new.path, {}))
    values = (old.metric_value, new.metric_value)
    found = drop_between(named, sides, values, lower=new.metric_lower) if _same_labels(*sides) else None
    unit = 100.0 if named and named.share else 1.0
    drop = round((old.metric_value - new.metric_value) * (-unit if new.metric_lower else unit), 9)
    estimate = Estimate(drop, None, None) if found is None else replace(found.drop, value=drop)
    if max_drop is None:
        return replace(change, metric=MetricChange(old.metric, estimate))
    samples = 0 if found is None else found.samples
    return replace(change, metric=_held(old.metric, estimate, samples, max_drop, same=change.status == "same"))


def _same_labels(before: NamedArrays, after: NamedArrays) -> bool:
    one, other = before.get(LABELS_DIGEST), after.get(LABELS_DIGEST)
    return one is not None and other is not None and one.tobytes() == other.tobytes()


def _held(name: str, drop: Estimate, samples: int, max_drop: float, *, same: bool) -> MetricChange:
    """`lost`: a fall beyond the limit; `unproven`: one whose interval goes beyond it. The same bytes do not fall."""
    if (drop.value or 0.0) > max_drop:
        return MetricChange(name, drop, LOST)
    if same or (drop.high is not None and drop.high <= max_drop):
        return MetricChange(name, drop, KEPT)
    if drop.high is None:
        return MetricChange(name, drop, UNPROVEN, "no values by sample were kept: make both bundles again")
    needed = samples_that_would_do(drop, max_drop, samples)
    more = f", about {needed} would do" if needed is not None else ""
    return MetricChange(name, drop, UNPROVEN, f"{samples} samples are too few{more}")


def metric_lost(change: ArtifactChange, allowed: float) -> Iterator[Miss]:
    """A fall beyond what is allowed. Raises UsageError where the two were not held to one metric."""
    old, new, name = change.before, change.after, change.name
    if old is None or new is None:
        return
    if old.metric_value is not None and new.metric_value is None and (new.verdict == ERROR or new.loss == LOST):
        yield miss(name, "max_drop", f"{name} had {old.metric}, and now it gives none", allowed)
        return
    if change.metric is None:
        raise UsageError(
            f"{name} was not held to one metric in both bundles.",
            next_step="Make both with the same --metric.",
            step="diff",
        )
    if change.metric.status == LOST:
        drop = change.metric.drop
        words = f"{name} loses {drop.value:.3g} of {change.metric.name}, and {allowed:g} are allowed"
        yield miss(name, "max_drop", words, allowed, drop.value)
