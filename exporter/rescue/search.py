"""The search for the layers that must stay float. Worker side of `exporter.rescue.rescue`.

By decibels: the worst operation stays float, then the next, until the goal is met. By a metric of the user's:
`metric_search`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from converters.isolation import Channel
from exporter.rescue.blame import blame_of
from exporter.rescue.metric_search import search_by_metric
from exporter.rescue.patient import Patient, finite
from exporter.rescue.values import Goal

_ROUNDS = 12


def rescue_in_worker(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Makes the file again and again, each time with another operation in float, until the goal is met."""
    with tempfile.TemporaryDirectory(prefix="edgeport-rescue-") as scratch:
        patient = Patient(request, Path(scratch))
        goal = Goal.from_json(request["goal"])
        result = _search(patient, goal) if goal.metric is None else search_by_metric(patient, goal, goal.metric)
        if result["reached"]:
            Path(request["artifact"]).write_bytes(patient.make(result.pop("keys"), request["io"]).read_bytes())
        result.pop("keys", None)
        return result


def _search(patient: Patient, goal: Goal) -> dict[str, Any]:
    keys: list[str] = []
    shares = patient.shares
    values = patient.measure(keys)
    before = after = patient.sqnr(values)
    reason = ""
    for turn in range(_ROUNDS):
        if patient.meets(values, goal):
            break
        worst = [k for k in blame_of(patient, values, keys) if sum(shares[j] for j in [*keys, k]) <= goal.budget]
        if not worst:
            reason = f"the next layer would take more than {goal.budget:.0%} of the multiply-adds out of integers."
            break
        for key in worst[: 1 if turn < 4 else 3]:
            if sum(shares[j] for j in [*keys, key]) <= goal.budget:
                keys.append(key)
        values = patient.measure(keys)
        after = patient.sqnr(values)
    reached = patient.meets(values, goal)
    float_layers: list[dict[str, Any]] = []
    if reached:
        keys, float_layers = _pruned(patient, keys, goal)
        after = patient.sqnr(patient.measure(keys))
    elif not reason:
        reason = f"{len(keys)} operations in float brought {after:.1f} dB, and {goal.sqnr_db:.3g} dB are wanted."
    return {
        "reached": reached,
        "keys": keys,
        "kept": float_layers,
        "macs_share": sum(shares[k] for k in keys),
        "before": finite(before),
        "after": finite(after),
        "reason": reason,
    }


def _pruned(patient: Patient, keys: list[str], goal: Goal) -> tuple[list[str], list[dict[str, Any]]]:
    """Takes back each operation that the goal is met without; tells what each of the others buys."""
    remaining, shares = list(keys), patient.shares
    bought: dict[str, float] = {}
    for key in sorted(keys, key=lambda k: -shares[k]):
        fewer = [k for k in remaining if k != key]
        values = patient.measure(fewer)
        if patient.meets(values, goal):
            remaining = fewer
        else:
            bought[key] = patient.sqnr(values)
    return remaining, [patient.kept(key, bought.get(key, 0.0)) for key in remaining]
