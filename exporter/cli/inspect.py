"""`edgeport inspect`: what a file holds, without running it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.errors import RefusedError
from exporter.cli.console import Console
from exporter.cli.options import opening_options, output_options, sandbox_option

if TYPE_CHECKING:
    from converters.checkpoints.load_options import LoadOptions

_TOP_OPS = 20


@click.command(name="inspect", short_help="Tell what a file holds, without running it.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--scan", "scan_only", is_flag=True, help="Only whether it may be opened: exit 0, or 3 with the reasons.")
@click.option("--weights", metavar="PATH", help="Of model.json: its weights. [beside it]")
@opening_options
@sandbox_option
@output_options
def command(path: Path, scan_only: bool, console: Console, **chosen: Any) -> int:
    """Tell what PATH holds, without running it: signature, parameters, operations, precision, opset, digest.

    PATH is a .keras, .h5, .weights.h5, .pb, .tflite, .onnx or .ort file, a SavedModel folder or a TensorFlow
    checkpoint. No framework is loaded, and no code of the file or yours is run.
    """
    from exporter.cli.opening import opening_of, whole_file

    opening = opening_of(chosen)
    with whole_file(path, chosen["weights"]) as file:
        if scan_only:
            return _scan(file, path, opening, console)
        from exporter.inspection import inspect

        document = inspect(file, opening) | {"path": str(path)}
    console.document(document)
    _show(document, console)
    return 0


def _scan(file: Path, path: Path, opening: LoadOptions, console: Console) -> int:
    """Under `--json` the one document is both the findings and the error. `path` is what the user gave for `file`."""
    from converters.checkpoints.scan_file import scan

    report = replace(scan(file, opening), path=path)
    if report.clean:
        console.document(report.to_json())
        console.say(f"{path} passes the scan ({report.kind}).")
        for note in report.notes:
            console.say(f"note: {note}")
        return 0
    finding = report.findings[0]
    message = finding.message.replace(str(file), str(path))
    error = RefusedError(message, next_step=finding.next_step, file=path, step="scan")
    if console.json:
        console.document(report.to_json() | {"error": error.to_json()})
    else:
        console.error(error)
    return error.exit_code


def _show(document: dict[str, Any], console: Console) -> None:
    opset = "" if document["opset"] is None else f", opset {document['opset']}"
    console.say(f"{document['path']}: {document['format']}, {document['precision']}{opset}")
    console.say(f"{document['parameters']:,} parameters, {document['size_bytes']:,} bytes")
    console.say(f"sha256 {document['sha256']}")
    rows = [
        [side, tensor["name"], " x ".join(str(d) for d in tensor["shape"]) or "scalar", tensor["dtype"]]
        for side, tensors in (("input", document["inputs"]), ("output", document["outputs"]))
        for tensor in tensors
    ]
    if rows:
        console.table("", ["", "name", "shape", "dtype"], rows)
    _show_ops(document, console)
    if document["integer"]:
        _show_integer(document["integer"], console)
    for note in document["notes"]:
        console.say(f"note: {note}")


def _show_ops(document: dict[str, Any], console: Console) -> None:
    ops = document["ops"]
    if ops:
        what = "layer" if document["format"] in ("keras", "h5") else "operation"
        shown = list(ops.items()) if console.verbosity > 0 else list(ops.items())[:_TOP_OPS]
        console.table("", [what, "count"], [[name, str(count)] for name, count in shown])
        if len(ops) > len(shown):
            console.say(f"and {len(ops) - len(shown)} more kinds; -v shows all")
    for key, words in (("flex_ops", "Flex (TensorFlow) operations"), ("custom_ops", "custom operations")):
        if document[key]:
            console.say(f"{words}: {', '.join(document[key])}")


def _show_integer(integer: dict[str, Any], console: Console) -> None:
    shares = {"integer": integer["integer_macs_share"], "hybrid": integer["hybrid_macs_share"]}
    figures = ", ".join(f"{share:.1%} {word}" for word, share in shares.items() if share is not None)
    console.say(
        f"by {integer['basis']}: {integer['integer_operations']} of {integer['operations']} operations are integer"
        + (f"; multiply-adds: {figures}" if figures else "")
    )
    places = list(dict.fromkeys(f"{island['layer']} ({island['operation']})" for island in integer["islands"]))
    if places:
        shown = places if console.verbosity > 0 else places[:_TOP_OPS]
        console.say(f"computed in float: {', '.join(shown)}" + (", ..." if len(places) > len(shown) else ""))
