"""Process groups, as the operating system knows them. Apart, so that `worker` stays at a length one can read."""

from __future__ import annotations

import contextlib
import os
import time


def await_end(group: int, seconds: float = 1.0) -> None:
    """Waits until no process of a group runs any more, for at most that long: SIGKILL takes a moment."""
    deadline = time.monotonic() + seconds
    while _runs(group) and time.monotonic() < deadline:
        time.sleep(0.01)


def _runs(group: int) -> bool:
    """Whether a process of the group runs. Zombies do not: a sandbox's may wait for their reaper for ever."""
    import psutil

    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False
