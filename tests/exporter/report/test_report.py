from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import exporter.report
from converters.contract import Contract, OutputContract
from exporter.manifest.schema import Manifest
from exporter.report import MODEL_CARD, REPORT_HTML, REPORT_MD, render, view, wording
from exporter.report.axis import Axis
from exporter.report.commands import commands
from exporter.report.distributions import distributions
from exporter.report.evidence import Evidence
from exporter.report.facts import key_facts
from exporter.report.headline import headline
from exporter.report.layers import depths
from exporter.report.pareto import pareto
from exporter.report.samples import class_names, samples
from exporter.report.terminal import terminal_tables

HOSTILE = (
    "<script>alert(1)</script>\"'|`](https://evil.example)![x](//evil.example/p.png) @everyone {{ 7*7 }}"
    "\n\x1b[31m\u202e"
)
VOID = {"meta", "br", "hr", "img", "input", "link", "line", "circle", "rect", "path", "polyline"}


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
            inside = value is not None and value.startswith(("data:image/", "#"))
            if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"} or name.startswith("on"):
                if inside and name in {"src", "href"}:
                    continue
                self.fetches.append(f"{name}={value}")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(manifest: Manifest, evidence: Evidence = Evidence()) -> Page:
    reader = Page()
    reader.feed(render(manifest, evidence)[REPORT_HTML])
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
    assert set(render(bare)) == {REPORT_HTML, REPORT_MD, MODEL_CARD}


def test_the_page_is_self_contained(sample_manifest: Manifest, evidence: Evidence) -> None:
    text = render(sample_manifest, evidence)[REPORT_HTML]
    reader = page(sample_manifest, evidence)
    assert reader.fetches == []
    assert "img" in reader.tags
    assert not {"script", "link", "iframe", "object", "form", "base"} & set(reader.tags)
    assert not re.search(r"https?:|@import|url\(", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_hostile_names_stay_text_in_html(full_document: dict[str, Any]) -> None:
    document = full_document
    clean = page(Manifest.from_document(document))
    bad = poisoned(document)
    bad["recommended"]["choice"] = {f"cpu{HOSTILE}": bad["artifacts"][2]["path"]}
    hostile = page(Manifest.from_document(bad))
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
        (
            lambda d: d["verdicts"][1].update(status="disagree"),
            "bad",
            "2 of 3 artifacts agree with digits.keras, digits.float32.tflite is in disagreement",
        ),
        (lambda d: d["verdicts"][1].update(status="inconclusive"), "warn", "digits.float32.tflite is inconclusive"),
        (lambda d: d["verdicts"][1].update(status="error"), "bad", "digits.float32.tflite is in error"),
        (
            lambda d: d["timings"][1]["flags"].append("tainted"),
            "warn",
            "other work on the machine disturbed 1 of 3 timings",
        ),
        (lambda d: d.update(verdicts=[]), "warn", "3 artifacts made from digits.keras, not judged"),
        (lambda d: d.update(artifacts=[], verdicts=[], timings=[]), "bad", "No artifact could be made"),
        (
            lambda d: d.update(artifacts=d["artifacts"][:1], verdicts=d["verdicts"][:1], failures=[]),
            "good",
            "The artifact agrees with digits.keras",
        ),
    ],
)
def test_headline(
    sample_document: dict[str, Any], change: Callable[[dict[str, Any]], None], tone: str, words: str
) -> None:
    change(sample_document)
    manifest = Manifest.from_document(sample_document)
    head = headline(manifest)
    assert head.tone == tone
    assert words in head.sentence
    page(manifest)


def test_what_is_wrong_on_another_target_alone_is_said_in_the_headline(sample_document: dict[str, Any]) -> None:
    first = sample_document["verdicts"][0]
    there = first | {"target": "openvino", "setting": "float32", "status": "disagree"}
    sample_document["verdicts"].append(there)
    head = headline(Manifest.from_document(sample_document))
    assert head.tone == "bad"
    assert f"on openvino not {first['artifact']}" in head.sentence


def test_an_artifact_that_disagrees_is_not_called_the_fastest(sample_document: dict[str, Any]) -> None:
    sample_document["verdicts"][2]["status"] = "disagree"
    sentence = headline(Manifest.from_document(sample_document)).sentence
    assert "the fastest on cpu is digits.float32.tflite" in sentence


