"""Which operations a quantized file loses its signal in. Worker side.

An operation hurts by the noise that it adds: what leaves it less what entered. Once it is float and still noisy, its
inputs were quantized too coarsely, and the operation that made them is next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from converters.arrays import Arrays
from exporter.rescue import probe
from exporter.rescue.patient import Patient
from exporter.rescue.probe import Step


def blame_of(patient: Patient, values: Arrays, keep: Sequence[str]) -> dict[str, float]:
    """Operations still quantized, with the noise that they are to blame for, the worst first."""
    levels: dict[str, float] = {}
    for step in patient.steps:
        for name in step.outputs:
            if name in patient.floats and name in values and patient.floats[name].shape == values[name].shape:
                levels[name] = probe.noise(patient.floats[name], values[name], step.channel)
    producers = {name: step for step in patient.steps for name in step.outputs}
    blame: dict[str, float] = {}
    for step in patient.steps:
        after = max((levels[n] for n in step.outputs if n in levels), default=None)
        if after is None:
            continue
        entered = max((levels.get(n, 0.0) for n in step.inputs), default=0.0)
        added = after - entered
        if added <= 0:
            continue
        for key in _to_blame(step, producers, set(keep)):
            blame[key] = max(blame.get(key, 0.0), added)
    return dict(sorted(blame.items(), key=lambda item: -item[1]))


def _to_blame(step: Step, producers: Mapping[str, Step], keep: set[str]) -> list[str]:
    """The step, or where it is float already the nearest quantized ones before it."""
    if step.key not in keep:
        return [step.key]
    keys: list[str] = []
    queue, visited = [step], {step.key}
    while queue:
        for name in queue.pop().inputs:
            producer = producers.get(name)
            if producer is None or producer.key in visited:
                continue
            visited.add(producer.key)
            if producer.key in keep:
                queue.append(producer)
            else:
                keys.append(producer.key)
    return keys
