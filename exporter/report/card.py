"""`MODEL_CARD.md`: the facts that a run knows, and gaps for those that only the model's author can tell.

Headings follow Mitchell et al., "Model Cards for Model Reporting" (2019), in the order that model hubs use.
"""

from __future__ import annotations

import json

from exporter.manifest.passing import passing
from exporter.manifest.schema import Manifest
from exporter.report import facts, view
from exporter.report import wording as say
from exporter.report.choice import choices, unproven
from exporter.report.commands import commands
from exporter.report.headline import headline
from exporter.report.markdown import code, fenced, grid, text
from exporter.report.samples import class_names
from validate.agreement.rows import JudgedRow

_BY_AUTHOR = "_Not known to edgeport. To be written by the author: {}_"
_FLAGS = {
    "tainted": "timings were disturbed by other work on the machine",
    "precision_not_reached": "timings did not reach the precision asked for",
}


def render_card(manifest: Manifest) -> str:
    """The card as Markdown with a YAML head. Text from files is escaped as in `report.md`."""
    title = say.clean(manifest.source.path.rstrip("/").rsplit("/", 1)[-1])
    parts = [
        _head(manifest),
        f"# {text(title)}",
        text(headline(manifest).sentence),
        "Made by edgeport. What follows was measured or read from the files; what edgeport cannot know says so. "
        "Copy this card before you add to it: the next run writes it afresh.",
        "## Model",
        _pairs(manifest),
        grid(view.signature(manifest)),
        *_preprocessing(manifest),
        *_answers(manifest),
        "## Intended use",
        _BY_AUTHOR.format("what the model is for, and what it must not be used for."),
        "## Training data",
        _BY_AUTHOR.format("what it was trained on, the licence of the data and of the weights."),
        "## Files",
        grid(view.summary(manifest)),
        *_chosen(manifest),
        "## Evaluation",
        *_evaluation(manifest),
        "## Latency",
        *_latency(manifest),
        "## Limits",
        "\n".join(f"- {text(limit)}" for limit in _limits(manifest)),
        "## Make it again",
        fenced("\n".join(_again(manifest))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(manifest: Manifest) -> str:
    """YAML that model hubs read; JSON strings are YAML strings, so no name can end the head."""
    tags = ["edgeport", *dict.fromkeys(row.format.value for row in manifest.artifacts)]
    lines = [f"  - {json.dumps(tag)}" for tag in tags]
    return "\n".join(["---", "library_name: keras", "tags:", *lines, "---"])


def _pairs(manifest: Manifest) -> str:
    source = manifest.source
    rows = [
        ("Checkpoint", _name(source.path)),
        ("Kind", text(source.kind)),
        ("SHA-256", code(source.sha256)),
        ("Parameters", "not known" if source.parameters is None else facts.grouped(source.parameters)),
        ("Bundle", code(manifest.content_digest or "not sealed")),
    ]
    return "\n".join(f"- {what}: {value}" for what, value in rows)


def _preprocessing(manifest: Manifest) -> list[str]:
    """What a device has to feed, which nobody knows of a range that was assumed."""
    listed = facts.flat(facts.input_values(manifest), "")
    return ["Input values: " + "; ".join(f"{text(say.clean(f'{k} {v}'))}" for k, v in listed) + "."] if listed else []


def _answers(manifest: Manifest) -> list[str]:
    """The meaning of each output's classes, where the contract says it."""
    sentences = []
    for tensor in manifest.signature.outputs:
        labels = [say.clean(label) for label in class_names(manifest.contract, tensor.name)]
        if labels:
            sentences.append(f"Output {_name(tensor.name)} has {len(labels)} labels: {text(', '.join(labels))}.")
    return sentences


def _name(raw: str) -> str:
    return code(say.clean(raw))


def _chosen(manifest: Manifest) -> list[str]:
    chosen = choices(manifest).items()
    lines = [f"Recommended on {text(say.clean(device))}: {_name(path)}." for device, path in chosen]
    return [*lines, *([text(unsure)] if (unsure := unproven(manifest)) else [])]


def _evaluation(manifest: Manifest) -> list[str]:
    table = view.agreement(manifest)
    accuracies = [text(score) for verdict in manifest.first_verdicts for score in _scores(verdict)]
    scores = ["\n".join(f"- {score}" for score in accuracies)] if accuracies else []
    data = "the evaluation data, and the accuracy by group of people or kind of input."
    judged = (
        [grid(table), text(table.note)] if table.rows else ["The artifacts were not judged against the checkpoint."]
    )
    return [*judged, *scores, _BY_AUTHOR.format(data)]


def _scores(verdict: JudgedRow) -> list[str]:
    """`digits.int8.tflite: top1 98.8 % [97.4 %, 99.6 %]`, of outputs that labels were given for."""
    lines = []
    for output in verdict.outputs:
        for name, score in (output.scores or {}).items():
            if "value" in score:
                bounds = f" [{say.percent(score.get('low'))}, {say.percent(score.get('high'))}]"
                lines.append(f"{say.clean(verdict.artifact)}: {name} {say.percent(score['value'])}{bounds}")
    return lines


def _latency(manifest: Manifest) -> list[str]:
    table = view.latency(manifest)
    name = manifest.environment.get("host", {}).get("cpu")
    cpu = f"On {say.clean(name)}." if name else ""
    return [text(cpu), grid(table)] if table.rows else ["Nothing was timed."]


def _limits(manifest: Manifest) -> list[str]:
    """The findings of the run itself that a user must know."""
    lines = [f"{row.format.value} {row.precision.value} could not be made: {row.reason}" for row in manifest.failures]
    lines += [miss.sentence for miss in passing(manifest, allow_inconclusive=False).misses]
    lines += [note for row in manifest.artifacts for note in row.notes]
    lines += [note for verdict in manifest.first_verdicts for note in verdict.notes]
    flags = {flag for row in manifest.timings for flag in row.flags}
    lines += [f"{words.capitalize()}." for flag, words in _FLAGS.items() if flag in flags]
    lines.append("Latency holds for the machine named above; agreement holds for inputs like those judged on.")
    return list(dict.fromkeys(say.clean(line) for line in lines))


def _again(manifest: Manifest) -> list[str]:
    again = commands(manifest)
    return [line for line in (again["run"], again["verify"], again["samples"]) if line]
