"""Programs that make an environment: run to their end, killed where we are, with their last words where they fail."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence

from converters.errors import StepError

STEP = "install"


def carried_out(
    command: Sequence[str], what: str, next_step: str, on_line: Callable[[str], None] = lambda _line: None
) -> str:
    """Runs a program and returns what it printed; `on_line` is told each line as it comes.

    Raises:
        StepError: it could not be started, or failed: with `what` could not be done and the last words of the program.
    """
    lines: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                errors="replace",
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except OSError as cause:
            raise StepError(f"{what} failed: {command[0]} does not run ({cause}).", next_step=next_step) from cause
        with process:
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    on_line(line)
            except BaseException:
                process.kill()
                raise
        complaints.seek(0)
        said = complaints.read()
    if process.returncode != 0:
        raise StepError(f"{what} failed: {_last_words(said)}.", next_step=next_step, step=STEP)
    return "".join(lines)


def _last_words(said: str) -> str:
    """What a program complained of: the first line that says error, else its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("E: ", "ERROR: "))] or lines[-1:]
    return (" ".join(told)[:400] or "it did not say why").rstrip(".")
