"""Layers to blame, within a run: what parts from the checkpoint is localized while all of it is at hand."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converters.checkpoints.checkpoint import Checkpoint
from converters.common import Common
from converters.errors import EdgeportError
from converters.formats import Format, format_of
from converters.progress import Progress
from exporter.manifest.facts import LocalizedFacts
from exporter.options import RunOptions
from exporter.run.artifact_rows import Notes
from exporter.run.twins import Twins
from exporter.run.workspace import Place
from validate.agreement import Agreement
from validate.agreement.results import Verdict
from validate.agreement.rows import DISAGREE
from validate.localize import Localization, Localized, LocalizeJob, localize
from validate.runtimes import runtime_name

_AT_MOST = 3  # of a kind, files mostly part at the same layer; each costs a minute in a network of 300 layers
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Located:
    """The result of localizing: the manifest's `environment.localized`, and notes for verdicts by file name."""

    rows: tuple[LocalizedFacts, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    def noted(self, notes: Notes) -> Notes:
        """The verdicts' notes with those of the layers."""
        joined = dict(notes)
        for name, note in self.notes:
            joined[name] = (*joined.get(name, ()), note)
        return joined


def locate(checkpoint: Checkpoint, agreement: Agreement | None, options: RunOptions, place: Place) -> Located:
    """The layers of what disagrees, or see `Localized`. What cannot be localized is a note, and never ends a run."""
    verdicts = _to_localize(agreement, options.localize.which)
    if not verdicts or runtime_name(checkpoint.path) != "keras" or checkpoint.path.suffix.lower() == ".pb":
        return Located()
    progress = place.share("validate")
    rows: list[LocalizedFacts] = []
    notes = [(v.artifact.name, "Not localized: other artifacts of this run were.") for v in verdicts[_AT_MOST:]]
    with tempfile.TemporaryDirectory(prefix="edgeport-twin-") as folder:
        for number, verdict in enumerate(verdicts[:_AT_MOST]):
            twin_folder = Path(folder) / str(number)
            twin_folder.mkdir()
            job = LocalizeJob(options.localize, _limited(options.common))
            twins = Twins(twin_folder, job.common)
            try:
                localization = localize(
                    checkpoint.path,
                    verdict.artifact,
                    twins.make,
                    job,
                    _told(progress, verdict.artifact.name),
                )
            except (EdgeportError, OSError) as error:  # the arrays may be more than the temporary folder's disk holds
                reason = error.message if isinstance(error, EdgeportError) else str(error)
                notes.append((verdict.artifact.name, f"It could not be localized: {reason}"))
                continue
            rows.append(_row(localization, place.staging))
            notes += [(verdict.artifact.name, sentence)] if (sentence := sentence_of(rows[-1])) else []
    return Located(tuple(rows), tuple(notes))


def _told(progress: Progress, name: str) -> Progress:
    """The steps of one artifact, under its name; the share of the whole is not known."""
    return lambda label, _share: progress(f"localize {name}: {label}", 1.0)


def _to_localize(agreement: Agreement | None, which: Localized) -> Sequence[Verdict]:
    """An `.ort` file's tensors have lost their names; it is made from the ONNX file, which is localized."""
    if agreement is None or which is Localized.OFF:
        return ()
    judged = [v for v in agreement.first_verdicts if v.status != "error" and format_of(v.artifact) is not Format.ORT]
    return judged if which is Localized.ALL else [v for v in judged if v.status == DISAGREE]


def _limited(common: Common) -> Common:
    """The settings that all steps share, with less time for a worker: a run is not to wait for a note."""
    seconds = min(common.limits.timeout_s or _TIMEOUT_S, _TIMEOUT_S)
    return replace(common, limits=replace(common.limits, timeout_s=seconds))


def _row(localization: Localization, staging: Path) -> LocalizedFacts:
    document = localization.to_json()
    del document["reference"], document["candidate"]
    row: LocalizedFacts = {"artifact": localization.candidate.relative_to(staging).as_posix(), **document}  # type: ignore[typeddict-item]
    return row


def sentence_of(row: LocalizedFacts) -> str:
    """Which layer is to blame; empty where none parts from the checkpoint."""
    first, suspects = row.get("first_divergent_layer"), row.get("suspects")
    if first is None:
        return ""
    others = f" (or {', '.join(suspects)})" if suspects else ""
    where = ", on inputs beyond their range" if row.get("saturating") else ""
    return f"The first layer to part from the checkpoint is {first}{others}{where}."
