"""`edgeport export SOURCE -o DIR`: converts only; with `--rescue` it judges too, to fix what misses its gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from converters.common import Common
from converters.errors import UsageError
from converters.options import QuantizeOptions
from exporter.cli.console import Console
from exporter.cli.options import limit_options, output_options, source_options
from exporter.cli.types import type_of

_JUDGING = ("samples", "tolerances", "rescue_budget", "allow_inconclusive", "inputs", "input_range")
_CALIBRATING = {"inputs", "input_range"}
"""Options of a judgement that calibration data is held to as well."""


@click.command("export")
@source_options
@click.option("--rescue", is_flag=True, help="Judge each file, and keep layers in float where it misses its gate.")
@click.option(
    "--rescue-budget",
    type=type_of(QuantizeOptions, "rescue_budget"),
    metavar="SHARE",
    help="With --rescue: multiply-adds that may stay float. [0.1]",
)
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Real inputs: what --calibration is compared with and --rescue judges on.",
)
@click.option("--samples", type=type_of(Common, "samples"), metavar="N", help="With --rescue: inputs to draw. [16]")
@click.option(
    "--input-range",
    type=type_of(Common, "input_range"),
    metavar="LO,HI",
    help="Range of float inputs: of --calibration, and of what --rescue draws.",
)
@click.option("--tolerance", "tolerances", multiple=True, metavar="KEY=VALUE", help="With --rescue: override a gate.")
@click.option("--allow-inconclusive", is_flag=True, help="With --rescue: pass where the inputs cannot tell.")
@limit_options
@output_options
def command(*, source: str, output: Path, rescue: bool, console: Console, **chosen: Any) -> int:
    """Convert a checkpoint, without judging or timing the result.

    SOURCE is a .keras or .h5 file of any Keras, a SavedModel folder, a frozen .pb graph, a .tflite or .onnx file,
    weights (.weights.h5, TensorFlow checkpoint) with --architecture or --model-code, or a name of `edgeport models`.
    """
    from exporter.cli.running import run_and_show

    judging = {name: value for name in _JUDGING if (value := chosen.pop(name)) not in (None, (), False)}
    idle = [name for name in judging if not rescue and not (name in _CALIBRATING and chosen["calibration"])]
    if idle:
        raise UsageError(
            f"--{idle[0].replace('_', '-').replace('tolerances', 'tolerance')} is for judging, and a plain export does "
            "not judge.",
            next_step="Add --rescue, or use `edgeport run`.",
        )
    return run_and_show(source, output, chosen | judging | {"judge": rescue, "time": False, "localize": "off"}, console)
