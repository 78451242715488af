"""The user's metric in a comparison: checked before anything is made, then held against `--max-drop` file by file."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.load_options import Code, parse_code
from converters.common import Common
from converters.errors import EdgeportError, UsageError
from converters.isolation import Message, run_step
from converters.signature import Signature
from converters.user_arrays import read_labels
from validate.agreement.arrays import path_of, read_array
from validate.agreement.judging.named_metrics import NAMED_METRICS, NamedMetric
from validate.agreement.judging.paired import (
    MIN_SAMPLES,
    RESAMPLED,
    SAMPLES,
    MetricDrop,
    drop_of,
    interval_of,
    known,
    samples_that_would_do,
)
from validate.agreement.losses import KEPT, LOST, UNPROVEN, Loss, LossGate
from validate.agreement.options import JudgeOptions
from validate.agreement.rows import AGREE, OutputRow

TIMEOUT_S = 300.0
"""Of one file's metric, resamples and all."""

LABELS_DIGEST = "labels"
"""The name of the labels' digest among what is kept of a file's metric."""

_KEPT_BYTES = 8 << 20


def apart(count: int, chosen_with: int, seed: int) -> tuple[Array, Array]:
    """So many of the samples, drawn at random, to choose a file with, and the others to judge it by."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(count)
    return np.sort(order[:chosen_with]), np.sort(order[chosen_with:])


def small(array: Array) -> Array:
    """In half the bytes where these hold the same numbers, as counts are."""
    narrow: Array = array.astype(np.float32) if array.dtype == np.float64 else array
    return narrow if np.array_equal(narrow, array, equal_nan=True) else array


@dataclass(frozen=True)
class UserMetric:
    """The metric of a comparison, its labels, and what it may drop.

    Attributes:
        named: None where it is a function of the user's, which `code` names.
        labels: by name, samples first.
        judged_on: which samples they are of; None: all.
    """

    name: str
    named: NamedMetric | None
    code: Code | None
    lower: bool
    max_drop: float | None
    labels: Arrays
    common: Common
    judged_on: Array | None = None

    @classmethod
    def of(cls, options: JudgeOptions, common: Common, chosen_with: int = 0) -> UserMetric | None:
        """The metric that was asked for, with the labels among `--inputs`; None without one.

        Args:
            chosen_with: leaves out so many samples; see `apart`.

        Raises:
            UsageError: there are no labels, or too few samples for an interval.
        """
        if options.metric is None:
            return None
        named = NAMED_METRICS.get(options.metric)
        code = None if named else parse_code(options.metric, "--metric", named=True)
        path = common.inputs
        labels = read_labels(path) if path is not None and path.suffix.lower() == ".npz" else {}
        if not labels:
            raise UsageError(
                f"--metric {options.metric} needs labels, and there are none.",
                next_step="Give --inputs an .npz that holds `labels`, or `labels.NAME` for several.",
                file=path,
            )
        counts = {name: len(array) for name, array in labels.items()}
        if len(set(counts.values())) != 1 or min(counts.values()) < MIN_SAMPLES:
            told = ", ".join(f"{name}: {count}" for name, count in counts.items())
            raise UsageError(
                f"--metric {options.metric} needs {MIN_SAMPLES} samples at least, as many under each name ({told}).",
                next_step="Give more labelled samples.",
                file=path,
            )
        lower = named.lower if named else options.metric_lower
        judged_on = apart(min(counts.values()), chosen_with, common.seed)[1] if chosen_with else None
        if judged_on is not None:
            labels = {name: array[judged_on] for name, array in labels.items()}
        return cls(options.metric, named, code, lower, options.max_drop, labels, common, judged_on)

    def check(self, signature: Signature) -> None:
        """Tries the metric on made-up outputs of the checkpoint's shapes, and in another order.

        Raises:
            UsageError: it fails, gives no number, depends on the order, or the labels do not fit the outputs.
        """
        count = len(next(iter(self.labels.values())))
        if not all(isinstance(size, int) for spec in signature.outputs for size in spec.shape[1:]):
            return  # the sizes are known once the checkpoint has run
        rng = np.random.Generator(np.random.PCG64(0))
        outputs = {}
        for spec in signature.outputs:
            values = rng.random((count, *(int(size) for size in spec.shape[1:]))).astype(np.float32)
            several = values.ndim > 1 and values.shape[-1] > 1
            outputs[spec.name] = values / values.sum(axis=-1, keepdims=True) if several else values
        if self.named is not None:
            self.rows(outputs)
            return
        with tempfile.TemporaryDirectory(prefix="edgeport-metric-") as folder:
            for k, array in enumerate(outputs.values()):
                np.save(path_of(Path(folder), "out", k), array, allow_pickle=False)
            self._evaluate(tuple(outputs), Path(folder), Path(folder), None)

    def check_reference(self, names: tuple[str, ...], work: Path) -> None:
        """Tries the metric on the reference's own outputs, in `work`. Raises what `check` does."""
        if self.named is None:
            self._evaluate(names, work, work / "reference", None)
        else:
            self.rows(self._stored(names, work / "reference"))

    def judged(
        self, rows: tuple[OutputRow, ...], names: tuple[str, ...], work: Path, candidate: Path
    ) -> tuple[tuple[OutputRow, ...], Arrays]:
        """The rows with the metric in their losses, and what a later file's drop from this one can be told from.

        It is of all outputs together, so that each row has the same.
        """
        try:
            drop = self.drop(names, work, candidate)
        except EdgeportError as error:  # what befalls a candidate is its verdict
            return tuple(replace(row, loss=self._failed(row.loss, error)) for row in rows), {}
        exact = all(row.status == AGREE and row.gate.measure == "noise_ratio" for row in rows)
        told = tuple(replace(row, loss=row.loss and self.loss(row.loss, drop, exact=exact)) for row in rows)
        kept = {key: small(np.asarray(array)) for key, array in drop.kept.items()}
        if sum(array.nbytes for array in kept.values()) > _KEPT_BYTES:
            return told, {}
        return told, {**kept, LABELS_DIGEST: self._labels_digest()}

    def _labels_digest(self) -> Array:
        """SHA-256 of the labels, by which two comparisons are known to be of the same samples."""
        digest = hashlib.sha256()
        for name in sorted(self.labels):
            array = np.ascontiguousarray(self.labels[name])
            digest.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
        return np.frombuffer(digest.digest(), np.uint8)

    def _failed(self, loss: Loss | None, error: EdgeportError) -> Loss | None:
        status = UNPROVEN if self.max_drop is None else LOST
        return loss and replace(loss, status=status, reason=error.message, metric=self.name, max_drop=self.max_drop)

    def _stored(self, names: tuple[str, ...], folder: Path) -> dict[str, Array]:
        count = len(next(iter(self.labels.values())))
        stored = {name: read_array(folder, "out", k) for k, name in enumerate(names)}
        return {name: array[self._which(count)] for name, array in stored.items()}

    def _which(self, count: int) -> Array:
        return np.arange(count) if self.judged_on is None else self.judged_on

    def drop(self, names: tuple[str, ...], work: Path, candidate: Path) -> MetricDrop:
        """From the reference's outputs in `work` to those of a candidate's folder. Raises what `check` does."""
        count = len(next(iter(self.labels.values())))
        if self.named is not None:
            reference, file = (self.rows(self._stored(names, folder)) for folder in (work / "reference", candidate))
            return drop_of(self.named, reference, file, self.common.seed)
        answer = self._evaluate(names, work, work / "reference", candidate)
        sign = -1.0 if self.lower else 1.0
        before, after = float(answer["reference"]), float(answer["value"])
        sides = np.array(answer["resampled"], np.float64)
        drops = sign * (sides[:, 0] - sides[:, 1])
        estimate = known(interval_of(drops[np.isfinite(drops)], sign * (before - after), count), before, count)
        return MetricDrop(before, after, estimate, count, {RESAMPLED: sides[:, 1], SAMPLES: np.array(count)})

    def loss(self, loss: Loss, drop: MetricDrop, *, exact: bool = False) -> Loss:
        """The loss with the metric in it; with `--max-drop` that decides, and the decisions are told beside it.

        Args:
            exact: the file lies within float32's own noise of the checkpoint: what no sample shows is not in doubt.
        """
        told = replace(
            loss,
            metric=self.name,
            reference=drop.reference,
            value=drop.value,
            drop=drop.drop,
            max_drop=self.max_drop,
            lower=self.lower,
        )
        if self.max_drop is None:
            return told
        unit = " points" if self.named is not None and self.named.share else ""
        value, high = drop.drop.value or 0.0, drop.drop.high or 0.0
        words = f"{self.name} drops by {value:.3g}{unit}, at most {high:.3g} (95 %), and {self.max_drop:g} are allowed"
        needed = samples_that_would_do(drop.drop, self.max_drop, drop.samples)
        status = KEPT if high <= self.max_drop else LOST if needed is None else UNPROVEN
        if exact and status != KEPT and value <= self.max_drop:
            status, words = (
                KEPT,
                f"{self.name} drops by {value:.3g}{unit}, and the file differs by float32's noise alone",
            )
        if status == UNPROVEN:
            words += f": {drop.samples} samples are too few, about {needed} would do"
        return replace(told, status=status, reason=words, gate=LossGate("drop", high, self.max_drop))

    def rows(self, outputs: Arrays) -> Array:
        """What each sample adds, of the first output that the labels fit."""
        assert self.named is not None
        for name, array in outputs.items():
            labels = self.labels.get(name, self.labels.get("labels"))
            if labels is None or len(labels) != len(array):
                continue
            rows = self.named.rows(np.asarray(array), labels)
            if rows is not None:
                return rows
        shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
        given = ", ".join(f"{name} {array.shape} of {array.dtype.name}" for name, array in self.labels.items())
        raise UsageError(
            f"The labels ({given}) do not fit --metric {self.name} of the outputs ({shapes}).",
            next_step=f"{self.name} takes {self.named.labels}.",
            file=self.common.inputs,
        )

    def _evaluate(self, names: tuple[str, ...], work: Path, reference: Path, candidate: Path | None) -> Message:
        assert self.code is not None
        stored = work / "metric-labels.npz"
        if not stored.exists():
            np.savez(stored, **self.labels)  # type: ignore[arg-type]

        def paths(folder: Path) -> dict[str, str]:
            return {name: str(path_of(folder, "out", k)) for k, name in enumerate(names)}

        code_folder = [Path(self.code.module).parent] if self.code.is_file else [Path.cwd()]
        return run_step(
            "validate.agreement.worker.user_metric:evaluate",
            {
                "code": asdict(self.code),
                "folder": str(Path.cwd()),
                "labels": str(stored),
                "reference": paths(reference),
                "candidate": paths(candidate) if candidate else None,
                "samples": self._which(len(next(iter(self.labels.values())))).tolist(),
            },
            step="metric",
            limits=replace(self.common.limits, timeout_s=min(self.common.limits.timeout_s or TIMEOUT_S, TIMEOUT_S)),
            log=self.common.log,
            reads=[*code_folder, work],
        )
