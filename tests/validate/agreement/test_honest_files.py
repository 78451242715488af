"""Honest float32 files of models that are hard for float32, ours and those of other converters: none is accused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
MODELS = ("C2_long_sum", "C3_equal_rows", "C5_transformer", "recurrent", "jumps", "ids")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What `python -m honest_files` finds on one seed."""
    folder = tmp_path_factory.mktemp("honest")
    command = [sys.executable, "-m", "honest_files", str(folder), *(f"hard/{name}" for name in MODELS)]
    env = os.environ | {"PYTHONPATH": f"{SCRIPTS}:{SCRIPTS.parent}", "SEEDS": "1"}
    subprocess.run(command, env=env, capture_output=True, check=True)
    return [json.loads(line) for line in (folder / "honest.jsonl").read_text().splitlines()]


def test_no_honest_file_is_accused(rows: list[dict[str, Any]]) -> None:
    assert {row["model"] for row in rows} == {f"hard/{name}" for name in MODELS}
    files = {(row["model"], name): file for row in rows for name, file in row["files"].items()}
    judged = {key: file for key, file in files.items() if not file["broken"]}
    assert {key: file["reason"] for key, file in judged.items() if file["status"] != "agree"} == {}
    assert len(judged) >= 28
    assert sum(not name.startswith("edgeport") for _, name in judged) >= 14
    assert not [key for key in files if key not in judged and key[1].startswith("edgeport")]
