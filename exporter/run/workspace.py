"""The folders of a run, and its progress callbacks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.parts import parts_of
from converters.isolation import Standing
from converters.progress import Progress
from exporter.options import RunOptions
from validate.agreement import tensorflow_worker

LOG = "edgeport.log"

_COSTS = {"build": 0.15, "convert": 0.3, "validate": 0.25, "bench": 0.3}
"""Rough shares of a run's time by step, for the progress bar only."""


@dataclass(frozen=True)
class Place:
    """The folders of one run.

    Attributes:
        output: the bundle's final name; nothing is written there before everything is complete.
        staging: a sibling of it; becomes the bundle.
        scratch: removed with the run.
        share: by the name of a step, the callback for its share of the progress.
        tensorflow: the process that judges with TensorFlow, once it was started; see `awaiting_judgement`.
    """

    output: Path
    staging: Path
    scratch: Path
    share: Callable[[str], Progress]
    tensorflow: Standing | None = None

    @property
    def log(self) -> Path:
        """The file for what the frameworks say."""
        return self.staging / LOG


def shares(options: RunOptions, progress: Progress) -> Callable[[str], Progress]:
    """Progress callbacks for the steps, each with its share of the whole bar."""
    enabled = {
        "build": True,
        "convert": True,
        "validate": options.judge is not None,
        "bench": options.bench is not None,
    }
    steps = [step for step in _COSTS if enabled[step]]
    total = sum(_COSTS[step] for step in steps)

    def of(step: str) -> Progress:
        before = sum(_COSTS[s] for s in steps[: steps.index(step)]) / total
        return lambda label, fraction: progress(
            f"{step}: {label}" if step not in label else label, before + fraction * _COSTS[step] / total
        )

    return of


@contextlib.contextmanager
def awaiting_judgement(checkpoint: Checkpoint, options: RunOptions, place: Place) -> Iterator[Place]:
    """A place with a process that imports TensorFlow while the artifacts are made, and holds no model meanwhile.

    Not on one core, where nothing runs meanwhile, and not for sources that TensorFlow does not open.
    """
    finished = checkpoint.kind in {SourceKind.TFLITE, SourceKind.ONNX}
    if options.judge is None or finished or len(os.sched_getaffinity(0)) < 2:
        yield place
        return
    inputs = (options.common.inputs,) if options.common.inputs else ()
    reads = (*parts_of(checkpoint.path, options.common.opening), place.staging, *inputs)
    with tensorflow_worker(options.common.limits, place.log, reads) as worker:
        worker.start("validate")
        yield replace(place, tensorflow=worker)
