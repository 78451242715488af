"""`examples/ci`: the files parse, and the commands that they show work on a real checkpoint."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """The arguments of every `edgeport` command of the workflow, in order."""
    workflow = yaml.safe_load((ROOT / "examples" / "ci" / "github-action.yml").read_text())
    scripts = [step["run"] for step in workflow["jobs"]["bundle"]["steps"] if "run" in step]
    lines = [line for script in scripts for line in script.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("edgeport ")]


def test_the_hook_that_the_example_names_is_there() -> None:
    (repository,) = yaml.safe_load((ROOT / "examples" / "ci" / "pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    (named,) = repository["hooks"]
    assert hooks[named["id"]]["entry"] == "python -m exporter.cli.hook"


def test_the_workflow_makes_a_bundle_and_compares_it(commands: list[list[str]]) -> None:
    assert [words[0] for words in commands] == ["run", "diff"]


@pytest.mark.slow
def test_the_commands_of_the_workflow_work(
    edgeport: Any, examples: Path, commands: list[list[str]], tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    shutil.copy(examples / "digits_se_inception.keras", tmp_path / "model" / "model.keras")
    shutil.copy(examples / "digits.npz", tmp_path / "model" / "test.npz")
    making, comparing = commands
    made = edgeport(*making, "--max-seconds", "2", cwd=tmp_path)
    assert made.code == 0, made.stderr
    shutil.copytree(tmp_path / "out" / "model", tmp_path / "out" / "main")
    compared = edgeport(*comparing, cwd=tmp_path)
    assert compared.code == 0, compared.stderr
