"""Inputs to judge and time models on: seeded ones by rule, or the user's own arrays and images."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import RefusedError, UsageError
from converters.signature import BATCH, Signature, TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]

LABELS = "labels"
UNKNOWN_SIZE = 32
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
_DEFAULT_INTEGERS = 10


@dataclass(frozen=True)
class Range:
    """What an input's values are drawn from.

    Attributes:
        low: the least value.
        high: the greatest value, which integers may take and floats come up to.
        source: where the range comes from, in words.
    """

    low: float
    high: float
    source: str

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "source": self.source}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Range:
        return cls(float(document["low"]), float(document["high"]), str(document["source"]))


@dataclass(frozen=True)
class InputOptions:
    """How to draw inputs.

    Attributes:
        samples: how many.
        seed: of PCG64; every input has a stream of its own, derived from the seed and its name.
        value_range: draws every float input from here (`--input-range`).
        hints: what the model says of its inputs, by name; see `validate.agreement.hints`.
        unknown_size: stands for every dimension that is unknown and is not the batch.
    """

    samples: int = 16
    seed: int = 0
    value_range: tuple[float, float] | None = None
    hints: Mapping[str, Range] = field(default_factory=dict)
    unknown_size: int = UNKNOWN_SIZE


@dataclass(frozen=True)
class Inputs:
    """Inputs ready to run.

    Attributes:
        arrays: by input name; every first dimension is the number of samples.
        ranges: by input name, what the values were drawn from, or lie between when they were given.
        labels: the class of each sample, when they were given.
        notes: what was done to the user's arrays, in sentences.
    """

    arrays: dict[str, Array]
    ranges: dict[str, Range]
    labels: Array | None = None
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        return min((int(a.shape[0]) for a in self.arrays.values()), default=0)


def generate(signature: Signature, options: InputOptions = InputOptions()) -> Inputs:
    """Draws inputs that depend on the seed and the inputs' names alone, not on their order.

    Floats are uniform over the range of `--input-range` or the model's hint: every second sample over a random part of
    it, so that samples differ in brightness and contrast and not in noise alone. Where nothing is known, samples are
    U(0, 1) and N(0, 1) in turn. Integers are uniform over the vocabulary, booleans are Bernoulli(0.5).

    Raises:
        UsageError: no samples were asked for, or the range is empty.
        RefusedError: an input takes text.
    """
    if options.samples < 1:
        raise UsageError(f"{options.samples} samples were asked for.", next_step="Ask for at least one sample.")
    if options.value_range is not None:
        low, high = options.value_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(
                f"The input range {low:g},{high:g} is empty.", next_step="Give --input-range LO,HI with LO below HI."
            )
    arrays: dict[str, Array] = {}
    ranges: dict[str, Range] = {}
    for spec in signature.inputs:
        shape = (options.samples, *spec.concrete(options.samples, options.unknown_size)[1:])
        arrays[spec.name], ranges[spec.name] = _draw(spec, shape, options)
    return Inputs(arrays, ranges)


def _draw(spec: TensorSpec, shape: tuple[int, ...], options: InputOptions) -> tuple[Array, Range]:
    rng = _stream(options.seed, spec.name)
    if spec.dtype == "bool":
        return rng.random(shape) < 0.5, Range(0, 1, "Bernoulli(0.5)")
    if spec.dtype in {"str", "string"}:
        raise RefusedError(
            f"The input {spec.name} takes text, for which no values can be drawn.",
            next_step="Export the part of the model behind its text processing.",
        )
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if dtype.kind in "iu":
        limits = _integer_range(spec, dtype, options)
        return rng.integers(int(limits.low), int(limits.high), shape, dtype, endpoint=True), limits
    hint = options.hints.get(spec.name)
    if options.value_range is not None:
        hint = Range(*options.value_range, "--input-range")
    if hint is None:
        values = rng.random(shape)
        values[1::2] = rng.standard_normal(shape)[1::2]
        return values.astype(dtype), Range(0, 1, "U(0,1) and N(0,1) in turn")
    low, width = _parts(rng, shape, hint)
    return (low + width * rng.random(shape)).astype(dtype), hint


def _parts(rng: np.random.Generator, shape: tuple[int, ...], limits: Range) -> tuple[Array, Array]:
    """The lower end and the width each sample is drawn from: the whole range, or for every second one a part of it."""
    ends = np.sort(rng.random((shape[0], 2)), axis=1)
    ends[::2] = (0.0, 1.0)
    ends = ends.reshape((shape[0], 2) + (1,) * (len(shape) - 1))
    span = limits.high - limits.low
    return limits.low + span * ends[:, 0], span * (ends[:, 1] - ends[:, 0])


def _integer_range(spec: TensorSpec, dtype: np.dtype[Any], options: InputOptions) -> Range:
    hint = options.hints.get(spec.name)
    if hint is not None:
        return hint
    if dtype in (np.dtype("uint8"), np.dtype("int8")):  # images, or a quantized artifact's own codes
        info = np.iinfo(dtype)
        return Range(info.min, info.max, f"all of {dtype.name}")
    return Range(0, _DEFAULT_INTEGERS - 1, "default for integers: no vocabulary was found")


def _stream(seed: int, name: str) -> np.random.Generator:
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words.tolist()])))


def read(path: Path, signature: Signature) -> Inputs:
    """The user's inputs: an `.npz` keyed by input name, an `.npy` for a single input, or a folder of images.

    `labels` in an `.npz` become the classes that accuracy is measured against. Nothing pickled is ever loaded.

    Raises:
        UsageError: the path is not there, or the arrays' names, shapes or dtypes do not fit the signature.
        RefusedError: the file is damaged, pickled or empty, or holds values that are not finite.
    """
    if not path.exists():
        raise UsageError(f"The inputs {path} are not there.", next_step="Check the path given to --inputs.", file=path)
    given: dict[str, Array]
    if path.is_dir():
        given = {_only_input(path, signature).name: _read_images(path, _only_input(path, signature))}
    elif path.suffix.lower() == ".npy":
        given = {_only_input(path, signature).name: _load(path)["array"]}
    elif path.suffix.lower() == ".npz":
        given = _load(path)
    else:
        raise UsageError(
            f"{path.name} is no .npz, no .npy and no folder of images.",
            next_step="Save the arrays with numpy.savez, keyed by input name.", file=path,
        )  # fmt: skip
    return _fit(path, signature, given)


def _fit(path: Path, signature: Signature, given: dict[str, Array]) -> Inputs:
    names = signature.input_names
    missing = [name for name in names if name not in given]
    if missing:
        raise UsageError(
            f"{path.name} has no array for the input {', '.join(missing)}; it has {', '.join(given) or 'none'}.",
            next_step=f"Key the arrays by input name: {', '.join(names)}.", file=path,
        )  # fmt: skip
    notes: list[str] = []
    arrays = {spec.name: _fit_one(path, spec, given[spec.name], notes) for spec in signature.inputs}
    counts = {name: int(array.shape[0]) for name, array in arrays.items()}
    labels = given.get(LABELS) if LABELS not in names else None
    if labels is not None:
        counts[LABELS] = int(labels.shape[0]) if labels.ndim else 0
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise UsageError(
            f"The arrays of {path.name} have different numbers of samples ({listed}).",
            next_step="Give the same number of samples under every key.", file=path,
        )  # fmt: skip
    extra = [key for key in given if key not in names and key != LABELS]
    if extra:
        notes.append(f"{path.name}: the keys {', '.join(extra)} are no inputs and were ignored.")
    ranges = {
        name: Range(float(array.min()), float(array.max()), f"given in {path.name}") for name, array in arrays.items()
    }
    return Inputs(arrays, ranges, labels, tuple(notes))


def _fit_one(path: Path, spec: TensorSpec, array: Array, notes: list[str]) -> Array:
    where = f"{path.name}: the array for {spec.name}"
    wanted = f"({', '.join(str(d) for d in spec.shape)})"
    sizes = zip(spec.shape[1:], array.shape[1:], strict=False)
    if array.ndim != len(spec.shape) or any(isinstance(want, int) and want != got for want, got in sizes):
        raise UsageError(
            f"{where} has shape {array.shape}, and the model takes {wanted}.",
            next_step=f"Give it the shape {wanted}, samples first.", file=path,
        )  # fmt: skip
    if array.size == 0:
        raise RefusedError(f"{where} is empty.", next_step="Give at least one sample.", file=path)
    fixed = spec.shape[0] if spec.shape else BATCH
    if isinstance(fixed, int) and array.shape[0] % fixed:
        raise UsageError(
            f"{where} has {array.shape[0]} samples, and the model takes batches of {fixed} alone.",
            next_step=f"Give a multiple of {fixed} samples.", file=path,
        )  # fmt: skip
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if array.dtype != dtype:
        array = _cast(path, where, array, dtype)
        notes.append(f"{where} was converted to {dtype.name}.")
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise RefusedError(
            f"{where} holds values that are not finite in {dtype.name}.",
            next_step="Replace NaN and infinite values: no two runtimes need agree on them.", file=path,
        )  # fmt: skip
    return np.ascontiguousarray(array)


def _cast(path: Path, where: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """The array in the model's dtype, where that loses no more than float rounding."""
    if array.dtype.kind in "iub" and dtype.kind == "f":
        return array.astype(dtype)
    if array.dtype.kind == "f" and dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        info = np.iinfo(dtype)
        if array.size == 0 or (int(array.min()) >= info.min and int(array.max()) <= info.max):
            return array.astype(dtype)
    raise UsageError(
        f"{where} has dtype {array.dtype.name}, and the model takes {dtype.name}.",
        next_step=f"Convert it to {dtype.name} yourself, so that nothing is lost unseen.", file=path,
    )  # fmt: skip


