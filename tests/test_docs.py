"""The documentation builds, and every page of docs/ is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))


def test_every_page_is_in_the_site(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert sorted(path.stem for path in tmp_path.glob("*.html")) == sorted([*PAGES, "404", "search"])
    reference = (tmp_path / "python.html").read_text()
    for name in (
        "exporter.run.api.run",
        "exporter.integrations.keras_callback.ExportBundle",
        "exporter.difference.comparing.diff",
    ):
        assert f'id="{name}"' in reference


def test_nothing_is_left_out_of_the_site() -> None:
    """Without a `nav`, mkdocs takes every page."""
    assert "\nnav:" not in (ROOT / "mkdocs.yml").read_text()
    assert "index" in PAGES
