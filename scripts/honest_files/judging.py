"""A comparison in this very process: `validate`'s own functions, without its worker processes."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.common import Common
from converters.isolation import Batch, Message
from converters.isolation.answering import resolve
from validate.agreement.compare import Comparison
from validate.agreement.job import JudgeJob
from validate.agreement.processes import Entry
from validate.agreement.results import Verdict

_WORKER = "validate.agreement.worker"
MOVES = 1e-5
"""Movement over the maximum value from which an output is live."""

BROKEN = ("cannot be opened", "failed while running", "is not in the reference", "cannot be run")
"""What is said of a file that its own runtime does not run on the model's inputs, whoever judges."""


class _Here:
    """What `processes.Processes` is to a comparison, but everything runs in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._messages: deque[Message] = deque()

    def step(self, _runtime: str, function: str, request: Message, *_: Any) -> Message:
        self._messages.clear()
        return dict(resolve(f"{_WORKER}.{function}")(request, self))

    def batch(
        self,
        _runtime: str,
        function: str,
        items: Sequence[str],
        request: Callable[[Sequence[str]], Message],
        _reads: Sequence[Path],
    ) -> Batch:
        def begin(pending: Sequence[str]) -> None:
            self._messages.clear()
            result = resolve(f"{_WORKER}.{function}")(request(pending), self)
            self._messages.append({"result": result})

        return Batch(self, tuple(items), begin)  # type: ignore[arg-type]

    def rest(self, _runtime: str) -> None:
        pass

    def event(self, **fields: Any) -> None:
        self._messages.append({"event": fields})

    def receive(self) -> Message:
        return self._messages.popleft()


def judged(checkpoint: Path, files: Mapping[str, Path], seed: int) -> dict[str, dict[str, Any]]:
    """By file what `edgeport validate CHECKPOINT FILE --seed SEED` says, with what the tables need."""
    job = JudgeJob(common=Common(seed=seed), mapping={})
    with tempfile.TemporaryDirectory(prefix="honest-") as folder:
        comparison = Comparison(_Here(Path(folder)), job, lambda _stage, _share: None)  # type: ignore[arg-type]
        document = comparison.run_reference(checkpoint)
        comparison.make_all_runs()
        verdicts = comparison.run_candidates([Entry(path) for path in files.values()])
        golden = comparison.agreement(checkpoint, document, verdicts).golden.outputs
    movement = max((_movement(values) for values in golden.values()), default=0.0)
    return {name: _row(verdict, movement) for name, verdict in zip(files, verdicts, strict=True)}


def _movement(values: Any) -> float:
    wide = np.asarray(values, np.float64)
    return float(np.ptp(wide, axis=0).max(initial=0.0)) / max(float(np.abs(wide).max(initial=0.0)), 1e-30)


def _row(verdict: Verdict, movement: float) -> dict[str, Any]:
    ratios: dict[str, float] = {}
    for output in verdict.outputs:
        for kind, value in output.noise_ratios.items():
            ratios[kind] = max(ratios.get(kind, 0.0), float(value))
    broken = any(words in verdict.reason for words in BROKEN)
    alarm = verdict.status in {"disagree", "error"} or (verdict.status == "inconclusive" and movement > MOVES)
    return {
        "status": verdict.status,
        "alarm": alarm,
        "broken": broken,
        "ratios": {kind: round(value, 3) for kind, value in ratios.items()},
        "conditioning": max((output.conditioning or 0.0 for output in verdict.outputs), default=0.0),
        "movement": movement,
        "reason": verdict.reason[:400],
    }