def test_the_summary_shows_the_worst_output(sample_document: dict[str, Any]) -> None:
    verdict = sample_document["verdicts"][2]
    gate = {"measure": "noise_ratio", "value": 55.5, "limit": 3.0}
    verdict["outputs"].append(verdict["outputs"][0] | {"name": "second", "gate": gate, "accuracy": 0.9996})
    row = view.summary(Manifest.from_document(sample_document)).rows[2]
    assert "55.5 x" in row
    assert "<= 3 x" in row
    assert "99.9 %" in row, "99.96 % is not rounded to all"


def test_terminal_tables_leave_out_empty_columns(sample_document: dict[str, Any]) -> None:
    sample_document.update(timings=[], verdicts=[])
    title, columns, rows = terminal_tables(Manifest.from_document(sample_document))[0]
    assert title == "Artifacts"
    assert columns == ["Artifact", "Size", "Verdict"]
    assert rows[1] == ["digits.float32.tflite", "410 kB", "not judged"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (409_600, "410 kB"),
        (999_600, "1.0 MB"),
        (89_400_000, "89.4 MB"),
        (3_200_000_000, "3.2 GB"),
        (None, "-"),
    ],
)
def test_sizes(value: int | None, text: str) -> None:
    assert wording.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.1314, "0.131"),
        (29.4, "29.4"),
        (812.3, "812"),
        (3.4e-6, "3.40e-06"),
        (-2.5, "-2.50"),
        (1e9, "1.00e+09"),
    ],
)
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
    places = [axis.share(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert axis.ticks()


def test_plots_are_left_out_where_there_is_nothing_to_show(sample_document: dict[str, Any]) -> None:
    sample_document["timings"] = sample_document["timings"][-1:]
    manifest = Manifest.from_document(sample_document)
    assert distributions(manifest, Evidence()) is None
    assert pareto(manifest) is None
    assert samples(manifest, Evidence()) is None
    assert depths(manifest) == []
    reader = page(manifest)
    assert "svg" not in reader.tags
    for title in ("Trade-offs", "Samples", "Error by layer", "Where time goes"):
        assert title not in reader.text


def test_latency_is_drawn_from_every_run_and_said_in_words(sample_manifest: Manifest, evidence: Evidence) -> None:
    plot = distributions(sample_manifest, evidence)
    assert plot is not None
    assert plot.measured
    assert [row.value for row in plot.rows][2] == "0.131 ms [0.128, 0.135]"
    assert "ONNX float32 on cpu, 2 threads, batch 1: p50 0.131 ms [0.128, 0.135], p90 0.157 ms" in plot.rows[2].svg
    assert plot.rows[0].svg.count('class="bar"') == 0, "no raw samples, no histogram"
    assert plot.rows[1].svg.count('class="bar"') > 3


def test_the_trade_offs_mark_the_front_and_the_choice(sample_document: dict[str, Any]) -> None:
    paths = [row["path"] for row in sample_document["artifacts"]]
    sample_document["recommended"] = {"pareto": paths[1:], "choice": {"cpu": paths[2]}}
    plot = pareto(Manifest.from_document(sample_document))
    assert plot is not None
    assert [title for title, _ in plot.panels] == ["Latency and size", "Latency and error"]
    for _, drawing in plot.panels:
        assert drawing.count("beaten") == 1
        assert drawing.count('class="tag chosen"') == 1
        assert "TFLite float32: 0.214 ms" in drawing
    assert "SavedModel float32: 0.912 ms, no error" in plot.panels[1][1]
    assert "SavedModel float32 (identical)" in plot.panels[1][1]
    assert "(identical)" not in plot.panels[0][1]


@pytest.mark.parametrize("drop", [0.0, 1.2, -0.4])
def test_a_metric_s_drop_is_drawn_within_its_interval(sample_document: dict[str, Any], drop: float) -> None:
    """No file loses anything, as a rule: the axis shows what the samples could tell, not differences of nothing."""
    for verdict in sample_document["verdicts"]:
        told = {"value": drop, "low": drop - 0.6, "high": drop + 0.6}
        metric = {"metric": "top1", "reference": 0.98, "value": 0.98 - drop / 100, "drop": told}
        verdict["loss"] = {"status": "kept", "reason": "little", "output": "", **metric}
    plot = pareto(Manifest.from_document(sample_document))
    assert plot is not None
    title, drawing = plot.panels[1]
    assert title == "Latency and drop of top1"
    assert "e-" not in "".join(re.findall(r'class="tick"[^>]*>([^<]*)<', drawing))
    marks = [float(y) for y in re.findall(r'class="mark[^"]*" d="M[\d.]+ ([\d.]+)', drawing)]
    spans = [
        (float(top), float(end))
        for end, top in re.findall(r'class="whisker" x1="[\d.]+" y1="([\d.]+)" .*?y2="([\d.]+)"', drawing)
    ]
    assert len(spans) == len(marks) == 3
    for top, end in spans:
        assert end - top > 50, "an interval that can be seen"
        assert 14 < top < end < 244, "and that ends within the drawing"


def test_samples_show_who_answers_another_class(sample_manifest: Manifest, evidence: Evidence) -> None:
    shown = samples(sample_manifest, evidence)
    assert shown is not None
    assert [name for name, _ in shown.rows] == ["Checkpoint", "TFLite float32", "ONNX float32"]
    assert [cell.word for cell in shown.rows[0][1]] == ["3", "1", "4", "1"]
    assert [cell.differs for cell in shown.rows[1][1]] == [False] * 4
    assert [cell.differs for cell in shown.rows[2][1]] == [False, False, True, False]
    assert all(sample.picture and sample.pixelated for sample in shown.columns)
    labels = [f"class {k}" for k in range(10)]
    contract = Contract((), (OutputContract("digit", ("batch", 10), "float32", labels=tuple(labels)),))
    found = [class_names(contract, "digit"), class_names(None, "digit"), class_names(contract, "other")]
    assert found == [tuple(labels), (), ()]
    assert "another decision than the checkpoint's" in page(sample_manifest, evidence).text


@pytest.mark.parametrize(
    ("shape", "output", "pictures"),
    [((8, 8, 3), (8, 8, 1), True), ((5, 4), (1,), True), ((7,), (3, 3, 2), True), ((2, 2, 2, 2), (4, 4, 4, 4), False)],
)
def test_samples_of_any_shape(
    sample_document: dict[str, Any], shape: tuple[int, ...], output: tuple[int, ...], pictures: bool
) -> None:
    rng = np.random.default_rng(1)
    given, wanted = rng.normal(size=(3, *shape)), rng.normal(size=(3, *output)).astype(np.float32)
    wanted[0].flat[0] = np.nan
    answers = {"digits.float32.onnx": {"digit": wanted + 1e-3}}
    found = Evidence({"image": given}, {"digit": wanted}, answers)
    shown = samples(Manifest.from_document(sample_document), found)
    assert shown is not None
    assert all((column.picture is not None) == pictures for column in shown.columns)
    assert shown.rows[1][1][1].figure.startswith("\N{PLUS-MINUS SIGN}1.00e-03") or output != (1,)
    page(Manifest.from_document(sample_document), found)


def test_layers_and_profiles_are_drawn_where_the_manifest_has_them(full_document: dict[str, Any]) -> None:
    manifest = Manifest.from_document(full_document)
    (depth,) = depths(manifest)
    assert (depth.name, depth.first, depth.local) == ("TFLite float32", "conv_3", True)
    text = page(manifest).text
    assert "parts from the checkpoint at conv_3" in text
    assert "30.0 % of this machine's measured float32 peak" in text


def test_ranges_are_said_in_words(sample_document: dict[str, Any]) -> None:
    ranges = {"image": {"low": 0.0, "high": 16.0, "source": "the model's Rescaling layer"}}
    for row in sample_document["verdicts"]:
        row["input_range"] = ranges
    note = view.agreement(Manifest.from_document(sample_document)).note
    assert "500 samples, seed 0, input range image 0 to 16 (the model's Rescaling layer)." in note


def test_a_range_that_nobody_told_is_assumed_everywhere_and_said_once(sample_document: dict[str, Any]) -> None:
    assumed = {"low": 0.0, "high": 1.0, "source": "U(0,1) and N(0,1) in turn", "whole": False, "origin": "assumed"}
    note = "Nobody told the range of the input image; --input-range LO,HI tells it."
    sample_document["preprocessing"] = {"image": assumed}
    for verdict in sample_document["verdicts"]:
        verdict["input_range"] = {"image": assumed}
        verdict["notes"] = [note, *verdict.get("notes", ())]
    pages = render(Manifest.from_document(sample_document))
    for page in (REPORT_HTML, REPORT_MD, MODEL_CARD):
        plain = pages[page].replace("\\", "")
        assert "0 to 1, assumed" in plain, page
        assert plain.count("Nobody told the range") == 1, page


@pytest.mark.parametrize(("suite", "said"), [("drawn", "500 drawn samples"), ("given", "500 samples")])
def test_drawn_inputs_are_not_passed_off_as_data(
    sample_document: dict[str, Any], evidence: Evidence, suite: str, said: str
) -> None:
    for verdict in sample_document["verdicts"]:
        verdict["suites"] = {suite: 500}
    manifest = Manifest.from_document(sample_document)
    assert dict(key_facts(manifest))["Judged on"] == said
    shown = samples(manifest, evidence)
    assert shown is not None
    assert ("drawn at random" in shown.note) == ("drawn" in said)


def test_every_figure_says_how_to_make_it_again(
    sample_document: dict[str, Any], full_document: dict[str, Any], evidence: Evidence
) -> None:
    again = commands(Manifest.from_document(sample_document))
    assert again["agreement"] == "edgeport validate examples/digits.keras 'my out' --seed 0"
    assert again["latency"] == "edgeport bench 'my out' --device cpu --threads 2 --batch 1"
    sample_document["source"] |= {"path": "se_inception_v3", "kind": "architecture"}
    built = commands(Manifest.from_document(sample_document))["agreement"]
    assert built.startswith("edgeport build se_inception_v3 -o se_inception_v3.keras --seed 0 && edgeport validate")
    sample_document["source"] |= {"path": "mine.weights.h5", "kind": "weights_h5"}
    added = ["--architecture", "se_inception_v3", "--custom-objects", "mine.py", "--allow-unsafe", "--bake-preprocess"]
    sample_document["tool"]["command"] = [*sample_document["tool"]["command"], *added]
    odd = commands(Manifest.from_document(sample_document))["agreement"]
    assert "-o se_inception_v3.keras --weights mine.weights.h5 --seed 0 && edgeport validate se_inception_v3.k" in odd
    assert odd.endswith(" --custom-objects mine.py --allow-unsafe --bake-preprocess")
    text = render(Manifest.from_document(full_document), evidence)[REPORT_HTML]
    for section in re.findall(r"<section.*?</section>", text, re.DOTALL):
        assert section.count("Make it again") >= 1, section[:200]


def test_text_has_contrast_in_light_and_dark() -> None:
    """WCAG 2.2, 1.4.3: 4.5 for text; 1.4.11: 3 for marks."""
    sheet = (Path(exporter.report.__file__).parent / "templates" / "report.css").read_text()
    for colours in re.findall(r":root \{([^}]*--paper[^}]*--ink[^}]*)\}", sheet):
        named = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", colours))
        for ground in ("paper", "panel"):
            for ink in ("ink", "soft", "accent", "bad"):
                assert contrast(named[ink], named[ground]) >= 4.5, (ink, ground)
            for ink in ("savedmodel", "tflite", "onnx", "ort"):
                assert contrast(named[ink], named[ground]) >= 3, (ink, ground)
        for tone in ("good", "warn", "bad"):
            assert contrast(named[tone], named[f"{tone}-bg"]) >= 4.5, tone
            assert contrast(named["ink"], named[f"{tone}-bg"]) >= 4.5, tone


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    channels = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_model_card_has_the_facts_and_says_what_it_does_not_know(sample_document: dict[str, Any]) -> None:
    card = render(Manifest.from_document(sample_document))[MODEL_CARD]
    assert card.startswith("---\nlibrary_name: keras\n")
    for fact in ("99 338", "98.4 %", "0.131 ms", "AMD EPYC", "no 16x8 kernel", "[batch, 8, 8, 1]".replace("[", "\\[")):
        assert fact.replace("]", "\\]") in card or fact in card
    assert card.count("Not known to edgeport") == 3
    output = {"name": "digit", "shape": ["batch", 10], "dtype": "float32", "labels": ["zero", "*one*"]}
    sample_document["contract"] = {"inputs": [], "outputs": [output]}
    labelled = render(Manifest.from_document(sample_document))[MODEL_CARD]
    assert "Output `digit` has 2 labels: zero, \\*one\\*." in labelled
    sample_document["recommended"] = {"choice": {f"cpu{HOSTILE}": sample_document["artifacts"][2]["path"]}}
    hostile = render(Manifest.from_document(poisoned(sample_document)))[MODEL_CARD]
    outside = re.sub(r"```sh\n.*?\n```|(?<!\\)`[^`\n]*`", "", hostile, flags=re.DOTALL)
    assert "<script" not in outside
    assert "https://" not in outside
    assert hostile.count("\n---\n") == 1, "nothing adds to the head"
