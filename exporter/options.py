"""Everything that a run can be asked for, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converters.isolation import Limits

DEFAULT_FORMATS = ("savedmodel", "tflite", "onnx")
DEFAULT_PRECISIONS = ("float32",)


@dataclass(frozen=True)
class BuildChoices:
    """For sources that are a name in the table, or weights with `architecture`."""

    architecture: str | None = None
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    weights: str | None = None


@dataclass(frozen=True)
class RunOptions:
    """What to make, how to judge it and how to time it.

    Attributes:
        batch: fixed batch size; None keeps the batch dynamic.
        inputs: what to judge on; None draws `samples` seeded inputs.
        tolerances: overrides of the gates.
        threads: for timing; empty takes the physical cores given to us.
        max_seconds: of timing, all rows together.
        require: devices without which the run fails.
        allow_inconclusive: an `inconclusive` verdict passes.
        jobs: conversion workers at a time.
        cache: a folder of finished artifacts, shared between bundles.
        no_cache: makes everything afresh.
        judge, time: False leaves the step out (`export`).
        command: the argument vector, for the manifest.
    """

    formats: tuple[str, ...] = DEFAULT_FORMATS
    precisions: tuple[str, ...] = DEFAULT_PRECISIONS
    batch: int | None = None
    opset: int | None = None
    allow_flex: bool = False
    inputs: Path | None = None
    samples: int = 16
    seed: int = 0
    input_range: tuple[float, float] | None = None
    tolerances: Mapping[str, float] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu",)
    threads: tuple[int, ...] = ()
    max_seconds: float = 60.0
    require: tuple[str, ...] = ()
    allow_inconclusive: bool = False
    limits: Limits = field(default_factory=Limits)
    jobs: int = 1
    cache: Path | None = None
    no_cache: bool = False
    force: bool = False
    judge: bool = True
    time: bool = True
    build: BuildChoices = field(default_factory=BuildChoices)
    command: tuple[str, ...] = ()
