"""The page in a real browser, as a person meets it: on a desk, a phone, in the dark, on paper, by keyboard."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from exporter.manifest.schema import Manifest
from exporter.report import REPORT_HTML, render
from exporter.report.evidence import Evidence

_HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => [Number(h.tagName[1]), h.innerText])"
_BEYOND = (
    "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
    " && (!e.closest('.scroll') || e.matches('.scroll'))).map(e => e.outerHTML.slice(0, 80))"
)
_UNSAFE = """<!doctype html><title>x</title><img src="https://edgeport.invalid/x.png" alt="x">
<script>console.error("spoken")</script>"""


@pytest.fixture
def report(full_document: dict[str, Any], evidence: Evidence, tmp_path: Path) -> Path:
    path = tmp_path / REPORT_HTML
    path.write_text(render(Manifest.from_document(full_document), evidence)[REPORT_HTML], encoding="utf-8")
    return path


def test_it_renders_without_a_request_or_a_complaint(browser: Any, report: Path) -> None:
    browser.open(report)
    assert browser.requested() == [report.as_uri()]
    assert browser.complaints() == []
    assert browser.evaluate("document.querySelector('.verdict').innerText").startswith("Partial.")
    drawn = "[...document.querySelectorAll('svg[role=img], img')].every(e => e.getBoundingClientRect().width > 20)"
    assert browser.evaluate(drawn)
    assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_a_page_that_fetches_or_complains_is_caught(browser: Any, tmp_path: Path) -> None:
    """The checks above can fail."""
    unsafe = tmp_path / "unsafe.html"
    unsafe.write_text(_UNSAFE)
    browser.open(unsafe)
    assert "https://edgeport.invalid/x.png" in browser.requested()
    assert any("spoken" in complaint for complaint in browser.complaints())


def test_headings_are_in_order_and_every_link_leads_somewhere(browser: Any, report: Path) -> None:
    browser.open(report)
    headings = browser.evaluate(_HEADINGS)
    levels = [level for level, _ in headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for title in ("What to ship", "Trade-offs", "Samples", "Latency", "Error by layer", "Where time goes"):
        assert title in [text for _, text in headings]
    assert browser.evaluate(
        "[...document.querySelectorAll('a')].every(a => document.querySelector(a.getAttribute('href')))"
    )


def test_what_is_drawn_has_a_name_for_those_who_listen(browser: Any, report: Path) -> None:
    browser.open(report)
    nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in nodes if not node.get("ignored")]
    named = {
        role: [node["name"]["value"] for node in shown if node["role"]["value"] == role]
        for role in ("image", "region", "table")
    }
    assert len(named["image"]) >= 9
    assert len(named["table"]) >= 3
    assert all(name for names in named.values() for name in names)
    assert any("p50 0.131 ms" in name for name in named["image"])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_it_fits_every_screen(browser: Any, report: Path, width: int, dark: bool) -> None:
    browser.open(report, width=width, dark=dark)
    assert browser.evaluate(_BEYOND) == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (sum(channels) < 150) == dark
    least = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('p, td, th, dd, li, svg text')].filter(e => e.innerHTML)"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert least >= 11


def test_the_keyboard_reaches_links_tables_and_details(browser: Any, report: Path) -> None:
    browser.open(report)
    reached = []
    for _ in range(40):
        for kind in ("rawKeyDown", "keyUp"):
            browser.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(browser.evaluate("document.activeElement.tagName"))
    assert {"A", "DIV", "SUMMARY"} <= set(reached)
    browser.evaluate("document.querySelector('summary').focus()")
    browser.ask(
        "Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
    )
    assert browser.evaluate("document.querySelector('details').open")


def test_it_prints_with_its_details_open(browser: Any, report: Path, tmp_path: Path) -> None:
    browser.open(report, width=720)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("document.querySelector('details .inner').getBoundingClientRect().height") > 40
    browser.ask("Emulation.setEmulatedMedia", media="")
    browser.print_to(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
