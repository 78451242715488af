"""The worker's side of `converters.isolation`: `python -I -m converters._worker TARGET READ_FD WRITE_FD PARENT_PID`.

PARENT_PID is 0 in a sandbox, whose processes have numbers of their own.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from converters.isolation.answering import answer, flush
from converters.isolation.channel import Channel

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent and os.getppid() != parent:  # it died before we could ask
            os._exit(1)


def main(target: str, read_fd: int, write_fd: int, parent: int) -> int:
    _die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    channel = Channel(read_fd, write_fd)
    try:
        request = channel.receive()
        if request is None:
            return 1
        answer(target, request, channel)
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1], *(int(arg) for arg in sys.argv[2:5]))
    flush()
    os._exit(status)  # frameworks' teardown costs seconds and can hang; everything of ours is already written
