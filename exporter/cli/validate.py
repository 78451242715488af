"""`edgeport validate REFERENCE CANDIDATE...`: does each candidate compute what the reference computes?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.checks.values import no_such
from converters.common import Common
from converters.errors import UsageError, error_from_json
from converters.shapes import shapes_text
from exporter.cli.console import Console
from exporter.cli.latency_options import target_options
from exporter.cli.options import (
    baking_options,
    building_options,
    limit_options,
    metric_options,
    opening_options,
    output_options,
    shape_option,
)
from exporter.cli.types import type_of

if TYPE_CHECKING:
    from exporter.manifest.rows import Passing
    from validate.agreement import Agreement, JudgeJob, Verdict


@click.command("validate")
@click.argument("reference", metavar="REFERENCE", type=click.Path(path_type=Path))
@click.argument("candidates", metavar="CANDIDATE...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--inputs", type=click.Path(path_type=Path), metavar="PATH", help="Judge on these: .npz, .npy or images.")
@click.option(
    "--samples", type=type_of(Common, "samples"), default=16, show_default=True, help="Inputs to draw otherwise."
)
@click.option(
    "--input-range", type=type_of(Common, "input_range"), metavar="LO,HI", help="Draw float inputs from here."
)
@click.option("--seed", type=type_of(Common, "seed"), default=0, show_default=True, help="Of the drawn inputs.")
@click.option(
    "--map", "mapping", multiple=True, metavar="THEIRS=OURS", help="A candidate's name for an input or output. [found]"
)
@click.option("--tolerance", "tolerances", multiple=True, metavar="KEY=VALUE", help="Override a gate.")
@target_options
@metric_options
@click.option("--allow-inconclusive", is_flag=True, help="Pass where the inputs cannot tell.")
@click.option("--matrix", is_flag=True, help="Every file named is the reference in turn.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the verdicts as JUnit XML.")
@click.option("--cache", type=click.Path(path_type=Path), metavar="DIR", help="Keep what the float64 oracle gave.")
@click.option("--self-test", is_flag=True, help="Break REFERENCE in known ways: is each fault caught on these inputs?")
@click.option("-f", "--format", "formats", multiple=True, metavar="FORMAT", help="For --self-test. [tflite and onnx]")
@shape_option
@opening_options
@building_options
@baking_options
@limit_options
@output_options
def command(
    *, reference: Path, candidates: tuple[Path, ...], allow_inconclusive: bool, console: Console, **chosen: Any
) -> int:
    """Compare artifacts with a reference: a checkpoint, or any artifact.

    CANDIDATE is a .tflite or .onnx file, a SavedModel folder, or a bundle, of which all artifacts are judged. Exit code
    1 when one disagrees or the inputs cannot tell.
    """
    from exporter.cli.bundles import artifacts_of
    from exporter.cli.junit import junit, verdict_case, write_text
    from exporter.cli.mapping import check_mapping, mapping_of
    from exporter.cli.opening import reference_of
    from exporter.cli.running import common_of, judging_places, tolerances
    from exporter.cli.signatures import settled
    from validate.agreement import JudgeJob, JudgeOptions
    from validate.agreement.compare import compare

    common = common_of(chosen)
    places = judging_places(chosen)
    words = {name: chosen.pop(name) for name in ("metric", "metric_lower", "max_drop")}
    judge_options = JudgeOptions(tolerances(chosen.pop("tolerances")), allow_inconclusive, **words)
    self_test, formats, matrix = chosen.pop("self_test"), chosen.pop("formats"), chosen.pop("matrix")
    report = chosen.pop("junit")
    if report is not None and (self_test or matrix):
        raise UsageError("--junit is of verdicts on files.", next_step="Leave --self-test and --matrix out.")
    if not candidates and not self_test:
        raise UsageError(
            "There is nothing to compare.", next_step="Name the artifacts to compare, or give --self-test."
        )
    paths = [path for candidate in candidates for path in artifacts_of(candidate, console)]
    common = settled(common, reference, paths)
    with reference_of(reference, common, chosen) as source:
        job = JudgeJob(judge_options, common, places, cache=chosen["cache"], mapping=mapping_of(chosen["mapping"]))
        if self_test:
            return _self_test(source, candidates, formats, job, console)
        check_mapping(job.mapping or {}, source, paths, common)
        if matrix:
            return _matrix([source, *paths], job, allow_inconclusive, console)
        with console.progress() as progress:
            agreement = replace(compare(source, paths, job, progress), reference=reference)
    _raise_if_nothing_ran(agreement)
    passing = _passing([agreement], allow_inconclusive)
    if report is not None:
        cases = [verdict_case(verdict.row, passing.misses) for verdict in agreement.verdicts]
        write_text(report, junit("edgeport validate", "edgeport.validate", cases))
    console.document(agreement.to_json() | {"passing": passing.to_document()})
    _show(agreement, console)
    return int(not passing.ok)


def _passing(agreements: Sequence[Agreement], allow_inconclusive: bool) -> Passing:
    from exporter.manifest.passing import verdict_misses
    from exporter.manifest.rows import Passing

    verdicts = (verdict for agreement in agreements for verdict in agreement.verdicts)
    misses = verdict_misses(verdicts, allow_inconclusive=allow_inconclusive)
    return Passing.of(misses, allow_inconclusive=allow_inconclusive)


def _raise_if_nothing_ran(agreement: Agreement) -> None:
    """Where no candidate could be run, the first one's error is the command's (design: Exit codes)."""
    errors = [verdict.error for verdict in agreement.verdicts if verdict.error is not None]
    if errors and len(errors) == len(agreement.verdicts):
        raise error_from_json(dict(errors[0]))


def _self_test(
    reference: Path, candidates: tuple[Path, ...], formats: tuple[str, ...], job: JudgeJob, console: Console
) -> int:
    """The known faults, each caught or not; exit code 1 when one survives."""
    from exporter.run.twins import WRITE
    from validate.mutants import self_test

    if candidates:
        raise UsageError(
            "--self-test breaks the checkpoint and takes no artifacts.", next_step="Leave the artifacts out."
        )
    with console.progress() as progress:
        outcome = self_test(reference, WRITE, _checked_formats(formats) or ("tflite", "onnx"), job, progress)
    console.document(outcome.to_json())
    rows = []
    for row in outcome.rows:
        ratio = "" if row.noise_ratio is None else f"{row.noise_ratio:.3g}"
        rows.append([row.mutant, row.subject, row.layer or "", row.status, ratio])
    title = f"Faults in {reference} on {outcome.samples} samples"
    console.table(title, ["fault", "in", "layer", "status", "noise ratio"], rows)
    if outcome.unexercised:
        console.say(f"Not exercised by these inputs: {', '.join(outcome.unexercised)}.")
    if not outcome.passed:
        missed = sorted({row.mutant for row in outcome.rows if row.status == "survived"})
        if missed:
            console.say(f"The inputs are too weak for: {', '.join(missed)}. Give more or real --inputs.")
        for row in outcome.rows:
            if row.status == "error":
                console.say(f"{row.mutant} in {row.subject} could not be judged: {row.reason}")
        if outcome.false_alarms:
            console.say(f"The healthy {', '.join(outcome.false_alarms)} file does not pass either; validate it first.")
    return int(not outcome.passed)


def _matrix(paths: list[Path], job: JudgeJob, allow_inconclusive: bool, console: Console) -> int:
    """Every path against every other; the first one's inputs are used throughout."""
    from exporter.cli.signatures import keys_of
    from validate.agreement.compare import compare

    agreements = []
    with console.progress() as progress:
        for k, reference in enumerate(paths):
            others = [path for path in paths if path != reference]
            progress(reference.name, k / len(paths))
            key = job.common.signature
            opening = replace(job.common.opening, signature=key if key in keys_of(reference) else None)
            agreements.append(compare(reference, others, replace(job, common=replace(job.common, opening=opening))))
            ranges = list(agreements[0].ranges.values())
            if job.common.inputs is None and job.common.input_range is None and len(ranges) == 1:
                job = replace(job, common=replace(job.common, input_range=(ranges[0].low, ranges[0].high)))
    passing = _passing(agreements, allow_inconclusive)
    console.document({"matrix": [agreement.to_json() for agreement in agreements], "passing": passing.to_document()})
    rows = []
    for agreement in agreements:
        by_path = {verdict.artifact: verdict for verdict in agreement.first_verdicts}
        cells = [_cell(by_path[path]) if path in by_path else "" for path in paths]
        rows.append([agreement.reference.name, *cells])
    console.table("Row: reference. Column: candidate", ["", *(path.name for path in paths)], rows)
    return int(not passing.ok)


