"""Golden samples side by side: what went in, what the checkpoint made of it, and what each artifact did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from converters.contract import Contract
from exporter.manifest.schema import Manifest
from exporter.report import svg
from exporter.report import wording as say
from exporter.report.evidence import Evidence
from exporter.report.facts import drawn
from exporter.report.naming import short_names
from exporter.report.pictures import picture, small
from validate.agreement.judging.decisions import CLASSES, LABELS

_SHOWN = 6
_CLASSES = 12
"""Up to so many classes each has a bar; of more, the reference's five best."""

_BEST, _HALF = 5, 0.5
_LETTERS = 40
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """One answer: a word, a figure, and a drawing or a picture of it. `differs`: in its class or labels."""

    word: str
    figure: str
    drawing: Markup
    picture: str | None
    differs: bool


@dataclass(frozen=True)
class Sample:
    """An input: its picture, or its first values in words."""

    title: str
    picture: str | None
    pixelated: bool
    words: str


@dataclass(frozen=True)
class Samples:
    """A table: a column a sample; rows are the checkpoint and the artifacts. `note` says what the drawings mean."""

    input: str
    output: str
    columns: tuple[Sample, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    note: str


def samples(manifest: Manifest, evidence: Evidence) -> Samples | None:
    """The first input and the first output of the first golden samples; None where the bundle has none."""
    ins, outs = manifest.signature.inputs, manifest.signature.outputs
    if not ins or not outs or ins[0].name not in evidence.inputs or outs[0].name not in evidence.outputs:
        return None
    inputs, reference = evidence.inputs[ins[0].name], evidence.outputs[outs[0].name]
    if inputs.ndim < 1 or reference.ndim < 1 or not min(len(inputs), len(reference)):
        return None
    columns = _columns(inputs, reference, manifest, ins[0].name)
    asked = _Asked(_decides(manifest, outs[0].name), class_names(manifest.contract, outs[0].name))
    rows = [("Checkpoint", tuple(_cell(reference[c], reference[c], asked) for c in range(len(columns))))]
    for path, name in short_names(manifest).items():
        answers = evidence.answers.get(path, {}).get(outs[0].name)
        if answers is not None and len(answers) and answers.shape[1:] == reference.shape[1:]:
            shown = range(min(len(columns), len(answers)))
            rows.append((name, tuple(_cell(answers[c], reference[c], asked) for c in shown)))
    return Samples(ins[0].name, outs[0].name, columns, tuple(rows), _origin(manifest) + _note(reference, asked))


@dataclass(frozen=True)
class _Asked:
    """What an output decides on, and the names of its classes or labels."""

    decides: str
    names: Sequence[str]

    def name(self, k: int) -> str:
        return say.clean(self.names[k])[:24] if k < len(self.names) else str(k)


def _decides(manifest: Manifest, output: str) -> str:
    """What the verdicts say that an output decides on; older bundles tell it by what was counted."""
    rows = [row for verdict in manifest.verdicts for row in verdict.outputs if row.name == output]
    if said := next((row.decides for row in rows if row.decides), ""):
        return said
    if any(row.top1_agreement is not None for row in rows):
        return CLASSES
    return LABELS if any(row.labels_agreement is not None for row in rows) else ""


def _origin(manifest: Manifest) -> str:
    return "The inputs were drawn at random: give real ones with --inputs. " if drawn(manifest) else ""


def _columns(inputs: Values, reference: Values, manifest: Manifest, name: str) -> tuple[Sample, ...]:
    low, high = _range(manifest, name)
    return tuple(
        Sample(f"Sample {k + 1}", picture(inputs[k], low, high), small(inputs[k]), _first_values(inputs[k]))
        for k in range(min(_SHOWN, len(inputs), len(reference)))
    )


def _range(manifest: Manifest, name: str) -> tuple[float | None, float | None]:
    """The range of the input's values, where somebody told it: black and white of its picture."""
    span = (manifest.preprocessing or {}).get(name, {})
    if span.get("origin") == "assumed":
        return None, None
    low, high = span.get("low"), span.get("high")
    return (low, high) if low is not None and high is not None and high > low else (None, None)


def class_names(contract: Contract | None, output: str) -> tuple[str, ...]:
    """The labels of an output in the manifest's `contract`; empty where nobody has said them."""
    rows = contract.outputs if contract is not None else ()
    return next((row.labels for row in rows if row.name == output and row.labels), ())


def _first_values(values: Values) -> str:
    flat = np.asarray(values).reshape(-1)[:6]
    if flat.dtype.kind == "S":
        return ", ".join(f"\N{LEFT DOUBLE QUOTATION MARK}{_text(v)}\N{RIGHT DOUBLE QUOTATION MARK}" for v in flat)
    return ", ".join(say.figure(float(v)) if flat.dtype.kind == "f" else say.clean(str(v))[:24] for v in flat)


def _text(value: bytes) -> str:
    text = say.clean(value.decode("utf-8", "replace"))
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}..."


