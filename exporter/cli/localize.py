"""`edgeport localize REFERENCE CANDIDATE`: the first layer, by its Keras name, where they part."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.common import Common
from exporter.cli.console import Console
from exporter.cli.latency_options import target_options
from exporter.cli.options import (
    baking_options,
    building_options,
    limit_options,
    opening_options,
    output_options,
    shape_option,
)
from exporter.cli.types import type_of

if TYPE_CHECKING:
    from validate.localize import Localization

_AROUND = 6


@click.command("localize")
@click.argument("reference", metavar="REFERENCE", type=click.Path(path_type=Path))
@click.argument("candidate", metavar="CANDIDATE", type=click.Path(path_type=Path))
@click.option("--inputs", type=click.Path(path_type=Path), metavar="PATH", help="Run on these: .npz, .npy or images.")
@click.option("--samples", type=type_of(Common, "samples"), default=16, show_default=True, help="At most so many.")
@click.option(
    "--input-range", type=type_of(Common, "input_range"), metavar="LO,HI", help="Draw float inputs from here."
)
@click.option("--seed", type=type_of(Common, "seed"), default=0, show_default=True, help="Of the drawn inputs.")
@click.option("--bisect", is_flag=True, help="Cut the file and run the pieces as they really run; read no tensors.")
@target_options
@shape_option
@opening_options
@building_options
@baking_options
@limit_options
@output_options
def command(*, reference: Path, candidate: Path, console: Console, **chosen: Any) -> int:
    """The first layer, by its Keras name, at which CANDIDATE parts from the checkpoint REFERENCE.

    CANDIDATE is a .tflite or .onnx file, a SavedModel folder or another checkpoint. With --on TARGET it is cut and run
    there, which shows what is wrong on that target alone. Exit code 1 when a layer parts.
    """
    from converters.checkpoints.scan_file import check
    from exporter.cli.opening import reference_of
    from exporter.cli.running import common_of, judging_places
    from exporter.cli.signatures import settled
    from exporter.run.twins import Twins
    from validate.localize import LocalizeJob, LocalizeOptions, localize

    places = judging_places(chosen)
    check(candidate)
    common = settled(common_of(chosen), reference, [candidate])
    with (
        reference_of(reference, common, chosen) as source,
        tempfile.TemporaryDirectory(prefix="edgeport-twin-") as folder,
        console.progress() as progress,
    ):
        job = LocalizeJob(LocalizeOptions(bisect=chosen["bisect"]), common, places)
        twins = Twins(Path(folder), common)
        localization = replace(localize(source, candidate, twins.make, job, progress), reference=reference)
    console.document(localization.to_json())
    _show(localization, console)
    return int(localization.first_divergent_layer is not None)


def _show(localization: Localization, console: Console) -> None:
    columns = ["layer", "kind", "noise ratio", "of it local", "limit", "SQNR dB", ""]
    first = next(
        (k for k, row in enumerate(localization.layers) if row.name == localization.first_divergent_layer), None
    )
    rows = (
        localization.layers
        if console.verbosity > 0
        else localization.layers[max(0, (first or 0) - _AROUND) :][: 2 * _AROUND + 1]
    )
    cells = []
    for row in rows:
        mark = "first to part" if row.name == localization.first_divergent_layer else "parts" if row.diverges else ""
        figures = [(row.local_ratio, ".3g"), (row.limit, ".3g"), (row.sqnr_db, ".1f")]
        shown = ["" if value is None else format(value, form) for value, form in figures]
        ratio = "fused" if row.noise_ratio is None else f"{row.noise_ratio:.3g}"
        cells.append([row.name, row.kind, ratio, *shown, mark])
    title = (
        f"{localization.candidate} against {localization.reference}, layer by layer, on {localization.samples} samples"
    )
    console.table(title, columns, cells)
    for note in localization.notes:
        console.note(note)
    if first is None:
        console.say("No layer parts from the checkpoint on these inputs.")
        return
    others = f" (or {', '.join(localization.suspects)}: the file fuses them)" if localization.suspects else ""
    where = ", on inputs beyond their range" if localization.saturating else ""
    how = ", told by bisection (the file as it really runs)" if localization.bisected else ""
    console.say(f"The first layer to part is {localization.first_divergent_layer}{others}{where}{how}.")
