"""Fixtures that cost seconds, made once a session; hypothesis without deadlines (tests never look at the clock)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from .skips import SkipGate
from .targets import NONE, arm64, browser_package, own_targets, shared_targets, with_browser, with_qnn

__all__ = ["arm64", "browser_package", "own_targets", "shared_targets", "with_browser", "with_qnn"]
ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

settings.register_profile("edgeport", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("edgeport")


def pytest_configure(config: pytest.Config) -> None:
    """Under CI=true skips are judged, by the process that hears of all of them: not by xdist's workers.

    What is installed of targets on this machine counts in no test but those that ask for it (`tests/targets.py`).
    """
    os.environ["EDGEPORT_TARGETS"] = str(NONE)
    if os.environ.get("CI", "").lower() == "true" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipGate())


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


@pytest.fixture
def as_a_user() -> Iterator[Path]:
    """A folder of the user as whom the test runs: root, to whom permissions mean nothing, steps down."""
    root, nobody = os.geteuid() == 0, 65534
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if root:
            os.chown(folder, nobody, nobody)
            os.setresuid(nobody, nobody, 0)
        try:
            (folder / "witness").write_text("it is ours")
            yield folder
        finally:
            if root:
                os.setresuid(0, 0, 0)
            folder.chmod(0o700)
