"""One document for every kind of model file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.artifact import digest, size_of
from converters.checkpoints.identify import check_frozen_graph, check_h5, check_saved_model, checkpoint_index, identify
from converters.checkpoints.keras_files import ModelConfig, config_of_archive
from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.scan import Trust
from converters.errors import RefusedError
from converters.formats import Format
from converters.readers.facts import TensorFact, WeightFact
from converters.readers.h5_file import H5Facts, read_h5
from converters.readers.keras_file import read_keras
from converters.readers.onnx_file import read_onnx
from converters.readers.ort_file import read_ort
from converters.readers.precision import by_elements, of_onnx, of_tflite
from converters.readers.saved_model_file import DTYPES
from converters.readers.sniff import FileKind, sniff
from converters.readers.tensor_bundle import read_bundle, shards_beside
from converters.readers.tflite_file import read_tflite
from converters.readers.tflite_signed import NOTE
from converters.signature import BATCH, SIGNATURE_KEY, TensorSpec
from converters.stamping.reading import read_contract
from exporter.inspection.integer import count_integers
from exporter.inspection.keras_signature import signature_of
from exporter.inspection.precision import of_keras


@dataclass
class _Findings:
    """The part of the document that differs from format to format."""

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


def inspect(path: Path, opening: LoadOptions = LoadOptions()) -> dict[str, Any]:
    """The contents of a model file of any kind in docs/sources.md (design: JSON, `inspect`).

    `ops` counts operations; for Keras files it counts layers by class. `parameters` counts the stored numbers: for an
    artifact these are its constants, which folding and quantization scales make a little more or less than the
    checkpoint's. `opset` is None outside ONNX, `contract` where the file carries none. `notes` says what the
    file does not tell.

    Raises:
        UsageError: nothing is there, or it cannot be read.
        RefusedError: it is damaged, unsafe, or not a model.
    """
    if checkpoint_index(path) is not None:
        findings, path, size, sha256 = _tf_checkpoint(path)
    else:
        findings, size, sha256 = _find(path, sniff(path), opening), size_of(path), digest(path)
    return {
        "path": str(path),
        "format": findings.format,
        "precision": findings.precision,
        "size_bytes": size,
        "sha256": sha256,
        "inputs": [spec.to_json() for spec in findings.inputs],
        "outputs": [spec.to_json() for spec in findings.outputs],
        "parameters": findings.parameters,
        "ops": dict(sorted(findings.ops.items(), key=lambda item: (-item[1], item[0]))),
        "opset": findings.opset,
        "flex_ops": findings.flex_ops,
        "custom_ops": findings.custom_ops,
        "notes": findings.notes,
        "integer": findings.integer,
        "contract": read_contract(path),
    }


def _find(path: Path, kind: FileKind, opening: LoadOptions) -> _Findings:
    trust = Trust(later=bool(opening.custom_objects), lambdas=opening.allow_unsafe)
    if kind is FileKind.FOLDER:
        return _saved_model(path, opening)
    if kind is FileKind.ZIP:
        archive = read_keras(path)
        return _keras("keras", config_of_archive(path, archive, opening, trust), archive.weights)
    if kind is FileKind.HDF5:
        return _h5(path, opening, trust)
    if path.suffix.lower() == ".pb" and kind in (FileKind.UNKNOWN, FileKind.TEXT):
        return _frozen_graph(path, opening)
    if kind is FileKind.TFLITE or (path.suffix.lower() == ".tflite" and kind is FileKind.UNKNOWN):
        return _tflite(path, opening.signature)
    if kind is FileKind.ORT:
        return _ort(path)
    if kind is FileKind.UNKNOWN and path.suffix.lower() not in (".keras", ".h5"):
        return _onnx(path)
    raise RefusedError(
        f"{path} is {kind.value}, which holds no model that can be inspected.",
        next_step="Give a .keras, .h5, .pb, .tflite, .onnx or .ort file, a SavedModel or a TensorFlow checkpoint.",
        file=path,
    )


def _keras(fmt: str, model: ModelConfig, weights: H5Facts) -> _Findings:
    report, signature = model.report, signature_of(model.config)
    needs = f"It needs classes that are not Keras' own: {', '.join(sorted(report.custom))}."
    notes = [*model.notes, *report.notes, *signature.notes, *([needs] if report.custom else [])]
    return _Findings(
        fmt,
        of_keras(model.config, weights.weights),
        inputs=signature.inputs,
        outputs=signature.outputs,
        parameters=_elements(weights.weights),
        ops=dict(report.classes),
        notes=notes,
    )


def _h5(path: Path, opening: LoadOptions, trust: Trust) -> _Findings:
    facts = read_h5(path)
    model = check_h5(path, facts, opening, trust)
    if model is not None:
        return _keras("h5", model, facts)
    note = "The file holds weights alone: the model they belong to, and so its inputs and outputs, are not in it."
    return _Findings(
        "weights_h5",
        by_elements(facts.weights),
        parameters=_elements(facts.weights),
        notes=[note],
    )


def _tf_checkpoint(path: Path) -> tuple[_Findings, Path, int, str]:
    """The contents of a TensorFlow checkpoint, its index, the bytes of all of its files, and its digest."""
    checkpoint = identify(path)
    index = checkpoint.path
    entries = [entry for entry in read_bundle(index).entries if DTYPES.get(entry.dtype) != "string"]
    weights = [WeightFact(entry.name, entry.shape, DTYPES.get(entry.dtype, "unknown")) for entry in entries]
    note = "The files hold weights alone, those of the optimizer among them: the model they belong to is not in them."
    findings = _Findings(
        "tf_checkpoint",
        by_elements(weights),
        parameters=_elements(weights),
        notes=[note],
    )
    size = sum(file.stat().st_size for file in shards_beside(index))
    return findings, index, size + index.stat().st_size, checkpoint.sha256


def _frozen_graph(path: Path, opening: LoadOptions) -> _Findings:
    facts = check_frozen_graph(path, opening)
    return _Findings(
        "frozen_graph",
        by_elements(facts.weights),
        inputs=_specs(facts.inputs),
        outputs=_specs(facts.outputs),
        parameters=_elements(facts.weights),
        ops=dict(facts.ops),
        notes=["Inputs are its placeholders, outputs its ends, whose shapes are not stored."],
    )


def _saved_model(path: Path, opening: LoadOptions) -> _Findings:
    facts = check_saved_model(path, allow_unsafe=opening.allow_unsafe)
    signature = facts.signature(opening.signature or SIGNATURE_KEY)
    keys = ", ".join(s.key for s in facts.signatures) or "none"
    notes = []
    if signature is None:
        notes.append(f"There is no signature `{opening.signature or 'serving_default'}`; there is {keys}.")
    elif len(facts.signatures) > 1:
        notes.append(f"It has the signatures {keys}; shown is {signature.key}.")
    return _Findings(
        "savedmodel",
        by_elements(facts.variables),
        inputs=_specs(signature.inputs) if signature else [],
        outputs=_specs(signature.outputs) if signature else [],
        parameters=_elements(facts.variables),
        ops=dict(facts.ops),
        notes=notes,
    )


def _tflite(path: Path, key: str | None) -> _Findings:
    facts = read_tflite(path)
    signature = facts.signature(key)
    notes = []
    if not facts.signatures:
        notes.append(NOTE)
    elif signature is None:
        notes.append(f"There is no signature `{key or SIGNATURE_KEY}`; there is {facts.keys}: shown are its tensors.")
    elif len(facts.signatures) > 1:
        notes.append(f"It has the signatures {facts.keys}; shown is {signature.key}.")
    signature = signature or facts.by_tensors
    return _Findings(
        "tflite",
        of_tflite(facts),
        inputs=_specs(signature.inputs),
        outputs=_specs(signature.outputs),
        parameters=sum(t.elements for t in facts.constants),
        ops=dict(facts.ops),
        flex_ops=facts.flex_ops,
        custom_ops=[op for op in facts.custom_ops if op not in facts.flex_ops],
        notes=notes,
        integer=_integer(path, Format.TFLITE, of_tflite(facts)),
    )


def _onnx(path: Path) -> _Findings:
    facts = read_onnx(path)
    external = ", ".join(facts.external_files)
    notes = [f"Weights lie in {external} beside the file; the digest is of the file alone."] if external else []
    return _Findings(
        "onnx",
        of_onnx(facts),
        inputs=_specs(facts.inputs),
        outputs=_specs(facts.outputs),
        parameters=sum(i.elements for i in facts.initializers),
        ops=dict(facts.ops),
        opset=facts.opset,
        custom_ops=facts.custom_ops,
        notes=notes,
        integer=_integer(path, Format.ONNX, of_onnx(facts)),
    )


def _ort(path: Path) -> _Findings:
    facts = read_ort(path)
    return _Findings(
        "ort",
        of_onnx(facts),
        inputs=_specs(facts.inputs),
        outputs=_specs(facts.outputs),
        parameters=sum(i.elements for i in facts.initializers),
        ops=dict(facts.ops),
        opset=facts.opset,
        custom_ops=facts.foreign_ops,
        notes=["Operations are those after ONNX Runtime's optimizer."],
    )


def _integer(path: Path, fmt: Format, computes: str) -> dict[str, Any] | None:
    """The arithmetic of a quantized file; None for a file that computes in floats alone."""
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
