"""The user's own arrays and images, fitted to a signature: models are judged and calibrated on them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.arrays import Array, as_array
from converters.errors import RefusedError, UsageError
from converters.shapes import Shapes, ask_for
from converters.signature import BATCH, Signature, TensorSpec

LABELS = "labels"
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class UserArrays:
    """Arrays that fit a signature.

    Attributes:
        arrays: by input name, samples first.
        labels: the class of each sample, when they were given.
        notes: what was done to the user's arrays, in sentences.
    """

    arrays: dict[str, Array]
    labels: Array | None = None
    notes: tuple[str, ...] = ()


def read_user_arrays(
    path: Path, signature: Signature, option: str = "--inputs", shapes: Shapes = MappingProxyType({})
) -> UserArrays:
    """The user's arrays: an `.npz` keyed by input name, an `.npy` for a single input, or a folder of images.

    `labels` in an `.npz` are the classes of the samples. Nothing pickled is ever loaded.

    Args:
        shapes: what images are resized to where the model leaves that open; without it all must be of one size.

    Raises:
        UsageError: the path is not there, or the arrays' names, shapes or dtypes do not fit the signature.
        RefusedError: the file is damaged, pickled or empty, or holds values that are not finite.
    """
    if not path.exists():
        raise UsageError(f"{path}, given to {option}, is not there.", next_step="Check the path.", file=path)
    arrays: dict[str, Array]
    if path.is_dir():
        arrays = {_only_input(path, signature).name: _read_images(path, _only_input(path, signature), shapes)}
    elif path.suffix.lower() == ".npy":
        arrays = {_only_input(path, signature).name: _load(path)["array"]}
    elif path.suffix.lower() == ".npz":
        arrays = _load(path)
    else:
        raise UsageError(
            f"{path.name} is no .npz, no .npy and no folder of images.",
            next_step="Save the arrays with numpy.savez, keyed by input name.",
            file=path,
        )
    return _fit(path, signature, arrays)


def read_labels(path: Path) -> dict[str, Array]:
    """What an `.npz` says of the samples: `labels`, and every `labels.NAME` by its name. Raises RefusedError."""
    data = _load(path)
    named = {key.removeprefix(f"{LABELS}."): array for key, array in data.items() if key.startswith(f"{LABELS}.")}
    return ({LABELS: data[LABELS]} if LABELS in data else {}) | named


def _fit(path: Path, signature: Signature, data: dict[str, Array]) -> UserArrays:
    names = signature.input_names
    data = data | _initial_states(signature, data)
    missing = [name for name in names if name not in data]
    if missing:
        raise UsageError(
            f"{path.name} has no array for the input {', '.join(missing)}; it has {', '.join(data) or 'none'}.",
            next_step=f"Key the arrays by input name: {', '.join(names)}.",
            file=path,
        )
    notes: list[str] = []
    states = {state.input for state in signature.states}
    for spec in signature.inputs:
        _check_shape(path, spec, data[spec.name], is_state=spec.name in states)
    arrays = {spec.name: _fit_one(path, spec, data[spec.name], notes) for spec in signature.inputs}
    counts = {name: int(array.shape[0]) for name, array in arrays.items()}
    labels = data.get(LABELS) if LABELS not in names else None
    if labels is not None:
        counts[LABELS] = int(labels.shape[0]) if labels.ndim else 0
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise UsageError(
            f"The arrays of {path.name} have different numbers of samples ({listed}).",
            next_step="Give the same number of samples under every key.",
            file=path,
        )
    extra = [key for key in data if key not in names and key.partition(".")[0] != LABELS]
    if extra:
        notes.append(f"{path.name}: the keys {', '.join(extra)} are no inputs and were ignored.")
    return UserArrays(arrays, labels, tuple(notes))


def _initial_states(signature: Signature, data: dict[str, Array]) -> dict[str, Array]:
    """States that were not given, as they are before the first step, for as many samples as there are."""
    counts = [len(data[spec.name]) for spec in signature.fed if spec.name in data and data[spec.name].ndim]
    return {
        state.input: np.full((counts[0], *state.shape[1:]), state.initial, state.dtype)
        for state in signature.states
        if state.input not in data and counts
    }


def _check_shape(path: Path, spec: TensorSpec, array: Array, *, is_state: bool) -> None:
    shape = f"({', '.join(str(d) for d in spec.shape)})"
    sizes = zip(spec.shape[1:], array.shape[1:], strict=False)
    if array.ndim != len(spec.shape) or any(isinstance(size, int) and size != actual for size, actual in sizes):
        own = "Leave it out, which begins as the model does, or give" if is_state else "Give"
        raise UsageError(
            f"{path.name}: the array for {spec.name} has shape {array.shape}, and the model takes {shape}.",
            next_step=f"{own} it the shape {shape}, samples first.",
            file=path,
        )


def _fit_one(path: Path, spec: TensorSpec, array: Array, notes: list[str]) -> Array:
    where = f"{path.name}: the array for {spec.name}"
    if array.size == 0:
        raise RefusedError(f"{where} is empty.", next_step="Give at least one sample.", file=path)
    fixed = spec.shape[0] if spec.shape else BATCH
    if isinstance(fixed, int) and array.shape[0] % fixed:
        raise UsageError(
            f"{where} has {array.shape[0]} samples, and the model takes batches of {fixed} alone.",
            next_step=f"Give a multiple of {fixed} samples.",
            file=path,
        )
    if spec.is_text:
        return _texts(path, where, array)
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if array.dtype != dtype:
        array = _cast(path, where, array, dtype)
        notes.append(f"{where} was converted to {dtype.name}.")
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise RefusedError(
            f"{where} holds values that are not finite in {dtype.name}.",
            next_step="Replace NaN and infinite values: no two runtimes need agree on them.",
            file=path,
        )
    return np.ascontiguousarray(array)


def _texts(path: Path, where: str, array: Array) -> Array:
    if array.dtype.kind not in "US":
        raise UsageError(
            f"{where} has dtype {array.dtype.name}, and the model takes texts.",
            next_step="Save texts: numpy.array(texts, dtype=str), or bytes.",
            file=path,
        )
    return np.ascontiguousarray(as_array(array))


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
    if array.dtype.kind == "f" and dtype.kind in "iu" and np.array_equal(array, np.rint(array)):
        info = np.iinfo(dtype)  # whole numbers in a float array, as pixels often come
        if float(array.min()) >= info.min and float(array.max()) <= info.max:
            return array.astype(dtype)
    if array.dtype.kind in "US":
        raise UsageError(
            f"{where} holds texts, and the model takes {dtype.name}.",
            next_step="Give what the texts are turned into before the model, as numbers.",
            file=path,
        )
    raise UsageError(
        f"{where} has dtype {array.dtype.name}, and the model takes {dtype.name}.",
        next_step=f"Convert it to {dtype.name} yourself, so that nothing is lost unseen.",
        file=path,
    )


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
            f"{path.name} {reason}.",
            next_step="Save plain arrays of numbers, or of texts (numpy.array(texts, dtype=str)), with numpy.savez or "
            "numpy.save.",
            file=path,
        ) from cause


def _only_input(path: Path, signature: Signature) -> TensorSpec:
    if len(signature.fed) != 1:
        raise UsageError(
            f"{path.name} holds one input, and the model has {len(signature.fed)}.",
            next_step=f"Give an .npz keyed by {', '.join(signature.input_names)}.",
            file=path,
        )
    return signature.fed[0]


def _read_images(folder: Path, spec: TensorSpec, shapes: Shapes) -> Array:
    """Images as (samples, height, width, channels), values 0..255, resized to the model's size."""
    from PIL import Image, UnidentifiedImageError

    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGES and p.is_file())
    channels = spec.shape[3] if len(spec.shape) == 4 else None
    modes: dict[Any, str] = {1: "L", 3: "RGB", 4: "RGBA"}
    if not files or channels not in modes:
        cause = "holds no images" if not files else f"cannot feed {spec.name}, which takes no images"
        raise UsageError(f"{folder} {cause}.", next_step="Give .png or .jpg files, or an .npz.", file=folder)
    depth = int(spec.shape[3])
    wanted = shapes.get(spec.name, spec.shape)[1:3]
    pictures = []
    for file in files:
        try:
            with Image.open(file) as image:
                height, width = (
                    d if isinstance(d, int) else own for d, own in zip(wanted, image.size[::-1], strict=True)
                )
                resized = image.convert(modes[channels]).resize((width, height), Image.Resampling.BILINEAR)
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as cause:
            raise RefusedError(
                f"{file} cannot be read as an image.", next_step="Remove it from the folder, or repair it.", file=file
            ) from cause
        pictures.append(np.asarray(resized, dtype=np.uint8).reshape(height, width, depth))
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) > 1:
        raise UsageError(
            f"The images in {folder} have {len(sizes)} sizes, and the model takes any.",
            next_step=f"Say which: {ask_for(Signature((spec,), ()))} (height, then width).",
            file=folder,
        )
    return np.stack(pictures)
