"""`edgeport build NAME -o FILE`."""

from __future__ import annotations

from pathlib import Path

import click

from converters.errors import UsageError
from exporter.cli.console import Console
from exporter.cli.options import output_options
from exporter.models.build import BuildOptions, build_in_worker, check_destination
from exporter.models.settings import split_assignments
from exporter.models.table import ARCHITECTURES, Shape


def parse_shape(text: str) -> Shape:
    """`"224,224,3"` (or with `x`) as (height, width, channels). Raises UsageError."""
    try:
        height, width, channels = (int(part) for part in text.lower().replace("x", ",").split(","))
    except ValueError:
        raise UsageError(
            f"--input-shape {text} is not H,W,C.", next_step="Give three whole numbers, for example 224,224,3."
        ) from None
    return height, width, channels


@click.command("build")
@click.argument("name", metavar="NAME", shell_complete=lambda _c, _p, part: [n for n in ARCHITECTURES if part in n])
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The .keras file.")
@click.option("--input-shape", metavar="H,W,C", help="Height, width and channels.")
@click.option("--classes", type=int, metavar="N", help="Number of classes.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting (see `edgeport models -v`).")
@click.option("--weights", metavar="PATH|imagenet", help="Weights to load; random ones otherwise.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights.")
@click.option("--force", is_flag=True, help="Overwrite a checkpoint that is there.")
@output_options
def command(
    *,
    name: str,
    output: Path,
    input_shape: str | None,
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
    shape = parse_shape(input_shape) if input_shape else None
    options = BuildOptions(name, shape, classes, split_assignments(assignments), weights, seed)
    options.plan()  # refuse before anything is loaded
    check_destination(output, force=force)
    with console.progress() as progress:
        parameters = build_in_worker(options, output, progress=progress)
    console.document({"path": str(output), "parameters": parameters, "seed": seed})
    console.say(f"{output}: {name}, {parameters:,} parameters")
