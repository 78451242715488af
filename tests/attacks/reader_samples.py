"""The `samples` fixture: a folder of small real models, made once per test run by one TensorFlow process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "reader-samples"
    with FileLock(str(shared / "reader-samples.lock")):
        if not (folder / "facts.json").exists():
            folder.mkdir(exist_ok=True)
            command = [sys.executable, str(Path(__file__).with_name("make_samples.py")), str(folder)]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def facts(samples: Path) -> dict[str, Any]:
    """What the real libraries say of the samples."""
    return json.loads((samples / "facts.json").read_text())
