"""The verdict of `edgeport validate` on files of one model, in this process: its workers' functions, called here."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.common import Common
from converters.errors import EdgeportError, error_from_json
from converters.isolation import Message, error_document
from converters.isolation.answering import resolve, translated
from validate.agreement.compare import Comparison, entries_of
from validate.agreement.job import JudgeJob
from validate.agreement.processes import Processes
from validate.agreement.results import Verdict


def verdicts(reference: Path, files: Sequence[Path], shapes: Mapping[str, tuple[int | str, ...]]) -> list[Verdict]:
    """What `edgeport validate REFERENCE FILES` says of each.

    Args:
        shapes: of inputs with sizes left open, as for `--shape`.

    Raises:
        EdgeportError: the reference cannot be judged by.
    """
    job = JudgeJob(common=Common(shapes=shapes))
    entries = [entry for file in files for entry in entries_of(file, job)]
    with tempfile.TemporaryDirectory(prefix="zoo-verdict-") as folder:
        here: Any = _Here()
        names = ("keras", "saved_model", "onnxruntime", "tflite")
        comparison = Comparison(Processes(Path(folder), dict.fromkeys(names, here)), job, lambda stage, share: None)
        comparison.run_reference(reference, entries)
        return list(comparison.run_candidates(entries))


class _Here:
    """Stands for a worker process: each step is run as it is asked for, and what it sends is kept."""

    def __init__(self) -> None:
        self._sent: deque[Message] = deque()

    def step(
        self, target: str, request: Message, *, on_event: Callable[[Message], None] | None = None, **_grants: Any
    ) -> Message:
        self.begin(target, request)
        while "result" not in (message := self.receive()):
            if on_event:
                on_event(message["event"])
        result: Message = message["result"]
        return result

    def begin(self, target: str, request: Message, **_grants: Any) -> None:
        self._sent.clear()
        try:
            self._sent.append({"result": resolve(target)(request, self) or {}})
        except Exception as cause:  # as a worker tells it
            self._sent.append({"error": error_document(translated(cause))})

    def event(self, **fields: Any) -> None:
        """What a step tells on its way, as to `Channel`."""
        self._sent.append({"event": fields})

    def receive(self) -> Message:
        message = self._sent.popleft()
        if "error" in message:
            error: EdgeportError = error_from_json(message["error"])
            raise error
        return message

    def rest(self) -> None:
        """There is no process to end."""
