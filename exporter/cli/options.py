"""Options that several commands share, declared once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from converters.checks.values import Number
from converters.common import Common
from converters.isolation import Limits
from converters.options import ConvertOptions, QuantizeOptions
from exporter.cli.console import Console
from exporter.cli.types import Bounded, type_of
from exporter.options import BuildChoices, ShipOptions
from validate.agreement.options import JudgeOptions

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
    """Options of `export` and `run`: what to make of SOURCE, and where."""
    function = shape_option(opening_options(function))
    for option in reversed(_SOURCE_OPTIONS):
        function = option(function)
    return function


def signature_option(function: Command) -> Command:
    """`--signature`, of a command that opens artifacts alone."""
    return _SIGNATURE_OPTION(function)


def opening_options(function: Command) -> Command:
    """Options that open a source; `exporter.cli.opening.opening_of` makes LoadOptions of them."""
    for option in reversed(_OPENING_OPTIONS):
        function = option(function)
    return function


def building_options(function: Command) -> Command:
    """What a source lacks that is no whole model; `exporter.cli.opening.choices_of` makes BuildChoices of them."""
    for option in reversed(_BUILDING_OPTIONS):
        function = option(function)
    return function


def shape_option(function: Command) -> Command:
    """Adds `--shape`, of which `exporter.cli.running.shapes` makes a mapping."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        type=type_of(Common, "shapes"),
        metavar="NAME=B,H,W,C",
        help="Run an input whose size is open at this one; B may be `batch`. [what the model needs]",
    )(function)


def metric_options(function: Command) -> Command:
    """Adds `--metric`, `--metric-lower` and `--max-drop`: what the user's task is held to."""
    for option in reversed(_METRIC_OPTIONS):
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
        from converters.isolation.sandbox import using

        with using(sandbox):
            return function(*args, **kwargs)

    return wrapped


def limit_options(function: Command) -> Command:
    """Limits of each worker process, and the sandbox around it."""
    function = click.option("--memory-limit", type=_MEMORY_GB, metavar="GB", help="Memory a step may use.")(function)
    function = click.option(
        "--timeout", type=type_of(Limits, "timeout_s"), metavar="SECONDS", help="Time a step may take."
    )(function)
    return sandbox_option(function)


_MEMORY_GB = Bounded(Number("--memory-limit", 0, above=True))


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

_BUILDING_OPTIONS = (
    click.option("--architecture", metavar="NAME", help="For weights files: what they belong to."),
    click.option("--input-shape", type=type_of(BuildChoices, "input_shape"), metavar="H,W,C",
                 help="For architectures: height, width and channels."),
    click.option("--classes", type=type_of(BuildChoices, "classes"), metavar="N",
                 help="For architectures: number of classes."),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="For architectures: a setting."),
    click.option("--weights", metavar="PATH|imagenet", help="For architectures, model.json too: weights to load."),
)  # fmt: skip

_SOURCE_OPTIONS = (
    click.argument("source", metavar="SOURCE", shell_complete=_complete_source),
    click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The bundle."),
    click.option("-f", "--format", "formats", multiple=True, type=type_of(ConvertOptions, "formats"), metavar="FORMAT",
                 help="savedmodel, tflite, onnx, ort. [all but ort]"),
    click.option("--profile", "profiles", multiple=True, type=type_of(ShipOptions, "profiles"),
                 help="What a kind of device needs, in a folder of its own; repeat for several."),
    click.option("-p", "--precision", "precisions", multiple=True, metavar="PRECISION",
                 type=type_of(ConvertOptions, "precisions"),
                 help="float32, float16, dynamic_int8, int8, int16x8, dynamic_int4, dynamic_int4_b32, auto. [float32]"),
    click.option("--calibration", metavar="PATH|random", help="Real inputs for int8 and int16x8: .npz, .npy, images."),
    click.option("--calibration-samples", type=type_of(QuantizeOptions, "calibration_samples"), default=128,
                 show_default=True, metavar="N", help="How many of them to use."),
    click.option("--calibration-method", type=type_of(QuantizeOptions, "calibration_method"), default="minmax",
                 show_default=True, help="For ONNX: how ranges are told from the samples."),
    click.option("--io", type=type_of(QuantizeOptions, "io"), help="What int8 TFLite files take and give. [float]"),
    click.option("--target-device", type=type_of(QuantizeOptions, "target_device"), default="cpu", show_default=True,
                 help="What int8 ONNX files are sized for."),
    click.option("--fully-integer", is_flag=True, help="Fail where an int8 file computes something in float."),
    click.option("--labels", multiple=True, metavar="FILE|OUTPUT=FILE", help="Labels of an output, one a line."),
    *_BAKING_OPTIONS,
    click.option("--batch", type=type_of(ConvertOptions, "batch"), default="dynamic", metavar="N|dynamic",
                 help="Batch size. [dynamic]"),
    click.option("--opset", type=type_of(ConvertOptions, "opset"), metavar="N", help="ONNX opset. [17]"),
    click.option("--allow-flex", is_flag=True, help="Let TFLite use TensorFlow's Flex operations."),
    *_BUILDING_OPTIONS,
    click.option("--seed", type=type_of(Common, "seed"), default=0, show_default=True, help="Of what is drawn."),
    click.option("--check/--no-check", default=True, show_default=True,
                 help="Open and run each finished file once before it counts as made."),
    click.option("--jobs", type=type_of(ConvertOptions, "jobs"), default=1, show_default=True,
                 help="Conversions at a time."),
    click.option("--cache", type=click.Path(path_type=Path), metavar="DIR", help="Share finished artifacts here."),
    click.option("--no-cache", is_flag=True, help="Make everything afresh."),
    click.option("--allow-nonfinite", is_flag=True, help="`run`: let weights pass that hold NaN or infinity."),
    click.option("--force", is_flag=True, help="Replace what is in DIR; what is not ours is kept beside it."),
)  # fmt: skip

_METRIC_OPTIONS = (
    click.option("--metric", metavar="NAME|MODULE:FUNCTION",
                 help="What the task goes by: top1, top5, f1, miou, mae, or a function of outputs and labels. RUNS its "
                 "code, in workers only."),
    click.option("--metric-lower", is_flag=True, help="Of a function: less is better."),
    click.option("--max-drop", type=type_of(JudgeOptions, "max_drop"), metavar="N",
                 help="How far the metric may fall: in points for shares. Gate on the end of its 95 % interval."),
)  # fmt: skip

_SIGNATURE_OPTION = click.option(
    "--signature", metavar="NAME", help="Of a SavedModel or .tflite with several signatures: which one."
)
_OPENING_OPTIONS = (
    _SIGNATURE_OPTION,
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