def _cell(verdict: Verdict) -> str:
    """The status and the figure that was gated."""
    ratios = [row.noise_ratio for row in verdict.outputs if row.noise_ratio is not None]
    if ratios:
        return f"{verdict.status} {max(ratios):.2f}x"
    levels = [row.sqnr_db for row in verdict.outputs if row.sqnr_db is not None]
    return f"{verdict.status} {min(levels):.0f} dB" if levels else verdict.status


def _checked_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    names = ("savedmodel", "tflite", "onnx")
    for name in formats:
        if name not in names:
            raise no_such("format", name, names)
    return formats


def _show(agreement: Agreement, console: Console) -> None:
    from exporter.report.cost import COST, cost_words, loss_words

    columns = ["artifact", "verdict", "output", "basis", COST.lower(), "gate", "loss", "SQNR dB", "max abs", "accuracy"]
    rows = []
    for verdict in agreement.verdicts:
        name = _placed(verdict)
        if not verdict.outputs:
            rows.append([name, verdict.status, *[""] * 8])
        for row in verdict.outputs:
            figures = (
                (row.sqnr_db, ".1f"),
                (row.max_abs, ".2e"),
                (row.accuracy, ".1%"),
            )
            cells = [format(value, form) if value is not None else "" for value, form in figures]
            rows.append([name, row.status, row.name, row.basis, *cost_words(row), loss_words(row.loss), *cells])
    shapes = shapes_text(agreement.shapes)
    at = f" of {shapes}" if shapes else ""
    console.table(f"Against {agreement.reference} on {agreement.samples} samples{at}", columns, rows)
    if agreement.unexercised:
        console.say(f"No input crosses the bend of: {', '.join(agreement.unexercised)}.")
    for line in (*agreement.doubts, *agreement.notes):
        console.say(line)
    for verdict in agreement.verdicts:
        if verdict.mapping:
            names = ", ".join(f"{theirs} is {ours}" for theirs, ours in verdict.mapping.items())
            console.say(f"{verdict.artifact.name}: {names} (--map THEIRS=OURS says otherwise).")
        if verdict.status != "agree":
            console.say(f"{_placed(verdict)}: {verdict.status}: {verdict.reason}")
        elif verdict.loss is not None and verdict.loss.status != "kept":
            console.say(f"{_placed(verdict)}: {verdict.loss.status}: {verdict.loss.reason}")
        if (arena := verdict.row.arena) is not None:
            console.say(f"{_placed(verdict)}: it starts in a tensor arena of {arena.least} bytes.")
    for missing in agreement.unavailable:
        console.say(f"{missing.artifact.name}, {missing.place.target}: {missing.reason} {missing.next}")


def _placed(verdict: Verdict) -> str:
    """The file's name, with where it was run where that is not the host in its default setting."""
    name, row = verdict.artifact.name, verdict.row
    if (row.target, row.setting) == ("host", "default"):
        return name
    computed = f", in {row.precision_computed}" if row.precision_computed != row.precision else ""
    return f"{name} ({row.where}, {row.setting}{computed})"
