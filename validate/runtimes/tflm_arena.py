"""The start of a file in TensorFlow Lite for Microcontrollers (TFLM): tried in a child process, and the arena it takes.

TFLM was written for boards: of what it cannot run it says so on stderr, and what it did not think of ends the process.
So each try is in a fork of this one, whose words are read; the child lives for milliseconds.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

_FIRST_ROOM, _LARGEST_ROOM = 64 << 20, 4 << 30
"""Bytes of an arena in which a file is judged: pages that nothing is written to are no memory."""
_STEP = 16
"""TFLM aligns what lies in its arena to so many bytes."""
_SHORT = re.compile(r"missing: \d+")
_RECORDED = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_WORDS = 300


@dataclass(frozen=True)
class Arena:
    """Bytes of a tensor arena, measured on this machine (pointers of 64 bits) with TFLM's reference kernels.

    Attributes:
        least: the least with which the file starts and runs, in steps of 16.
        recorded: of these, what TFLM's own recorder says is in use after a run.
        head: of what is recorded, tensors and scratch buffers, which share their room.
        tail: of what is recorded, what lives as long as the interpreter: its structures, kernels' tables, variables.
    """

    least: int
    recorded: int
    head: int
    tail: int


@dataclass(frozen=True)
class Start:
    """What came of a try. `words` are TFLM's own, in one line; `ended` names the signal that ended it, if one did."""

    ok: bool
    words: str = ""
    ended: str = ""

    @property
    def short_of_memory(self) -> bool:
        """Whether a larger arena may help."""
        return not self.ok and _SHORT.search(self.words) is not None


def interpreter(content: bytes, arena: int) -> Any:
    """TFLM's interpreter with the file's tensors in an arena of so many bytes. Raises what TFLM raises."""
    from tflite_micro.python.tflite_micro import runtime

    return runtime.Interpreter.from_bytes(content, arena_size=arena)


def start(content: bytes, inputs: int) -> tuple[Start, int]:
    """The start of a file with more than enough room, its first run included, and the size of that room.

    Args:
        inputs: how many the file has.
    """
    room = max(_FIRST_ROOM, 2 * len(content))
    while True:
        found = in_child(partial(_run, content, room, inputs))
        if room >= _LARGEST_ROOM or not found.short_of_memory:
            return found, room
        room *= 4


def measure(content: bytes, room: int, inputs: int) -> Arena | None:
    """The least arena of a file that starts in `room`, by bisection; None where TFLM's recorder says nothing."""
    told = in_child(lambda: _run(content, room, inputs).print_allocations())
    recorded = {name: int(size) for name, size in _RECORDED.findall(told.words)}
    if recorded.keys() != {"total", "head", "tail"}:
        return None
    least = least_number(
        lambda steps: in_child(partial(interpreter, content, steps * _STEP)).ok, recorded["total"] // _STEP
    )
    return Arena(least * _STEP, recorded["total"], recorded["head"], recorded["tail"])


def least_number(starts: Callable[[int], bool], guess: int) -> int:
    """The least number with which it starts, sought from a guess with strides that double, then by bisection."""
    low, high, stride = 0, guess, 1
    while not starts(high):
        low, high, stride = high, high + stride, 2 * stride
    if low == 0:
        while stride < high and starts(high - stride):
            high, stride = high - stride, 2 * stride
        low = max(0, high - stride)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if starts(middle) else (middle, high)
    return high


def _run(content: bytes, arena: int, inputs: int) -> Any:
    """An interpreter that has run once, on zeros."""
    opened = interpreter(content, arena)
    for k in range(inputs):
        details = opened.get_input_details(k)
        opened.set_input(np.zeros(details["shape"], details["dtype"]), k)
    opened.invoke()
    return opened


def in_child(do: Callable[[], object]) -> Start:
    """Does something in a fork of this process; what it writes to stderr are its words."""
    with tempfile.TemporaryFile() as stream:
        child = os.fork()
        if child == 0:
            _as_child(do, stream.fileno())
        _, status = os.waitpid(child, 0)
        stream.seek(0)
        words = " ".join(stream.read().decode("utf-8", "replace").split())
    if os.WIFSIGNALED(status):
        return Start(False, words[:_WORDS], signal.Signals(os.WTERMSIG(status)).name)
    return Start(os.WEXITSTATUS(status) == 0, words)


def _as_child(do: Callable[[], object], stderr: int) -> None:
    """Never returns."""
    code = 1
    try:
        faulthandler.disable()
        os.dup2(stderr, 2)
        do()
        code = 0
    except Exception as cause:
        os.write(2, f"\n{cause}".encode())
    finally:
        os._exit(code)
