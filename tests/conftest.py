"""Fixtures that cost seconds, made once a session; hypothesis without deadlines (tests never look at the clock)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

settings.register_profile("edgeport", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("edgeport")


@dataclass(frozen=True)
class Ran:
    """What one real command line did."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; fails where there is more or less."""
        return json.loads(self.stdout)


Edgeport = Callable[..., Ran]


def run_edgeport(*arguments: str | Path, cwd: Path | None = None, **env: str) -> Ran:
    """Runs the real command in a process of its own."""
    command = [sys.executable, "-m", "exporter.cli.main", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, check=False)
    assert "Traceback" not in done.stderr or "--debug" in arguments, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def edgeport() -> Edgeport:
    return run_edgeport


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES
