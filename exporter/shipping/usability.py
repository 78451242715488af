"""Which operations CoreML, NNAPI, XNNPACK and the GPU delegate would take of a model, and why not the others.

CoreML and NNAPI are told by ONNX Runtime's own checker, which knows the operators and limits of its providers; the GPU
delegate by LiteRT's analyzer. Neither runs anything: both say what may work. XNNPACK is measured: LiteRT is asked which
operations it handed over, on the machine at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.checkpoints.parts import parts_of
from converters.compat.onnxruntime import USABILITY
from converters.errors import EdgeportError
from converters.formats import Format, Precision
from converters.isolation import Channel, Limits, run_step
from validate.compat.litert import ANALYZER, operations_in

_MOST = 50
"""Operations listed one by one; `not_taken` counts all."""

_YES, _MAYBE, _NO = "yes", "maybe", "no"
_WARNING = "GPU COMPATIBILITY WARNING:"
_PARTS = "it is split into {} parts, and each change between them and the CPU costs a copy"


def usability(
    artifacts: Sequence[Artifact], base: Artifact | None, limits: Limits, log: Path | None
) -> list[dict[str, Any]]:
    """The manifest's `shipping.mobile.usability`: `{artifact, delegate, basis, verdict, operations, taken, parts,
    not_taken[]}` for every pair of an artifact and what could speed it up.

    Args:
        base: the float32 ONNX file that `.ort` files are made from; the checker does not read theirs.
    """
    rows: list[dict[str, Any]] = []
    for artifact in artifacts:
        request = {"path": str(artifact.path), "format": artifact.format.value}
        if artifact.format is Format.ORT:
            if base is None or artifact.precision is not Precision.FLOAT32:
                continue
            request["path"] = str(base.path)
        try:
            reads = parts_of(Path(request["path"]))
            answer = run_step(
                "exporter.shipping.usability:examine", request, step="usability", limits=limits, log=log, reads=reads
            )
        except EdgeportError as error:
            rows.append(
                {"artifact": artifact.path.name, "delegate": "all", "verdict": "unknown", "reason": error.message}
            )
            continue
        rows += [{"artifact": artifact.path.name, **row} for row in answer["rows"]]
    return rows


def examine(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Worker: the rows of one file."""
    path = Path(request["path"])
    if Format(request["format"]) is Format.TFLITE:
        return {"rows": [_xnnpack(path), _gpu(path)]}
    return {"rows": _onnx_providers(path)}


def _onnx_providers(path: Path) -> list[dict[str, Any]]:
    checker = USABILITY.get()
    shaped = checker.ModelProtoWithShapeInfo(path)
    model = shaped.model_with_shape_info
    rows = []
    for delegate, config in (
        ("coreml-mlprogram", "coreml_supported_mlprogram_ops.md"),
        ("coreml-neuralnetwork", "coreml_supported_neuralnetwork_ops.md"),
    ):
        rows.append(_row(delegate, model, checker.check_coreml_partitions(model, False, config)))
    return [*rows, _row("nnapi", model, checker.check_nnapi_partitions(model, True))]


def _row(delegate: str, model: Any, info: Any) -> dict[str, Any]:
    taken = {node.name for group in info.supported_groups for node in group}
    reasons = {
        name: reason
        for names, reason in (
            (info.ops_with_unsupported_rank, "its input has more dimensions than the provider takes"),
            (info.unsupported_ops, "the provider has no such operation"),
        )
        for name in names
    }
    not_taken = [
        {
            "name": node.name,
            "operation": node.op_type,
            "reason": reasons.get(f"{node.domain or 'ai.onnx'}:{node.op_type}", "a shape is not known before it runs"),
        }
        for node in model.graph.node
        if node.name not in taken
    ]
    verdict = (_NO, _MAYBE, _YES)[int(info.suitability())]
    caveats = [" ".join(text.split()) for text in info.supported_ops_checker.get_caveats()]
    return _finding(
        delegate,
        "ONNX Runtime's usability checker; nothing was run",
        verdict,
        {"operations": info.num_nodes, "taken": info.num_supported_nodes, "parts": info.num_partitions},
        not_taken,
    ) | {"caveats": caveats}


def _finding(
    delegate: str, basis: str, verdict: str, counts: Mapping[str, int], not_taken: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    missed = counts["operations"] - counts["taken"]
    sentences = [f"{missed} operation{'s stay' if missed > 1 else ' stays'} on the CPU"] if missed else []
    if counts["parts"] > 1:
        sentences.append(_PARTS.format(counts["parts"]))
    reason = "; ".join(sentences) or "It takes all of it"
    return {
        "delegate": delegate,
        "basis": basis,
        "verdict": verdict,
        **counts,
        "reason": f"{reason[0].upper()}{reason[1:]}.",
        "not_taken": [dict(entry) for entry in not_taken[:_MOST]],
    }


def _gpu(path: Path) -> dict[str, Any]:
    text = ANALYZER.get()(str(path), True, True)
    operation, operations = ("", ""), 0
    not_taken: list[dict[str, str]] = []
    for line in text.splitlines():
        if match := re.match(r"\s*Op#(\d+) (\w+)\(", line):
            operation, operations = (match.group(1), match.group(2)), operations + 1
        elif _WARNING in line and operation[1]:
            reason = line.split(_WARNING, 1)[1].strip()
            not_taken.append({"name": f"operation {operation[0]}", "operation": operation[1], "reason": reason})
    not_taken = list({entry["name"]: entry for entry in not_taken}.values())
    verdict = _YES if not not_taken else _MAYBE if len(not_taken) < operations / 4 else _NO
    counts = {"operations": operations, "taken": operations - len(not_taken), "parts": 1}
    return _finding("gpu", "LiteRT's analyzer; nothing was run", verdict, counts, not_taken)


def _xnnpack(path: Path) -> dict[str, Any]:
    """The operations that LiteRT handed to XNNPACK when it opened the file, its default on every CPU."""
    import platform

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    details = operations_in(interpreter)
    delegates = [op for op in details if op["op_name"] == "DELEGATE"]
    operations = [op for op in details if op["op_name"] != "DELEGATE"]
    taken = _inside(operations, delegates)
    tensors = {entry["index"]: str(entry["name"]) for entry in interpreter.get_tensor_details()}
    not_taken = [
        {
            "name": tensors.get(int(op["outputs"][0]), str(k)),
            "operation": str(op["op_name"]),
            "reason": "LiteRT runs it with a kernel of its own",
        }
        for k, op in enumerate(operations)
        if k not in taken
    ]
    share = len(taken) / max(1, len(operations))
    verdict = _YES if share > 0.75 else _MAYBE if share > 0.25 else _NO
    counts = {"operations": len(operations), "taken": len(taken), "parts": len(delegates)}
    return _finding("xnnpack", f"measured with LiteRT on {platform.machine()}", verdict, counts, not_taken)


def _inside(operations: Sequence[Mapping[str, Any]], delegates: Sequence[Mapping[str, Any]]) -> set[int]:
    """The operations that a delegate replaced: those that lead from its inputs to its outputs."""
    producers = {int(t): k for k, op in enumerate(operations) for t in op["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        stop = {int(t) for t in delegate["inputs"]}
        queue = [int(t) for t in delegate["outputs"]]
        while queue:
            k = producers.get(tensor := queue.pop())
            if tensor in stop or k is None or k in taken:
                continue
            taken.add(k)
            queue += [int(t) for t in operations[k]["inputs"]]
    return taken
