"""`edgeport export SOURCE -o DIR`: converts only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exporter.cli.console import Console
from exporter.cli.options import limit_options, output_options, source_options


@click.command("export")
@source_options
@limit_options
@output_options
def command(*, source: str, output: Path, console: Console, **chosen: Any) -> int:
    """Convert a checkpoint, without judging or timing the result.

    SOURCE is a .keras or .h5 file of any Keras, a SavedModel folder, a frozen .pb graph, a .tflite or .onnx file,
    weights (.weights.h5, TensorFlow checkpoint) with --architecture or --model-code, or a name of `edgeport models`.
    """
    from exporter.cli.running import run_and_show

    return run_and_show(source, output, chosen | {"judge": False, "time": False}, console)