def _load(path: Path) -> dict[str, Array]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"array": loaded}
        with loaded:
            return {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile) as cause:
        pickled = "allow_pickle" in str(cause) or "ickle" in str(cause)
        reason = "holds Python objects, which are never loaded" if pickled else f"cannot be read: {cause}"
        raise RefusedError(
            f"{path.name} {reason}.", next_step="Save plain numeric arrays with numpy.savez or numpy.save.", file=path
        ) from cause


def _only_input(path: Path, signature: Signature) -> TensorSpec:
    if len(signature.inputs) != 1:
        raise UsageError(
            f"{path.name} holds one input, and the model has {len(signature.inputs)}.",
            next_step=f"Give an .npz keyed by {', '.join(signature.input_names)}.", file=path,
        )  # fmt: skip
    return signature.inputs[0]


def _read_images(folder: Path, spec: TensorSpec) -> Array:
    """Images as (samples, height, width, channels), values 0..255, resized to the model's size."""
    from PIL import Image, UnidentifiedImageError

    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGES and p.is_file())
    channels = spec.shape[3] if len(spec.shape) == 4 else None
    modes: dict[Any, str] = {1: "L", 3: "RGB", 4: "RGBA"}
    if not files or channels not in modes:
        cause = "holds no images" if not files else f"cannot feed {spec.name}, which takes no images"
        raise UsageError(f"{folder} {cause}.", next_step="Give .png or .jpg files, or an .npz.", file=folder)
    _, height, width, _ = spec.concrete(1, UNKNOWN_SIZE)
    pictures = []
    for file in files:
        try:
            with Image.open(file) as image:
                resized = image.convert(modes[channels]).resize((width, height), Image.Resampling.BILINEAR)
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as cause:
            raise RefusedError(
                f"{file} cannot be read as an image.", next_step="Remove it from the folder, or repair it.", file=file
            ) from cause
        pictures.append(np.asarray(resized, dtype=np.uint8).reshape(height, width, channels))
    return np.stack(pictures)
