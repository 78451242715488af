"""What a command says while it works, where nobody watches a terminal."""

from __future__ import annotations

import pytest

from exporter.cli.console import Console


def test_steps_that_take_turns_are_told_once_in_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("exporter.cli.console.time.monotonic", lambda: clock[0])
    with Console().progress() as progress:
        for turn in range(40):  # a bisection: two steps, twice a second
            clock[0] = 100.0 + turn / 2
            progress("running" if turn % 2 else "comparing", 0.5)
        progress("done", 1.0)
        progress("done", 1.0)
    lines = [line.split("] ")[1].split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines[:2] == ["comparing", "running"]
    assert lines[-1:] == ["done"]
    assert lines.count("done") == 1
    assert 6 <= len(lines) <= 10, "every five seconds of twenty"