def _is_vector(values: Values) -> bool:
    return values.ndim == 1 and len(values) > 1 and values.dtype.kind in "fiu"


def _cell(values: Values, reference: Values, asked: _Asked) -> Cell:
    if reference.dtype.kind == "S":
        differs = not np.array_equal(values, reference)
        return Cell(_first_values(values), "", Markup(), None, differs)
    if _is_vector(reference) and asked.decides == CLASSES:
        return _class_cell(values, reference, asked)
    gap = float(np.abs(values.astype(np.float64) - reference.astype(np.float64)).max(initial=0.0))
    if _is_vector(reference):
        return _vector_cell(values, reference, asked, gap)
    if reference.size == 1:
        return Cell(say.figure(float(values.reshape(-1)[0])), _gap(gap), Markup(), None, False)
    low, high = float(np.nanmin(reference)), float(np.nanmax(reference))
    return Cell("", _gap(gap), Markup(), picture(values, low, high), False)


def _gap(gap: float) -> str:
    return f"\N{PLUS-MINUS SIGN}{say.figure(gap)}" if gap else ""


def _vector_cell(values: Values, reference: Values, asked: _Asked, gap: float) -> Cell:
    """Values that decide on labels, each above one half, or on nothing that is known."""
    if asked.decides != LABELS:
        return Cell("", _gap(gap), _bars(values, reference, ()), None, False)
    true, on = (np.flatnonzero(row > _HALF).tolist() for row in (reference, values))
    word = say.listed([asked.name(k) for k in on], 2) or "none"
    return Cell(word, _gap(gap), _bars(values, reference, on), None, on != true)


def _class_cell(values: Values, reference: Values, asked: _Asked) -> Cell:
    best, right = int(np.argmax(values)), int(np.argmax(reference))
    shares = _shares(reference)
    figure = say.percent(float(values[best])) if shares else say.figure(float(values[best]))
    return Cell(asked.name(best), figure, _bars(values, reference, (best,)), None, best != right)


def _shares(values: Values) -> bool:
    """Whether they are probabilities of exclusive classes."""
    return bool(values.min() >= -1e-3 and abs(float(values.sum()) - 1) < 1e-2)


def _bars(values: Values, reference: Values, chosen: Sequence[int]) -> Markup:
    """A bar a value, on the scale of the reference's; those that were decided on stand out."""
    shown = list(range(len(reference)))
    if len(shown) > _CLASSES:
        shown = sorted({*np.argsort(-reference, kind="stable")[:_BEST].tolist(), *chosen[:_BEST]})
    low = min(0.0, float(np.nanmin(reference)))
    span = (float(np.nanmax(reference)) - low) or 1.0
    parts = []
    for place, k in enumerate(shown):
        share = min(max((float(values[k]) - low) / span, 0.0), 1.0) if np.isfinite(values[k]) else 0.0
        high = max(1.0, 26 * share)
        kind = "class best" if k in chosen else "class"
        parts.append(svg.rect(kind, svg.percent(place / len(shown)), 28 - high, svg.percent(0.8 / len(shown)), high))
    return svg.drawing("classes", "28", "", parts)


def _note(reference: Values, asked: _Asked) -> str:
    if reference.dtype.kind == "S":
        return "Each answer: its first texts."
    if _is_vector(reference[0]) and asked.decides == LABELS:
        return "Each answer: the labels above one half, and the greatest difference from the checkpoint's values."
    if not _is_vector(reference[0]) or asked.decides != CLASSES:
        return "Below each answer: its greatest difference from the checkpoint's."
    count = reference.shape[1]
    what = f"classes 0 to {count - 1}" if count <= _CLASSES else "the checkpoint's five best classes, by number"
    shares = "its probability" if _shares(reference[0]) else "its value"
    return f"Each answer: the class, {shares}, and bars for {what}."
