from __future__ import annotations

from pathlib import Path

import pytest

from converters.errors import EdgeportError, StepError
from exporter.options import RunOptions
from exporter.run.sources import Source
from exporter.run.task import Plan, _as_given
from exporter.run.workspace import Place, shares


def test_asking_where_the_log_lies_makes_no_file(tmp_path: Path) -> None:
    place = Place(tmp_path / "out", tmp_path, tmp_path / "scratch", lambda _step: lambda _label, _share: None)
    assert place.log == tmp_path / "edgeport.log"
    assert not list(tmp_path.iterdir())


def test_errors_name_what_the_user_gave(tmp_path: Path) -> None:
    """What was made of a pair lies in a folder that is gone when the error is read, and so does the staging."""
    plan = Plan(Source("net/model.json", "keras", None, None), (), tmp_path / "out", RunOptions())
    place = Place(plan.output, tmp_path / ".out.staging-1", tmp_path / "scratch", shares(plan.options, lambda *_: None))
    made, staged = place.scratch / "model.keras", place.staging / "model.onnx"
    with pytest.raises(EdgeportError) as caught, _as_given(plan, place):
        raise StepError(f"{made} and {staged} part.", next_step=f"Look at {made}.", file=made)
    assert caught.value.message == f"net/model.json and {tmp_path / 'out' / 'model.onnx'} part."
    assert caught.value.next_step == "Look at net/model.json."
    assert caught.value.file == "net/model.json"
