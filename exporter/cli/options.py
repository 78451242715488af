"""Options that several commands share, declared once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from exporter.cli.console import Console

Command = Callable[..., Any]


def output_options(function: Command) -> Command:
    """Adds `--json`, `-v`, `-q`, `--debug` and hands the command a `console`."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors and results.")
    @click.option("--debug", is_flag=True, help="Show tracebacks and what the frameworks say.")
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, verbose: bool, quiet: bool, debug: bool, **kwargs: Any) -> Any:
        verbosity = -1 if quiet else int(verbose)
        return function(*args, console=Console(json=as_json, verbosity=verbosity, debug=debug), **kwargs)

    return wrapped


def source_options(function: Command) -> Command:
    """What `export` and `run` share: what to make of SOURCE, and where."""
    function = opening_options(function)
    for option in reversed(_SOURCE_OPTIONS):
        function = option(function)
    return function


def opening_options(function: Command) -> Command:
    """How a source is opened; `exporter.cli.opening.opening_of` makes an Opening of them."""
    for option in reversed(_OPENING_OPTIONS):
        function = option(function)
    return function


def baking_options(function: Command) -> Command:
    """For a reference whose artifacts were made with `--bake-preprocess`; see `exporter.cli.opening.reference_of`."""
    for option in reversed(_BAKING_OPTIONS):
        function = option(function)
    return function


def sandbox_option(function: Command) -> Command:
    """Adds `--sandbox`: the command runs with its workers in it."""

    @click.option(
        "--sandbox",
        type=click.Choice(["auto", "require", "off"]),
        default="auto",
        show_default=True,
        help="Run workers in bubblewrap: without network, home and other files.",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, sandbox: str, **kwargs: Any) -> Any:
        from converters.sandbox import using

        with using(sandbox):
            return function(*args, **kwargs)

    return wrapped


def limit_options(function: Command) -> Command:
    """Limits of each worker process, and the sandbox around it."""
    function = click.option(
        "--memory-limit", type=click.FloatRange(min=0, min_open=True), metavar="GB", help="Memory a step may use."
    )(function)
    function = click.option(
        "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Time a step may take."
    )(function)
    return sandbox_option(function)


class BatchType(click.ParamType[int | None]):
    """A batch size, or `dynamic`."""

    name = "batch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in (None, "dynamic"):
            return None
        try:
            size = int(value)
        except ValueError:
            size = 0
        if size < 1:
            self.fail(f"--batch {value} is neither a size of 1 or more nor `dynamic`", param, ctx)
        return size


class PairType(click.ParamType[tuple[float, float]]):
    """`LO,HI` with LO below HI."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        try:
            low, high = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"--input-range {value} is not LO,HI", param, ctx)
        if not low < high:
            self.fail(f"--input-range {value}: LO must be below HI", param, ctx)
        return low, high


def _complete_source(_ctx: click.Context, _param: click.Parameter, part: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    from exporter.models.table import ARCHITECTURES

    names = [CompletionItem(name) for name in ARCHITECTURES if name.startswith(part)]
    return [*names, CompletionItem(part, type="file")]


_BAKING_OPTIONS = (
    click.option("--preprocess", multiple=True, metavar="KEY=VALUE",
                 help="What a device does to raw values: scale, mean, std, colour_order, resize."),
    click.option("--bake-preprocess", is_flag=True, help="Artifacts take uint8 and scale it themselves."),
)  # fmt: skip

_SOURCE_OPTIONS = (
    click.argument("source", metavar="SOURCE", shell_complete=_complete_source),
    click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The bundle."),
    click.option("-f", "--format", "formats", multiple=True, metavar="FORMAT",
                 help="savedmodel, tflite, onnx, ort. [all but ort]"),
    click.option("--profile", "profiles", multiple=True, type=click.Choice(["mobile", "server", "microcontroller"]),
                 help="What a kind of device needs, in a folder of its own; repeat for several."),
    click.option("-p", "--precision", "precisions", multiple=True, metavar="PRECISION",
                 help="float32, float16, dynamic_int8, int8, int16x8, dynamic_int4, dynamic_int4_b32, auto. [float32]"),
    click.option("--calibration", metavar="PATH|random", help="Real inputs for int8 and int16x8: .npz, .npy, images."),
    click.option("--calibration-samples", type=click.IntRange(min=1), default=128, show_default=True, metavar="N",
                 help="How many of them to use."),
    click.option("--calibration-method", type=click.Choice(["minmax", "entropy", "percentile"]), default="minmax",
                 show_default=True, help="For ONNX: how ranges are told from the samples."),
    click.option("--io", type=click.Choice(["float", "int8", "uint8"]), show_default="float",
                 help="What int8 TFLite files take and give."),
    click.option("--target-device", type=click.Choice(["cpu", "tensorrt"]), default="cpu", show_default=True,
                 help="What int8 ONNX files are sized for."),
    click.option("--fully-integer", is_flag=True, help="Fail where an int8 file computes something in float."),
    click.option("--labels", multiple=True, metavar="FILE|OUTPUT=FILE", help="Labels of an output, one a line."),
    *_BAKING_OPTIONS,
    click.option("--batch", type=BatchType(), default="dynamic", metavar="N|dynamic", help="Batch size. [dynamic]"),
    click.option("--opset", type=int, metavar="N", help="ONNX opset. [17]"),
    click.option("--allow-flex", is_flag=True, help="Let TFLite use TensorFlow's Flex operations."),
    click.option("--architecture", metavar="NAME", help="For weights files: what they belong to."),
    click.option("--input-shape", metavar="H,W,C", help="For architectures: height, width and channels."),
    click.option("--classes", type=int, metavar="N", help="For architectures: number of classes."),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="For architectures: a setting."),
    click.option("--weights", metavar="PATH|imagenet", help="For architectures: weights to load."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of what is drawn."),
    click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Conversions at a time."),
    click.option("--cache", type=click.Path(path_type=Path), metavar="DIR", help="Share finished artifacts here."),
    click.option("--no-cache", is_flag=True, help="Make everything afresh."),
    click.option("--allow-nonfinite", is_flag=True, help="`run`: let weights pass that hold NaN or infinity."),
    click.option("--force", is_flag=True, help="Replace what is in DIR; what is not ours is kept beside it."),
)  # fmt: skip

_OPENING_OPTIONS = (
    click.option("--signature", metavar="NAME", help="For SavedModels with several signatures: which one."),
    click.option("--custom-objects", multiple=True, metavar="MODULE[:NAME]",
                 help="Where custom classes are found: an import path or a .py file. RUNS its code, in workers only."),
    click.option("--model-code", metavar="MODULE:FUNCTION",
                 help="For weights files: a function that builds the model. RUNS its code, in workers only."),
    click.option("--replace", "replacements", multiple=True, metavar="LAYER=rescaling:SCALE[,OFFSET]",
                 help="Take a layer (a Lambda) for x * SCALE + OFFSET; what it stores is not run."),
    click.option("--allow-unsafe", is_flag=True,
                 help="RUN Python code stored in the file (Lambda); take operations that the scan refuses."),
    click.option("--graph-input", "graph_inputs", multiple=True, metavar="NODE[=batch,H,W,C]",
                 help="For frozen graphs: an input, and its shape where the graph has none. [placeholders]"),
    click.option("--graph-output", "graph_outputs", multiple=True, metavar="NODE",
                 help="For frozen graphs: an output. [nodes that nothing uses]"),
)  # fmt: skip
