"""The `opener` fixture: opens a file with its framework in a child process and tells the exit code it would end in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Opener = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def opener() -> Iterator[Opener]:
    command = [sys.executable, str(Path(__file__).with_name("load_server.py"))]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    requests, answers = server.stdin, server.stdout
    assert "ready" in answers.readline()

    def opened(path: Path, timeout: float = 30.0) -> dict[str, Any]:
        requests.write(json.dumps({"path": str(path), "timeout": timeout}) + "\n")
        requests.flush()
        line = answers.readline()
        assert line, f"the parent process died on {path}"
        found: dict[str, Any] = json.loads(line)
        return found

    yield opened
    requests.close()
    server.wait(30)
