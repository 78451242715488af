"""`edgeport run SOURCE -o DIR`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from converters.common import Common
from converters.options import QuantizeOptions
from exporter.cli.console import Console
from exporter.cli.latency_options import session_options, target_options
from exporter.cli.options import limit_options, metric_options, output_options, source_options
from exporter.cli.types import Numbers, type_of
from exporter.options import Choice
from validate.latency.options import BenchOptions
from validate.localize.options import LocalizeOptions
from validate.targets import Places

_DEVICES = type_of(Places, "devices")


@click.command("run")
@source_options
@click.option("--inputs", type=click.Path(path_type=Path), metavar="PATH", help="Judge on these: .npz, .npy or images.")
@click.option(
    "--samples", type=type_of(Common, "samples"), default=16, show_default=True, help="Inputs to draw otherwise."
)
@click.option(
    "--input-range", type=type_of(Common, "input_range"), metavar="LO,HI", help="Draw float inputs from here."
)
@click.option("--tolerance", "tolerances", multiple=True, metavar="KEY=VALUE", help="Override a gate.")
@metric_options
@click.option("--allow-inconclusive", is_flag=True, help="Pass where the inputs cannot tell.")
@click.option("--device", "devices", multiple=True, type=_DEVICES, help="Where to time; repeat for several. [cpu]")
@target_options
@click.option(
    "--threads",
    multiple=True,
    type=Numbers(BenchOptions, "threads"),
    metavar="N,...",
    help="For timing. [physical cores]",
)
@session_options
@click.option(
    "--max-seconds",
    type=type_of(BenchOptions, "max_seconds"),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Of timing, in all.",
)
@click.option("--require", multiple=True, type=_DEVICES, help="Exit with 4 when this device cannot be used.")
@click.option(
    "--rescue-budget",
    type=type_of(QuantizeOptions, "rescue_budget"),
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Multiply-adds that may stay float where a precision misses its gate; 0 is off.",
)
@click.option(
    "--objective",
    type=type_of(Choice, "objective"),
    default="latency",
    show_default=True,
    help="What the recommended artifact is chosen by.",
)
@click.option("--max-latency", type=type_of(Choice, "max_latency_ms"), metavar="MS", help="Gate on the p50.")
@click.option("--max-size", type=type_of(Choice, "max_size_mb"), metavar="MB", help="Gate on the size.")
@click.option(
    "--min-agreement", type=type_of(Choice, "min_agreement"), metavar="SHARE", help="Gate on samples of like class."
)
@click.option("--allow-unproven", is_flag=True, help="Recommend also what is not proven to keep its decisions.")
@click.option(
    "--localize",
    type=type_of(LocalizeOptions, "which"),
    default="auto",
    show_default=True,
    help="Name the layers to blame: of what disagrees, of every artifact, of none.",
)
@click.option("--selfcheck/--no-selfcheck", default=True, help="Write programs by which a device checks itself. [yes]")
@limit_options
@output_options
def command(*, source: str, output: Path, console: Console, **chosen: Any) -> int:
    """The main job: export, validate, bench, bundle, report.

    SOURCE is a .keras or .h5 file of any Keras, a SavedModel folder, a frozen .pb graph, a .tflite or .onnx file,
    weights (.weights.h5, TensorFlow checkpoint) with --architecture or --model-code, or a name of `edgeport models`.
    DIR becomes a bundle: artifacts, golden vectors, report.html, manifest.json with digests.
    """
    from exporter.cli.running import run_and_show

    return run_and_show(source, output, chosen, console)
