"""Rows under lasting load, as it goes on: when each slot was, what the machine said, and the energy it took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from converters.errors import StepError
from validate.latency.host.energy import EnergyMeter
from validate.latency.subject import Subject
from validate.latency.sustained import MachineLog, Sustained, minutes_of, slowdown_of

_IDLE_S = 2.0


class UnderLoad:
    """The load from now on.

    Args:
        seconds: how long it lasts.
        here: whether it is this machine that is loaded; what another one says of itself is not read.
    """

    def __init__(self, seconds: float, *, here: bool) -> None:
        self._seconds, self._here = seconds, here
        self._machine = MachineLog()
        self._meter: EnergyMeter | None = None
        self.energy = self._find_meter()
        self._start = time.monotonic()

    @property
    def passed_s(self) -> float:
        return time.monotonic() - self._start

    @property
    def over(self) -> bool:
        return self.passed_s >= self._seconds

    @contextlib.contextmanager
    def slot(self, subject: Subject) -> Iterator[None]:
        """Around one slot of a row."""
        before = self._meter.read() if self._meter else ()
        yield
        if self._meter:
            subject.lasting.joules = (subject.lasting.joules or 0.0) + self._meter.joules_since(before)
        subject.lasting.at_s.append(self.passed_s)

    def note_machine(self) -> None:
        """Reads the machine's own counters, after a round."""
        if self._here:
            self._machine.note(self.passed_s)

    def results(self, subjects: Sequence[Subject], floors: Mapping[Any, float | None]) -> tuple[Sustained, ...]:
        """What became of each row.

        Args:
            floors: by device and threads, the difference that two processes of one file show anyway.
        """
        return tuple(self._result(s, floors.get((s.row.device, s.row.threads)) or 0.0) for s in subjects)

    def _result(self, subject: Subject, floor: float) -> Sustained:
        lasting = subject.lasting
        minutes = minutes_of(subject.samples, lasting, subject.round_numbers, subject.job.common.seed)
        slowdown = slowdown_of(lasting, self._machine, floor)
        joules = above = None
        if lasting.joules is not None:
            runs = len(lasting.at_s) * subject.runs_in_slot
            joules = lasting.joules / runs
            took_s = sum(lasting.mean_ns) / 1e9 * subject.runs_in_slot
            above = max(0.0, (lasting.joules - self.energy["idle_watts"] * took_s) / runs)
        return Sustained(subject.row, self._seconds, minutes, slowdown, joules, above)

    def _find_meter(self) -> dict[str, Any]:
        """The `energy` of the document: what an idle machine takes, or why there is no figure."""
        if not self._here:
            return {"status": "unavailable", "reason": "Energy is unavailable: it is read on this machine alone."}
        try:
            self._meter = EnergyMeter.of()
        except StepError as error:
            return {"status": "unavailable", "reason": error.message, "next": error.next_step}
        before = self._meter.read()
        time.sleep(_IDLE_S)
        return {"status": "ok", "idle_watts": self._meter.joules_since(before) / _IDLE_S}
