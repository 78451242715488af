"""Every gate that the artifacts were held to, and whether it was passed."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.manifest.passing import limit_misses, timing_misses
from exporter.manifest.schema import Manifest
from exporter.report import wording as say
from exporter.report.elsewhere import placed
from exporter.report.tables import Column, Table, table
from validate.agreement.losses import KEPT, UNPROVEN
from validate.agreement.rows import AGREE, JudgedRow

_WORDS = {
    "noise_ratio": "noise ratio",
    "rounding_ratio": "rounding ratio",
    "sqnr_db": "SQNR",
    "max_size_mb": "size, MB",
    "max_latency_ms": "p50, ms",
    "min_agreement": "samples of like class",
}
_LOSS_WORDS = {
    "classes": "classes that stay",
    "labels": "labels that stay",
    "texts": "texts that stay",
    "drop": "drop of the metric",
    "sqnr_db": "SQNR",
}
_SHARES = {"classes", "labels", "texts"}
_FROM_BELOW = {"sqnr_db", "min_agreement"}
"""Limits that a value must reach; the others it must not exceed."""

_NOTE = (
    "Noise ratio: maximum error over that of honest float32 runs, sample by sample. "
    "Rounding ratio: rms error over what rounding to the precision costs. "
    "SQNR: the signal's moving part over the error."
)


def gates(manifest: Manifest) -> Table:
    """A row for each output of each artifact, gate of an artifact's own, limit, and timing that failed."""
    columns = (
        Column("Artifact", "name"),
        Column("Output", "name"),
        Column("Gate"),
        Column("Value", "number"),
        Column("Limit", "number"),
        Column("Result", "status"),
        Column("Why"),
    )
    return table("Gates", columns, [*_agreement(manifest), *_of_artifacts(manifest), *_others(manifest)], _NOTE)


def _bound(measure: str, limit: float) -> str:
    unit = " dB" if measure == "sqnr_db" else ""
    return f"{'>=' if measure in _FROM_BELOW else '<='} {limit:g}{unit}"


def _agreement(manifest: Manifest) -> Iterator[list[str]]:
    for verdict in manifest.verdicts:
        for output in verdict.outputs:
            gate, status = output.gate, output.status
            held = [say.NONE] * 3
            if gate.limit is not None:
                value = (
                    say.decibels(gate.value, output.max_abs) if gate.measure == "sqnr_db" else say.figure(gate.value)
                )
                held = [_WORDS.get(gate.measure, gate.measure), value, _bound(gate.measure, gate.limit)]
            why = output.reason or verdict.reason or say.NONE
            yield [placed(verdict), output.name, *held, *_result(status == AGREE, status, why)]
        yield from _loss(verdict)
        if not verdict.outputs:
            why = verdict.reason or say.NONE
            yield [placed(verdict), say.NONE, "agreement", *[say.NONE] * 2, *_result(False, verdict.status, why)]


def _loss(verdict: JudgedRow) -> Iterator[list[str]]:
    """What the file costs, where that was held to a gate of its own."""
    loss = verdict.loss
    if loss is None or loss.gate is None or loss.gate.measure == "noise_ratio":
        return
    gate = loss.gate
    shown = say.percent if gate.measure in _SHARES else say.figure
    unit = " dB" if gate.measure == "sqnr_db" else ""
    bound = "<=" if gate.measure == "drop" else ">="
    held = [f"loss: {_LOSS_WORDS[gate.measure]}", f"{shown(gate.value)}{unit}", f"{bound} {shown(gate.limit)}{unit}"]
    result = (
        ["passed", say.NONE]
        if loss.status == KEPT
        else ["not proven" if loss.status == UNPROVEN else loss.status, loss.reason]
    )
    yield [verdict.artifact, loss.output or say.NONE, *held, *result]


def _of_artifacts(manifest: Manifest) -> Iterator[list[str]]:
    for artifact in manifest.artifacts:
        for gate in artifact.gates:
            result = _result(gate.passed, "missed", gate.reason)
            yield [artifact.path, say.NONE, gate.gate, *[say.NONE] * 2, *result]


def _others(manifest: Manifest) -> Iterator[list[str]]:
    """Limits that an artifact keeps to, all of them at once, stand there without one."""
    unmet = limit_misses(manifest)
    if not unmet:
        for name, limit in manifest.recommended.get("limits", {}).items():
            yield [say.NONE, say.NONE, _WORDS.get(name, name), say.NONE, _bound(name, limit), "passed", say.NONE]
    for miss in (*unmet, *timing_misses(manifest.timings)):
        bound = say.NONE if miss.limit is None else _bound(miss.gate, miss.limit)
        words, value = _WORDS.get(miss.gate, miss.gate), say.figure(miss.value)
        yield [miss.subject, say.NONE, words, value, bound, "missed", miss.sentence]


def _result(passed: bool, otherwise: str, why: str) -> list[str]:
    return ["passed", say.NONE] if passed else [otherwise, why]
