"""The worker on another machine: `python -m validate.targets.remote_worker`. Needs numpy and the one runtime.

It speaks JSON lines on stdin and stdout, see `machine`.
"""

from __future__ import annotations

import os
import select
import threading
import time
import traceback
from pathlib import Path

from converters.errors import EdgeportError, StepError
from converters.isolation import Channel, Message, resolve
from validate.targets.serving import serve_runs


def main() -> int:
    """Serves one request. What frameworks print goes to stderr: stdout carries the conversation."""
    write_fd = os.dup(1)
    os.dup2(2, 1)
    channel = Channel(0, write_fd)
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    request = channel.receive()
    if request is None:
        return 1
    try:
        channel.send({"result": _answer(request, channel)})
    except BrokenPipeError:
        return 1
    except EdgeportError as error:
        channel.send({"error": error.to_json()})
    except Exception as cause:
        traceback.print_exc()
        text = f"{type(cause).__name__}: {cause}".splitlines()[0][:300]
        channel.send({"error": StepError(f"The step failed ({text}).", next_step="Look at the machine.").to_json()})
    return 0


def _answer(request: Message, channel: Channel) -> Message:
    """What is asked for. Named, not imported: a machine that only runs files is not sent what times them."""
    if request["do"] == "host":
        facts: Message = resolve("validate.latency.host.facts:host_facts")()
        return facts
    if request["do"] == "run":
        return serve_runs(request, channel)
    answer: Message = resolve("validate.latency.worker:serve")(
        {**request["request"], "spawned_ns": _started_ns()}, channel
    )
    return answer


def _started_ns() -> int:
    """Start of this process, on its own monotonic clock: proc(5), /proc/self/stat, field 22, in ticks since boot."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age_s = float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        age_s = 0.0
    return time.monotonic_ns() - int(max(0.0, age_s) * 1e9)


def _end_with_the_pipe() -> None:
    """Ends this process when the other side is gone, in the middle of a run too: nothing may outlive the command."""
    poll = select.poll()
    poll.register(0, 0)  # hang-up and error are always reported
    while not poll.poll(1000):
        pass
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main())
