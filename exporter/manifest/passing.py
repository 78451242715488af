"""The one judgement: what passed, and what missed which gate. Everything that says "passed" reads it from here.

Exit code, headline, report, model card, recommendation, MLflow's tag, the commit hook and the Keras callback, `-p auto`
and `edgeport validate`: all of them ask these functions of the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Protocol

from exporter.manifest.rows import ArtifactRow, Miss, Passing
from exporter.manifest.schema import Manifest
from validate.agreement.losses import LOST, Loss
from validate.agreement.rows import AGREE, ERROR, INCONCLUSIVE, GateRow
from validate.latency.rows import TimingRow
from validate.targets import HOST

PASSED, GATE_FAILED, PARTIAL = 0, 1, 10


class JudgedOutput(Protocol):
    """The fields that are read of an output's row."""

    @property
    def gate(self) -> GateRow | None: ...
    @property
    def nonfinite(self) -> int | None: ...


class Judged(Protocol):
    """The fields that are read of a verdict: a manifest's row, or a result of `validate.agreement.compare`."""

    @property
    def artifact(self) -> PurePath | str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def outputs(self) -> Sequence[JudgedOutput]: ...
    @property
    def loss(self) -> Loss | None: ...
    @property
    def target(self) -> str: ...
    @property
    def setting(self) -> str: ...
    @property
    def where(self) -> str: ...


def exit_code(manifest: Manifest) -> int:
    """10 where a target was not made, else 1 where a gate was not passed, else 0 (design: Exit codes)."""
    if manifest.failures:
        return PARTIAL
    return PASSED if passing(manifest).ok else GATE_FAILED


def passing(manifest: Manifest, *, allow_inconclusive: bool | None = None) -> Passing:
    """Every verdict is `agree` and no loss is `lost`, every artifact keeps to gates of its own, every timing that ran
    gave right answers, and an artifact keeps to the limits that were given. A device that is not there is not a gate.

    Args:
        allow_inconclusive: an `inconclusive` verdict passes; None takes what was in force when the bundle was made.
    """
    allowed = manifest.allows_inconclusive if allow_inconclusive is None else allow_inconclusive
    misses = (
        *verdict_misses(manifest.verdicts, allow_inconclusive=allowed),
        *gate_misses(manifest.artifacts),
        *timing_misses(manifest.timings),
        *limit_misses(manifest),
    )
    return Passing.of(misses, allow_inconclusive=allowed)


def verdict_misses(verdicts: Iterable[Judged], *, allow_inconclusive: bool) -> Iterator[Miss]:
    """A miss for each verdict that does not pass, and for each file whose loss on the user's inputs is too great."""
    passed = {AGREE, INCONCLUSIVE} if allow_inconclusive else {AGREE}
    for verdict in verdicts:
        if verdict.status not in passed:
            gate, limit, value = _first_miss(verdict)
            sentence = f"{_name(verdict)}: {verdict.status}: {verdict.reason}"
            yield Miss(
                subject=str(verdict.artifact), gate=gate, limit=limit, value=value, sentence=sentence, **_place(verdict)
            )
        elif verdict.loss is not None and verdict.loss.status == LOST:
            yield _loss_miss(verdict, verdict.loss)


def _loss_miss(verdict: Judged, loss: Loss) -> Miss:
    limit, value = (None, None) if loss.gate is None else (_finite(loss.gate.limit), _finite(loss.gate.value))
    sentence = f"{_name(verdict)}: {loss.status}: {loss.reason}"
    subject = str(verdict.artifact)
    return Miss(subject=subject, gate="loss", limit=limit, value=value, sentence=sentence, **_place(verdict))


def _name(verdict: Judged) -> str:
    """The file, and where it was run where that is not the host in its default setting."""
    name, place = PurePath(verdict.artifact).name, _place(verdict)
    return f"{name} ({verdict.where}, {verdict.setting})" if place else name


def _place(verdict: Judged) -> dict[str, str]:
    elsewhere = (verdict.target, verdict.setting) != (HOST.target, HOST.setting)
    return {"target": verdict.target, "setting": verdict.setting} if elsewhere else {}


def _first_miss(verdict: Judged) -> tuple[str, float | None, float | None]:
    """The first gate missed, its limit and the measured value; a verdict without a number goes by its status."""
    if verdict.status in {INCONCLUSIVE, ERROR}:
        return verdict.status, None, None
    for output in verdict.outputs:
        if output.gate is not None and not output.gate.kept:
            return output.gate.measure, output.gate.limit, _finite(output.gate.value)
        if output.nonfinite:
            return "nonfinite", 0.0, float(output.nonfinite)
    return "agreement", None, None


def gate_misses(artifacts: Iterable[ArtifactRow]) -> Iterator[Miss]:
    """A miss for each gate of an artifact's own that it does not pass."""
    for artifact in artifacts:
        for gate in artifact.gates:
            if not gate.passed:
                sentence = f"{artifact.path}: {gate.gate}: {gate.reason}"
                yield Miss(subject=artifact.path, gate=gate.gate, sentence=sentence)


def timing_misses(timings: Iterable[TimingRow]) -> Iterator[Miss]:
    """A miss for each timing whose artifact crashed, hung or answered wrongly."""
    for timing in timings:
        if timing.status == "error":
            sentence = f"{timing.artifact}: timing on {timing.device}: {timing.reason}"
            yield Miss(subject=timing.artifact, gate="timing", sentence=sentence)


def limit_misses(manifest: Manifest) -> list[Miss]:
    """The limits that no artifact keeps to, by the one that comes nearest."""
    unmet = manifest.recommended.get("unmet")
    if not unmet:
        return []
    listed = manifest.recommended.get("misses")
    if isinstance(listed, list) and listed:
        return [Miss.model_validate(row) for row in listed]
    return [Miss(subject=manifest.source.path, gate="limits", sentence=str(unmet))]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
