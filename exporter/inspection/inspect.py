"""One document for every kind of model file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.artifact import digest, size_of
from converters.checkpoints.identify import check_h5, check_saved_model
from converters.checkpoints.scan import scan_config
from converters.errors import RefusedError
from converters.formats import Format
from converters.readers.facts import TensorFact, WeightFact, refusing
from converters.readers.h5_file import H5Facts, read_h5
from converters.readers.keras_file import parse_config, read_keras
from converters.readers.onnx_file import read_onnx
from converters.readers.sniff import FileKind, sniff
from converters.readers.tflite_file import read_tflite
from converters.signature import BATCH, TensorSpec
from converters.stamping.reading import read_contract
from exporter.inspection import precision
from exporter.inspection.integer import count_integers
from exporter.inspection.keras_signature import signature_of


@dataclass
class _Findings:
    """What differs from format to format."""

    format: str
    precision: str
    inputs: list[TensorSpec] = field(default_factory=list)
    outputs: list[TensorSpec] = field(default_factory=list)
    parameters: int = 0
    ops: dict[str, int] = field(default_factory=dict)
    opset: int | None = None
    flex_ops: list[str] = field(default_factory=list)
    custom_ops: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    integer: dict[str, Any] | None = None


def inspect(path: Path) -> dict[str, Any]:
    """What a `.keras`, `.h5`, `.weights.h5`, SavedModel, `.tflite` or `.onnx` holds (design: JSON, `inspect`).

    `ops` counts operations; for Keras files it counts layers by class. `parameters` counts the stored numbers: for an
    artifact these are its constants, which folding and quantization scales make a little more or less than the
    checkpoint's. `opset` is None outside ONNX, `contract` where the file carries none. `notes` says what the
    file does not tell.

    Raises:
        UsageError: nothing is there, or it cannot be read.
        RefusedError: it is damaged, unsafe, or no model.
    """
    found = _find(path, sniff(path))
    return {
        "path": str(path),
        "format": found.format,
        "precision": found.precision,
        "size_bytes": size_of(path),
        "sha256": digest(path),
        "inputs": [spec.to_json() for spec in found.inputs],
        "outputs": [spec.to_json() for spec in found.outputs],
        "parameters": found.parameters,
        "ops": dict(sorted(found.ops.items(), key=lambda item: (-item[1], item[0]))),
        "opset": found.opset,
        "flex_ops": found.flex_ops,
        "custom_ops": found.custom_ops,
        "notes": found.notes,
        "integer": found.integer,
        "contract": read_contract(path),
    }


def _find(path: Path, kind: FileKind) -> _Findings:
    if kind is FileKind.FOLDER:
        return _saved_model(path)
    if kind is FileKind.ZIP:
        archive = read_keras(path)
        return _keras("keras", path, archive.config, archive.weights)
    if kind is FileKind.HDF5:
        return _h5(path)
    if kind is FileKind.TFLITE or (path.suffix.lower() == ".tflite" and kind is FileKind.UNKNOWN):
        return _tflite(path)
    if kind is FileKind.UNKNOWN and path.suffix.lower() not in (".keras", ".h5"):
        return _onnx(path)
    raise RefusedError(
        f"{path} is {kind.value}, which holds no model that can be inspected.",
        next_step="Give a .keras, .h5, .tflite or .onnx file, or a SavedModel folder.", file=path,
    )  # fmt: skip


def _keras(fmt: str, path: Path, config: dict[str, Any], weights: H5Facts) -> _Findings:
    report = scan_config(config, path, weights.stored_elements)
    signature = signature_of(config)
    return _Findings(
        fmt, precision.of_keras(config, weights.weights), inputs=signature.inputs, outputs=signature.outputs,
        parameters=_elements(weights.weights), ops=dict(report.classes), notes=[*report.notes, *signature.notes],
    )  # fmt: skip


def _h5(path: Path) -> _Findings:
    facts = read_h5(path)
    check_h5(path, facts)
    if facts.model_config is not None:
        config: dict[str, Any] = {}
        with refusing(path, "Keras .h5 file"):
            config = parse_config(facts.model_config, "model_config")
        return _keras("h5", path, config, facts)
    note = "The file holds weights alone: the model they belong to, and so its inputs and outputs, are not in it."
    return _Findings(
        "weights_h5", precision.by_elements((w.dtype, w.elements) for w in facts.weights),
        parameters=_elements(facts.weights), notes=[note],
    )  # fmt: skip


def _saved_model(path: Path) -> _Findings:
    facts = check_saved_model(path)
    signature = facts.signature()
    notes = []
    if signature is None:
        keys = ", ".join(s.key for s in facts.signatures) or "none"
        notes.append(f"There is no signature `serving_default`; there is {keys}.")
    return _Findings(
        "savedmodel", precision.by_elements((w.dtype, w.elements) for w in facts.variables),
        inputs=_specs(signature.inputs) if signature else [], outputs=_specs(signature.outputs) if signature else [],
        parameters=_elements(facts.variables), ops=dict(facts.ops), notes=notes,
    )  # fmt: skip


def _tflite(path: Path) -> _Findings:
    facts = read_tflite(path)
    signature = facts.signature()
    notes = []
    if signature is None:
        notes.append("There is no signature `serving_default`: inputs and outputs have the names of their tensors.")
    return _Findings(
        "tflite", precision.of_tflite(facts),
        inputs=_specs(signature.inputs if signature else facts.inputs),
        outputs=_specs(signature.outputs if signature else facts.outputs),
        parameters=sum(t.elements for t in facts.constants), ops=dict(facts.ops),
        flex_ops=facts.flex_ops, custom_ops=[op for op in facts.custom_ops if op not in facts.flex_ops], notes=notes,
        integer=_integer(path, Format.TFLITE, precision.of_tflite(facts)),
    )  # fmt: skip


def _onnx(path: Path) -> _Findings:
    facts = read_onnx(path)
    beside = ", ".join(facts.external_files)
    notes = [f"Weights lie in {beside} beside the file; the digest is of the file alone."] if beside else []
    return _Findings(
        "onnx", precision.of_onnx(facts), inputs=_specs(facts.inputs), outputs=_specs(facts.outputs),
        parameters=sum(i.elements for i in facts.initializers), ops=dict(facts.ops), opset=facts.opset,
        custom_ops=facts.custom_ops, notes=notes,
        integer=_integer(path, Format.ONNX, precision.of_onnx(facts)),
    )  # fmt: skip


def _integer(path: Path, fmt: Format, computes: str) -> dict[str, Any] | None:
    """What a quantized file computes in; None for a file that computes in floats alone."""
    report = count_integers(path, fmt) if "int" in computes else None
    return report.to_json() if report is not None else None


def _elements(weights: Iterable[WeightFact]) -> int:
    return sum(weight.elements for weight in weights)


def _specs(tensors: Iterable[TensorFact]) -> list[TensorSpec]:
    return [TensorSpec(t.name, _dimensions(t), t.dtype) for t in tensors]


def _dimensions(tensor: TensorFact) -> tuple[int | str, ...]:
    """Known sizes as they are; the first unknown place is the batch, others get the tensor's name and their index."""

    def named(index: int, dim: int | str | None) -> int | str:
        if isinstance(dim, int):
            return dim
        if index == 0:
            return BATCH
        return f"{tensor.name}_dim{index}" if dim is None or dim.startswith("unk__") else dim

    return tuple(named(i, d) for i, d in enumerate(tensor.shape or ()))
