"""ONNX Runtime's own profile: a JSON trace with the time, provider and shapes of every node."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.isolation import Message
from validate.latency.profiling.nodes import RUNS, SECONDS, WARM, Node, inputs_of
from validate.runtimes.devices import Device
from validate.runtimes.variant import Variant

_CONVOLUTIONS = {"Conv", "ConvInteger", "QLinearConv", "FusedConv", "NhwcFusedConv"}
_PRODUCTS = {
    "Gemm",
    "MatMul",
    "FusedMatMul",
    "MatMulInteger",
    "DynamicQuantizeMatMul",
    "QGemm",
    "QLinearMatMul",
    "FusedGemm",
    "MatMulIntegerToFloat",
}


def profile(path: Path, request: Message, variant: Variant) -> tuple[list[Node], int]:
    """Mean microseconds of every node, fused as it really ran."""
    nodes, runs, _ = traced(path, request, variant)
    return nodes, runs


def traced(path: Path, request: Message, variant: Variant) -> tuple[list[Node], int, dict[str, dict[str, float]]]:
    """The nodes, the runs, and for each provider its nodes and its microseconds a run."""
    from dataclasses import replace

    from validate.runtimes import open_artifact

    with tempfile.TemporaryDirectory() as folder:
        options = replace(
            variant.options(Device(request["device"]), int(request["threads"])), profile=Path(folder) / "profile"
        )
        runtime: Any = open_artifact(path, options)
        feeds = inputs_of(request, runtime)
        began, runs = time.monotonic(), 0
        while runs < WARM + RUNS and (runs < WARM + 3 or time.monotonic() - began < SECONDS):
            runtime.session.run(None, feeds[runs % len(feeds)])
            runs += 1
        events = json.loads(Path(runtime.session.end_profiling()).read_text(encoding="utf-8"))
    return summed(events, runs)


def summed(events: Sequence[Mapping[str, Any]], runs: int) -> tuple[list[Node], int, dict[str, dict[str, float]]]:
    """A trace's nodes with mean times; the first `WARM` runs are left out, as they are not steady."""
    starts = sorted(e["ts"] for e in events if e["name"] == "model_run")
    since, counted = (starts[WARM], runs - WARM) if len(starts) > WARM else (0, max(1, len(starts)))
    totals: dict[str, tuple[str, float, int | None]] = {}
    providers: dict[str, dict[str, float]] = {}
    for event in events:
        arguments = event.get("args", {})
        if event["cat"] != "Node" or event["ts"] < since or "op_name" not in arguments:
            continue
        name = str(event["name"]).removesuffix("_kernel_time")
        operation, spent, macs = totals.get(name, (arguments["op_name"], 0.0, None))
        totals[name] = operation, spent + event["dur"] / counted, multiply_adds(arguments) if macs is None else macs
        share = providers.setdefault(arguments.get("provider", ""), {"nodes": 0.0, "us": 0.0})
        share["nodes"] += 1 / counted
        share["us"] += event["dur"] / counted
    nodes = [Node(name, operation, spent, macs) for name, (operation, spent, macs) in totals.items()]
    return nodes, counted, providers


def multiply_adds(arguments: Mapping[str, Any]) -> int | None:
    """Of a node from its shapes in the trace: 0 for an operation that does none, None where the shapes do not show it.

    A weight that ONNX Runtime has packed is missing from the shapes; a product's inner size is its first input's last.
    """
    operation = arguments["op_name"]
    if operation not in _CONVOLUTIONS | _PRODUCTS:
        return 0
    inputs = [list(next(iter(shape.values()))) for shape in arguments.get("input_type_shape", [])]
    outputs = [list(next(iter(shape.values()))) for shape in arguments.get("output_type_shape", [])]
    if not inputs or not outputs:
        return None
    if operation in _PRODUCTS:
        return int(math.prod(outputs[0]) * inputs[0][-1])
    kernels = [shape for shape in inputs[1:] if len(shape) == len(inputs[0]) >= 3]
    return int(math.prod(outputs[0]) * math.prod(kernels[0][1:])) if kernels else None
