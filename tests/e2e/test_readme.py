"""Every command that the README shows is run, in the order in which it shows them, in a fresh folder."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from exporter.cli.main import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text()
SHOWN = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith("$ ")
]


@pytest.mark.slow
def test_every_command_that_is_shown_works(edgeport: Any, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(examples)
    (tmp_path / "out").mkdir()
    for line in SHOWN:
        program, *arguments = shlex.split(line)
        if program == "openssl":  # a key to sign with
            subprocess.run([program, *arguments], cwd=tmp_path, check=True)
            continue
        assert program == "edgeport"
        ran = edgeport(*arguments, cwd=tmp_path)
        assert ran.code == 0, f"{line}\n{ran.stderr}"
        assert ran.stdout.strip(), line


def test_the_readme_shows_every_command_and_no_other() -> None:
    listed = set(re.findall(r"^\| `edgeport (\w+)", README, re.M))
    assert listed == set(COMMANDS)
    assert {shlex.split(line)[1] for line in SHOWN if line.startswith("edgeport ")} == set(COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str, edgeport: Any) -> None:
    ran = edgeport(name, "--help")
    assert ran.code == 0
    assert f"edgeport {name}" in ran.stdout
