"""The graph that a runtime executes for a quantized file, as ONNX Runtime writes it down."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.checkpoints.parts import parts_of
from converters.errors import EdgeportError
from converters.formats import Format, Precision
from converters.isolation import Channel, Limits, run_step
from converters.readers.keras_file import read_keras
from exporter.inspection.configs import objects_in
from exporter.inspection.integer import IntegerReport, count_executed, count_integers

_COUNTED = {
    Precision.DYNAMIC_INT8,
    Precision.INT8,
    Precision.INT16X8,
    Precision.DYNAMIC_INT4,
    Precision.DYNAMIC_INT4_B32,
}


def count_all(
    artifacts: Sequence[Artifact], limits: Limits = Limits(), log: Path | None = None
) -> dict[str, IntegerReport]:
    """By file name, the report of each quantized artifact; ONNX files by the graph that is executed."""
    quantized = [a for a in artifacts if a.precision in _COUNTED]
    reports: dict[str, IntegerReport] = {}
    with tempfile.TemporaryDirectory(prefix="edgeport-executed-") as folder:
        pairs = {a.path: Path(folder) / f"{k}.onnx" for k, a in enumerate(quantized) if a.format is Format.ONNX}
        request = {"pairs": [[str(a), str(b)] for a, b in pairs.items()]}
        try:
            if pairs:
                run_step(
                    "exporter.inspection.executed:write_executed",
                    request,
                    step="inspect",
                    limits=limits,
                    log=log,
                    reads=[part for path in pairs for part in parts_of(path)],
                    writes=[Path(folder)],
                )
        except EdgeportError:
            pairs = {}  # the verdict tells of a file that does not open; here the file's own types must do
        for artifact in quantized:
            optimized = pairs.get(artifact.path)
            report = (
                count_executed(artifact.path, optimized)
                if optimized is not None and optimized.is_file()
                else count_integers(artifact.path, artifact.format)
            )
            if report is not None:
                reports[artifact.path.name] = report
    return reports


def write_executed(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Worker: for each `[file, path]`, writes the graph that ONNX Runtime executes on the CPU."""
    import onnxruntime as ort

    for source, target in request["pairs"]:
        options = ort.SessionOptions()
        options.optimized_model_filepath = target
        options.log_severity_level = 3
        ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return {}


def layer_names(path: Path) -> Collection[str]:
    """The layers' names in a `.keras` file, nested ones too; empty for other sources, whose paths must do."""
    if path.is_dir() or path.suffix != ".keras":
        return ()
    try:
        config = read_keras(path).config
    except EdgeportError:
        return ()
    names: set[str] = set()
    for item in objects_in(config):
        settings = item.get("config")
        if "class_name" in item and isinstance(settings, dict) and isinstance(settings.get("name"), str):
            names.add(settings["name"])
    return names
