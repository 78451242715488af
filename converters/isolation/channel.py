"""The conversation of a parent and its worker: JSON lines over two pipes."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]


class Channel:
    """One end of the conversation: JSON documents, one a line."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._open: tuple[int, ...] = (read_fd, write_fd)
        self._buffer, self._searched = bytearray(), 0  # up to where there is no end of a line

    def send(self, message: Mapping[str, Any]) -> None:  # raises BrokenPipeError when the other end is gone
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data:
            data = data[os.write(self._write_fd, data) :]

    def fileno(self) -> int:
        """The descriptor that `select` waits for."""
        return self._read_fd

    @property
    def pending(self) -> bool:
        """Whether a document is here already, for which `select` would wait in vain."""
        return self._buffer.find(b"\n", self._searched) >= 0

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next document; None when the other end has closed. Raises TimeoutError."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            remaining_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._read_fd], [], [], remaining_s)
            if not ready:
                raise TimeoutError
            chunk = os.read(self._read_fd, 1 << 20)
            if not chunk:
                return None
            self._buffer += chunk
        document = json.loads(bytes(self._buffer[:end]))
        del self._buffer[: end + 1]
        self._searched = 0
        if not isinstance(document, dict):
            raise ValueError("a message must be a JSON object")
        return document

    def event(self, **fields: Any) -> None:
        """Tells the parent of progress: `run_step` hands it to `on_event`."""
        self.send({"event": fields})

    def close(self) -> None:
        """Closes both pipes, once: the numbers may belong to another worker by the second call."""
        fds, self._open = self._open, ()
        for fd in fds:
            os.close(fd)
