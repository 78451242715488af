from __future__ import annotations

from pathlib import Path

from exporter.run.workspace import Place


def test_asking_where_the_log_lies_makes_no_file(tmp_path: Path) -> None:
    place = Place(tmp_path / "out", tmp_path, tmp_path / "scratch", lambda _step: lambda _label, _share: None)
    assert place.log == tmp_path / "edgeport.log"
    assert not list(tmp_path.iterdir())
