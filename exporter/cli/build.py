"""`edgeport build NAME -o FILE`."""

from __future__ import annotations

from pathlib import Path

import click

from converters.common import Common
from exporter.cli.console import Console
from exporter.cli.options import output_options
from exporter.cli.types import type_of
from exporter.models.build import BuildOptions, build_in_worker, check_destination
from exporter.models.settings import split_assignments
from exporter.models.table import ARCHITECTURES, Shape
from exporter.options import BuildChoices


@click.command("build")
@click.argument("name", metavar="NAME", shell_complete=lambda _c, _p, part: [n for n in ARCHITECTURES if part in n])
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The .keras file.")
@click.option(
    "--input-shape", type=type_of(BuildChoices, "input_shape"), metavar="H,W,C", help="Height, width and channels."
)
@click.option("--classes", type=type_of(BuildChoices, "classes"), metavar="N", help="Number of classes.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting (see `edgeport models -v`).")
@click.option("--weights", metavar="PATH|imagenet", help="Weights to load; random ones otherwise.")
@click.option("--seed", type=type_of(Common, "seed"), default=0, show_default=True, help="Of the random weights.")
@click.option("--force", is_flag=True, help="Overwrite a checkpoint that is there.")
@output_options
def command(
    *,
    name: str,
    output: Path,
    input_shape: Shape | None,
    classes: int | None,
    assignments: tuple[str, ...],
    weights: str | None,
    seed: int,
    force: bool,
    console: Console,
) -> None:
    """Build an architecture and write a .keras checkpoint.

    NAME is one of `edgeport models`. The same command writes the same bytes.
    """
    options = BuildOptions(name, input_shape, classes, split_assignments(assignments), weights, seed)
    options.plan()  # refuse before anything is loaded
    check_destination(output, force=force)
    with console.progress() as progress:
        parameters = build_in_worker(options, output, progress=progress)
    console.document({"path": str(output), "parameters": parameters, "seed": seed})
    console.say(f"{output}: {name}, {parameters:,} parameters")
