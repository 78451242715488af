"""Open, agree, calibrate, convert: each once, also with two workers, and before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from converters.convert import Converter
from converters.errors import UsageError
from exporter.options import RunOptions
from exporter.run import pipeline
from exporter.run import plan as precisions
from exporter.run.pipeline import run

EXAMPLES = Path(__file__).parents[3] / "examples"
DIGITS = EXAMPLES / "digits_se_inception.keras"


class Calls:
    """Counts the calls of functions, which do what they do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self._monkeypatch = monkeypatch

    def of(self, place: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(place, name)

        def counted(*given: Any, **named: Any) -> Any:
            self.made.append(name)
            return original(*given, **named)

        self._monkeypatch.setattr(place, name, counted)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    counted = Calls(monkeypatch)
    counted.of(Converter, "open")
    counted.of(pipeline, "contract_of")
    counted.of(precisions, "read_calibration")
    counted.of(Converter, "float32")
    return counted


def options(**given: Any) -> RunOptions:
    data = str(EXAMPLES / "digits_calibration.npz")
    return RunOptions.of(
        formats=("tflite", "onnx"), precisions=("int8",), calibration=data, judge=False, time=False, **given
    )


def test_with_two_workers_facts_are_taken_and_calibration_data_read_once(calls: Calls, tmp_path: Path) -> None:
    made = [run(str(DIGITS), tmp_path / str(jobs), options(jobs=jobs)).manifest.artifacts for jobs in (1, 2)]
    assert calls.made == 2 * ["open", "contract_of", "read_calibration", "float32"]
    assert [row.sha256 for row in made[0]] == [row.sha256 for row in made[1]]
    assert len(made[0]) == 2


def test_what_is_there_loads_nothing_and_calibration_data_is_read_all_the_same(calls: Calls, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = run(str(DIGITS), tmp_path / "a", options(cache=cache)).manifest
    again = run(str(DIGITS), tmp_path / "b", options(cache=cache)).manifest
    assert calls.made == ["open", "contract_of", "read_calibration", "float32", "contract_of", "read_calibration"]
    assert again.content_digest == first.content_digest


def test_what_contradicts_the_source_ends_a_run_before_anything_is_made(calls: Calls, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no input `sound`"):
        run(str(DIGITS), tmp_path / "out", options(preprocess=("sound.scale=2",), jobs=2))
    assert calls.made == ["open", "contract_of"]
    assert not (tmp_path / "out").exists()


def test_a_tflite_file_answers_its_own_facts(calls: Calls, tmp_path: Path) -> None:
    float32 = RunOptions.of(formats=("tflite",), judge=False, time=False)
    whole = run(str(DIGITS), tmp_path / "a", float32).manifest
    calls.made.clear()
    source = tmp_path / "a" / "digits_se_inception.float32.tflite"
    halved = run(str(source), tmp_path / "b", RunOptions.of(precisions=("float16",), judge=False, time=False)).manifest
    assert calls.made == ["contract_of"]
    assert halved.signature == whole.signature
    assert [row.path for row in halved.artifacts] == ["digits_se_inception.float16.tflite"]
