"""A self-check as values: inputs and reference outputs in raw files, and what each output is held to.

The raw files are plain little-endian numbers, runs one after the other, so that any language can read them: inputs in
the type that the artifact takes (already quantized where it takes integers), reference outputs as float64.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.errors import UsageError
from converters.formats import Format
from converters.readers.tflite_quantization import Quantization, read_end_quantization
from converters.signature import BATCH
from exporter.bundle.golden import read_golden
from exporter.manifest.rows import ArtifactRow, Tensor
from exporter.manifest.schema import GOLDEN, Manifest
from exporter.selfcheck.bounds import Bound, Judgement, bound_of
from validate.agreement.rows import OutputRow

DTYPES = ("float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")
"""Element types that every language here can hold."""

MAX_BYTES = 4 << 20
"""Of inputs and reference outputs together, one sample at least: they travel to phones and boards."""

_FORMATS = {Format.TFLITE, Format.ONNX, Format.ORT}


@dataclass(frozen=True)
class Input:
    """`shape` is that of one run; `file` holds all runs and is relative to the script's folder.

    Attributes:
        resized: the file leaves a dimension besides the batch open, so that a runtime must be told this shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    resized: bool


@dataclass(frozen=True)
class Output:
    """The file gives codes q of `dtype`, which stand for (q - zero_point) * scale; floats have scale 1."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    scale: float
    zero_point: int
    bound: Bound


@dataclass(frozen=True)
class Check:
    """One artifact: `runs` times the inputs in, the outputs compared."""

    artifact: str
    format: str
    precision: str
    runs: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        for output in document["outputs"]:
            output |= output.pop("bound")
        return document


@dataclass(frozen=True)
class Plan:
    """Everything that the scripts are filled in with.

    Attributes:
        files: raw files by the name that the checks call them.
        left_out: artifacts without a check, with the reason.
    """

    checks: tuple[Check, ...]
    files: Mapping[str, bytes]
    left_out: Mapping[str, str]


def refuse_names(names: tuple[str, ...]) -> None:
    """Refuses names that some language of the self-check has no string for.

    Raises:
        UsageError: a name holds a null character (C's strings end there) or half of a surrogate pair (not UTF-8).
    """
    for name in names:
        if "\0" in name or any(0xD800 <= ord(c) < 0xE000 for c in name):
            raise UsageError(
                f"The name {name!r} cannot be written in every language of the self-check.",
                next_step="Rename the input or output, or leave the self-check out with --no-selfcheck.",
                step="selfcheck",
            )


def plan(folder: Path, manifest: Manifest, tolerances: Mapping[str, float]) -> Plan:
    """The checks of a bundle in the making; without golden vectors there are none.

    Raises:
        IntegrityError: the golden vectors cannot be read.
        UsageError: see `refuse_names`.
    """
    if not (folder / GOLDEN).is_file():
        return Plan((), {}, {})
    refuse_names(tuple(t.name for t in (*manifest.signature.inputs, *manifest.signature.outputs)))
    planner = _Planner(folder, manifest, tolerances)
    for artifact in manifest.artifacts:
        planner.add(artifact)
    return Plan(tuple(planner.checks), planner.files, planner.left_out)


class _UnfitError(Exception):
    """Why an artifact gets no check."""


class _Planner:
    def __init__(self, folder: Path, manifest: Manifest, tolerances: Mapping[str, float]) -> None:
        self._folder, self._manifest, self._tolerances = folder, manifest, tolerances
        self._inputs, self._outputs = read_golden(folder / GOLDEN)
        self._samples = _samples([*self._inputs.values(), *self._outputs.values()])
        self._activations = activations(manifest)
        self.checks: list[Check] = []
        self.files: dict[str, bytes] = {}
        self.left_out: dict[str, str] = {}

    def add(self, artifact: ArtifactRow) -> None:
        try:
            self.checks.append(self._check(artifact))
        except _UnfitError as why:
            self.left_out[artifact.path] = str(why)

    def _check(self, artifact: ArtifactRow) -> Check:
        if artifact.format not in _FORMATS:
            raise _UnfitError(f"{artifact.format.value} runs in TensorFlow, where edgeport verify --execute checks it")
        batch = _batch_of(artifact)
        runs = math.ceil(self._samples / batch)
        quantized = self._quantization(artifact)
        verdict = next((v for v in self._manifest.first_verdicts if v.artifact == artifact.path), None)
        rows = {row.name: row for row in verdict.outputs} if verdict else {}
        inputs = tuple(
            self._input(artifact, k, quantized.get(tensor.name), runs * batch)
            for k, tensor in enumerate(artifact.signature.inputs)
        )
        outputs = tuple(
            self._output(artifact, k, quantized.get(tensor.name), rows.get(tensor.name), runs * batch)
            for k, tensor in enumerate(artifact.signature.outputs)
        )
        return Check(artifact.path, artifact.format.value, artifact.precision.value, runs, inputs, outputs)

    def _quantization(self, artifact: ArtifactRow) -> dict[str, Quantization]:
        return read_end_quantization(self._folder / artifact.path) if artifact.format is Format.TFLITE else {}

    def _input(self, artifact: ArtifactRow, k: int, quantized: Quantization | None, rows: int) -> Input:
        tensor = artifact.signature.inputs[k]
        values = _rows(self._golden(self._inputs, tensor), rows)
        data = _codes(values, tensor.dtype, quantized)
        shape = _run_shape(tensor, values, _batch_of(artifact))
        resized = any(isinstance(dimension, str) for dimension in tensor.shape[1:])
        return Input(tensor.name, tensor.dtype, shape, self._file(f"input{k}", artifact, data), resized)

    def _output(
        self, artifact: ArtifactRow, k: int, quantized: Quantization | None, row: OutputRow | None, rows: int
    ) -> Output:
        tensor = artifact.signature.outputs[k]
        golden = self._golden(self._outputs, tensor)
        values = _rows(golden, rows)
        activation = self._activations.get(tensor.name)
        bound = None
        if row is not None:
            judged = Judgement(row, artifact.precision, golden, activation, self._tolerances)
            bound = bound_of(judged, len(values))
        if bound is None:
            raise _UnfitError(f"its verdict names no gate for the output {tensor.name!r}")
        floats = golden.dtype.kind == "f" and tensor.dtype in {"int8", "uint8", "int16"} and quantized is not None
        scale, zero_point = quantized if floats and quantized else (1.0, 0)
        shape = _run_shape(tensor, values, _batch_of(artifact))
        file = self._file(f"output{k}", artifact, values.astype("<f8"))
        return Output(tensor.name, tensor.dtype, shape, file, scale, zero_point, bound)

    def _golden(self, side: Mapping[str, Array], tensor: Tensor) -> Array:
        if tensor.name not in side:
            raise _UnfitError(f"the golden vectors do not hold {tensor.name!r}")
        if tensor.dtype not in DTYPES:
            raise _UnfitError(f"{tensor.name!r} is {tensor.dtype}, which not every language here has")
        return side[tensor.name]

    def _file(self, stem: str, artifact: ArtifactRow, data: Array) -> str:
        """Where these bytes lie: in the file that artifacts share, or one of the artifact's own where they differ."""
        content = data.tobytes()
        name = f"data/{stem}.bin"
        if self.files.setdefault(name, content) != content:
            name = f"data/{stem}.{artifact.path}.bin"
            self.files[name] = content
        return name


def activations(manifest: Manifest) -> dict[str, str]:
    """By output name, Keras' name of what was applied last, where the manifest's contract says it."""
    contract = manifest.to_document().get("contract") or {}
    return {row["name"]: row["activation"] for row in contract.get("outputs", ()) if row.get("activation")}


def _samples(arrays: list[Array]) -> int:
    """The number of golden samples that travel: all of them, or as many as `MAX_BYTES` hold."""
    counts = [len(array) for array in arrays if array.ndim]
    sample = sum(array.nbytes // max(1, len(array)) for array in arrays if array.ndim)
    return max(1, min([*counts, MAX_BYTES // max(1, sample)]))


def _batch_of(artifact: ArtifactRow) -> int:
    """Samples of one run: one where the batch is free, else what the file insists on."""
    tensors = (*artifact.signature.inputs, *artifact.signature.outputs)
    first = {tensor.shape[0] if tensor.shape else None for tensor in tensors}
    if first == {BATCH}:
        return 1
    (size, *others) = first
    if others or not isinstance(size, int) or size < 1:
        raise _UnfitError("some of its inputs or outputs have no batch dimension, so samples cannot be told apart")
    return size


def _rows(golden: Array, rows: int) -> Array:
    """So many samples, from the start again where a fixed batch wants more than there are."""
    if not golden.ndim:
        raise _UnfitError("its golden vectors have no batch dimension")
    return golden[np.arange(rows) % len(golden)]


def _run_shape(tensor: Tensor, values: Array, batch: int) -> tuple[int, ...]:
    shape = (batch, *values.shape[1:])
    pairs = zip(tensor.shape, shape, strict=False)
    if len(tensor.shape) != len(shape) or any(isinstance(d, int) and d != n for d, n in pairs):
        raise _UnfitError(f"the golden vectors do not fit the shape of {tensor.name!r}")
    return shape


def _codes(values: Array, dtype: str, quantized: Quantization | None) -> Array:
    """The values as the file takes them, little-endian; floats as integer codes where it has integer ends."""
    target = np.dtype(dtype).newbyteorder("<")
    if values.dtype.kind == "f" and target.kind in "iu":
        if quantized is None:
            raise _UnfitError(f"it takes {dtype} and does not say how floats become that")
        scale, zero_point = quantized
        limits = np.iinfo(dtype)
        codes = np.rint(values.astype(np.float64) / scale) + zero_point
        values = np.clip(codes, limits.min, limits.max)
    result: Array = values.astype(target)
    return result
