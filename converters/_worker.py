"""The worker's side of `converters.isolation`: `python -I -m converters._worker TARGET READ_FD WRITE_FD PARENT_PID`.

PARENT_PID is 0 in a sandbox, whose processes have numbers of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import sys
import traceback

from converters.errors import EdgeportError, ResourceError, StepError
from converters.isolation import Channel, resolve

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent and os.getppid() != parent:  # it died before we could ask
            os._exit(1)


def _translate(cause: BaseException) -> EdgeportError:
    if isinstance(cause, EdgeportError):
        return cause
    text = f"{type(cause).__name__}: {cause}".splitlines()[0][:500]
    disk = isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    exhausted = type(cause).__name__ == "ResourceExhaustedError"
    if disk or exhausted or isinstance(cause, MemoryError):
        return ResourceError(
            f"The worker ran out of {'disk' if disk else 'memory or disk'} ({text}).",
            next_step="Free some, or choose another output folder, then run again.",
        )
    return StepError(f"The step failed ({text}).", next_step="Run again with --debug to see the log and the traceback.")


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def main(target: str, read_fd: int, write_fd: int, parent: int) -> int:
    _die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    channel = Channel(read_fd, write_fd)
    try:
        request = channel.receive()
        if request is None:
            return 1
        result = resolve(target)(request, channel)
        _flush()  # the parent may end this process as soon as it has the result
        channel.send({"result": result or {}})
    except BrokenPipeError:
        return 1
    except BaseException as cause:
        traceback.print_exc()
        _flush()
        with contextlib.suppress(BrokenPipeError):
            channel.send({"error": _translate(cause).to_json()})
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1], *(int(arg) for arg in sys.argv[2:5]))
    _flush()
    os._exit(status)  # frameworks' teardown costs seconds and can hang; everything of ours is already written
