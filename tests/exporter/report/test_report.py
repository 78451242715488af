from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from exporter.manifest import Manifest
from exporter.report import REPORT_HTML, REPORT_MD, render, view, wording
from exporter.report.headline import headline
from exporter.report.plots import Axis, latency_plot, scatter_plot
from exporter.report.terminal import terminal_tables

HOSTILE = (
    "<script>alert(1)</script>\"'|`](https://evil.example)![x](//evil.example/p.png) @everyone {{ 7*7 }}"
    "\n\x1b[31m\u202e"
)
VOID = {"meta", "br", "hr", "img", "input", "link", "line", "circle"}


class Page(HTMLParser):
    """Reads a page strictly: every element closes, and what it would fetch or run is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetches: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"} or name.startswith("on"):
                self.fetches.append(f"{name}={value}")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(manifest: Manifest) -> Page:
    reader = Page()
    reader.feed(render(manifest)[REPORT_HTML])
    reader.close()
    assert reader.open == []
    return reader


def poisoned(value: Any) -> Any:
    """The document with hostile text appended to everything that a file could name."""
    if isinstance(value, dict):
        keep = {"schema", "sha256", "format", "precision", "status", "created", "verdict", "dtype", "measure"}
        return {k: v if k in keep else poisoned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(child) for child in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_a_report_is_the_same_whatever_the_files_and_the_digest(sample_manifest: Manifest) -> None:
    bare = sample_manifest.model_copy(update={"content_digest": "e" * 64})
    sealed = bare.model_copy(update={"digest": "f" * 64, "files": sample_manifest.with_files(()).files})
    assert render(bare) == render(sealed)
    assert set(render(bare)) == {REPORT_HTML, REPORT_MD}


def test_the_page_is_self_contained(sample_manifest: Manifest) -> None:
    text = render(sample_manifest)[REPORT_HTML]
    reader = page(sample_manifest)
    assert reader.fetches == []
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(reader.tags)
    assert not re.search(r"https?:|@import|url\(", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_hostile_names_stay_text_in_html(sample_document: dict[str, Any]) -> None:
    clean = page(Manifest.from_document(sample_document))
    hostile = page(Manifest.from_document(poisoned(sample_document)))
    assert hostile.fetches == []
    assert hostile.tags == clean.tags
    assert "<script>alert(1)</script>" in hostile.text
    assert "{{ 7*7 }}" in hostile.text
    assert "\x1b" not in hostile.text
    assert "\u202e" not in hostile.text


def test_hostile_names_stay_text_in_markdown(sample_document: dict[str, Any]) -> None:
    text = render(Manifest.from_document(poisoned(sample_document)))[REPORT_MD]
    clean = render(Manifest.from_document(sample_document))[REPORT_MD]
    outside = re.sub(r"```sh\n.*?\n```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert "<script" not in outside
    assert "https://" not in outside
    assert "@everyone" not in outside
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert "\x1b" not in text
    assert text.count("\n") == clean.count("\n"), "a name must not start a line"
    for ours, theirs in zip(clean.splitlines(), text.splitlines(), strict=True):
        if ours.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", ours)) == len(re.findall(r"(?<!\\)\|", theirs))


def test_accessibility(sample_manifest: Manifest) -> None:
    text = render(sample_manifest)[REPORT_HTML]
    assert '<html lang="en">' in text
    assert text.count("<h1>") == 1
    assert all('scope="' in tag for tag in re.findall(r"<th[^e>]*>", text))
    for svg in re.findall(r"<svg[^>]*>", text):
        assert "aria-label=" in svg or 'aria-hidden="true"' in svg


def test_the_markdown_says_the_verdict_first_and_how_to_make_it_again(sample_manifest: Manifest) -> None:
    text = render(sample_manifest)[REPORT_MD]
    first = text.splitlines()[0]
    assert "All 3 artifacts agree with digits.keras" in first
    assert "0.131 ms" in first
    assert "edgeport run examples/digits.keras -o 'my out'" in text
    for fact in ("98.4 %", "131.2 dB", "identical", "61.0 MB", "libcudart.so.13", "no 16x8 kernel", "AMD EPYC"):
        assert fact in text


@pytest.mark.parametrize(
    ("change", "tone", "words"),
    [
        (lambda d: d.update(failures=[]), "good", "All 3 artifacts agree"),
        (lambda d: None, "warn", "1 target could not be made: tflite int16x8 (unsupported)"),
        (lambda d: d["verdicts"][1].update(status="disagree"), "bad", "2 of 3 artifacts agree with digits.keras, "
         "digits.float32.tflite is in disagreement"),
        (lambda d: d["verdicts"][1].update(status="inconclusive"), "warn", "digits.float32.tflite is inconclusive"),
        (lambda d: d["verdicts"][1].update(status="error"), "bad", "digits.float32.tflite is in error"),
        (lambda d: d.update(verdicts=[]), "warn", "3 artifacts made from digits.keras, not judged"),
        (lambda d: d.update(artifacts=[], verdicts=[], timings=[]), "bad", "No artifact could be made"),
        (lambda d: d.update(artifacts=d["artifacts"][:1], verdicts=d["verdicts"][:1], failures=[]), "good",
         "The artifact agrees with digits.keras"),
    ],
)  # fmt: skip
def test_headline(
    sample_document: dict[str, Any], change: Callable[[dict[str, Any]], None], tone: str, words: str
) -> None:
    change(sample_document)
    manifest = Manifest.from_document(sample_document)
    head = headline(manifest)
    assert head.tone == tone
    assert words in head.sentence
    page(manifest)


def test_an_artifact_that_disagrees_is_not_called_the_fastest(sample_document: dict[str, Any]) -> None:
    sample_document["verdicts"][2]["status"] = "disagree"
    sentence = headline(Manifest.from_document(sample_document)).sentence
    assert "the fastest on cpu is digits.float32.tflite" in sentence


def test_the_summary_shows_the_worst_output(sample_document: dict[str, Any]) -> None:
    verdict = sample_document["verdicts"][2]
    verdict["outputs"].append(verdict["outputs"][0] | {"name": "second", "noise_ratio": 55.5, "top1_agreement": 0.9996})
    row = view.summary(Manifest.from_document(sample_document)).rows[2]
    assert "55.5" in row
    assert "99.9 %" in row, "99.96 % is not rounded to all"


def test_terminal_tables_leave_out_empty_columns(sample_document: dict[str, Any]) -> None:
    sample_document.update(timings=[], verdicts=[])
    title, columns, rows = terminal_tables(Manifest.from_document(sample_document))[0]
    assert title == "Artifacts"
    assert columns == ["Artifact", "Size", "Verdict"]
    assert rows[1] == ["digits.float32.tflite", "410 kB", "not judged"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (409_600, "410 kB"), (999_600, "1.0 MB"),
     (89_400_000, "89.4 MB"), (3_200_000_000, "3.2 GB"), (None, "-")],
)  # fmt: skip
def test_sizes(value: int | None, text: str) -> None:
    assert wording.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.1314, "0.131"), (29.4, "29.4"), (812.3, "812"), (3.4e-6, "3.40e-06"), (-2.5, "-2.50"),
     (1e9, "1.00e+09")],
)  # fmt: skip
def test_figures(value: float, text: str) -> None:
    assert wording.figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "100 %"), (0.9999, "99.9 %"), (0.984, "98.4 %"), (0.0, "0.0 %"), (None, "-")]
)
def test_percent(value: float | None, text: str) -> None:
    assert wording.percent(value) == text


@pytest.mark.parametrize("values", [[1.0, 2.0], [0.1, 200.0], [5.0], [0.0], [1e-6, 1e6]])
def test_axis_keeps_order_and_bounds(values: list[float]) -> None:
    axis = Axis.over(values)
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    assert axis.ticks()


def test_plots_are_left_out_where_there_is_nothing_to_show(sample_document: dict[str, Any]) -> None:
    sample_document["timings"] = sample_document["timings"][-1:]
    manifest = Manifest.from_document(sample_document)
    assert latency_plot(manifest) is None
    assert scatter_plot(manifest) is None
    assert "<svg" not in render(manifest)[REPORT_HTML]


def test_the_latency_plot_says_every_value_in_words(sample_manifest: Manifest) -> None:
    plot = latency_plot(sample_manifest)
    assert plot is not None
    assert [bar.value for bar in plot.bars][2] == "0.131 ms [0.128, 0.135]"
    assert "digits.float32.onnx on cpu: min 0.118 ms, p50 0.131 ms, p90 0.157 ms, p99 0.249 ms" in plot.bars[2].svg
