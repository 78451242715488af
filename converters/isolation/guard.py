"""A small process that outlives ours by a moment: should we die without a word, it ends what our workers started.

A worker dies with us (PR_SET_PDEATHSIG), but not what a framework, or the user's code, started from it: that knows
neither of us. All of it is in the worker's process group, unless it left on purpose; a sandbox holds that too.
As a script (`guard.py READ_FD`) this file is that process; it starts with nothing but the standard library.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import subprocess
import sys


def watch(group: int) -> None:
    """Lets the guard kill the group when this process is gone."""
    _tell(f"+{group}\n")


def forget(group: int) -> None:
    """Lets the guard forget a group that has ended: its number may be another's from now on."""
    _tell(f"-{group}\n")


def _tell(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # somebody killed the guard: the workers are no worse off than before it
        os.write(_pipe(), line.encode())  # in one piece, whichever thread writes


@functools.cache
def _pipe() -> int:
    """The writing end of the guard's pipe, which the kernel closes however we end. No worker inherits it."""
    read_fd, write_fd = os.pipe()
    try:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(read_fd)],
            pass_fds=(read_fd,),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
    finally:
        os.close(read_fd)

    atexit.register(_end, os.getpid(), write_fd, guard)
    return write_fd


def _end(owner: int, write_fd: int, guard: subprocess.Popen[bytes]) -> None:
    """Ends the guard by a message: a fork of ours may hold the pipe open, so closing it is not enough."""
    if os.getpid() != owner:
        return
    with contextlib.suppress(BrokenPipeError):
        os.write(write_fd, b".\n")
    os.close(write_fd)
    guard.wait()


def _guard(read_fd: int) -> None:
    groups: set[int] = set()
    with os.fdopen(read_fd) as lines:
        for line in lines:
            if line[0] == ".":
                break
            (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    _guard(int(sys.argv[1]))
