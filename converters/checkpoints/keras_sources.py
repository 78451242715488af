"""Keras files and weights -> a Keras model in memory. Runs in workers only: it imports Keras.

The file has been scanned in the parent. Where the user's own classes are needed it is scanned again here, once they are
imported and their names are known: nothing that is neither Keras' nor theirs ever reaches Keras.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from converters.checkpoints.called import with_open_batch
from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.keras1_weights import readable_weights, weights_in
from converters.checkpoints.keras_files import ModelConfig, Stored, prepared
from converters.checkpoints.old_config import is_keras1
from converters.checkpoints.pairs import WEIGHTS_FILE
from converters.checkpoints.scan import Trust
from converters.checkpoints.user_code import bound, built_model, custom_objects
from converters.checkpoints.weights import load_weights
from converters.compat.keras import LEGACY_MODEL, LEGACY_SCOPE, LEGACY_WEIGHTS, LOAD_ARCHIVE, SAFE_MODE, all_layers
from converters.errors import RefusedError, StepError

_ANY_SIZE = 1 << 62
"""The parent has held the sizes of layers against the weights."""


def open_keras(checkpoint: Checkpoint) -> tuple[Any, tuple[str, ...]]:
    """The model that a `.keras` or `.h5` file holds, and what had to be changed to read it.

    Raises:
        EdgeportError: a class is missing, or the user's own code fails.
        Exception: whatever Keras raises where it cannot load the file.
    """
    opening, path = checkpoint.opening, checkpoint.path
    objects = custom_objects(opening)
    trust = Trust(frozenset(objects), lambdas=opening.allow_unsafe)
    stored = _stored(checkpoint)
    model_config = prepared(stored, _ANY_SIZE, opening, trust)
    notes = [*model_config.notes, *_code_notes(model_config)]
    config, safe = bound(model_config.config, objects), not opening.allow_unsafe
    if checkpoint.kind is SourceKind.KERAS and not model_config.old and not stored.weights_file:
        changed = model_config.changed or config != model_config.config
        return _archive(path, config if changed else None, objects, safe=safe), tuple(notes)
    model = (_legacy_model if model_config.legacy else _model)(config, objects, safe=safe)
    if checkpoint.kind is SourceKind.H5:
        _load_h5(stored, model)
    else:
        _load_archive(stored, model)
    return model, tuple(notes)


def open_weights(checkpoint: Checkpoint) -> tuple[Any, tuple[str, ...]]:
    """The model that `--model-code` builds, with the weights of the file.

    Raises:
        RefusedError: no code was named, or the file is damaged.
        EdgeportError: the user's code fails, or the weights do not fit.
    """
    if checkpoint.opening.model_code is None:
        raise RefusedError(
            f"{checkpoint.path} holds weights only, no architecture.",
            next_step="Say with --model-code MODULE:FUNCTION what they belong to, or give a whole checkpoint "
            "(`edgeport build NAME --weights PATH` makes one).",
            file=checkpoint.path,
            step="load",
        )
    custom_objects(checkpoint.opening)
    model = _of_any_batch(built_model(checkpoint.opening))
    _register(model)
    load_weights(model, checkpoint.path)
    return model, (f"The model was built by the code {checkpoint.opening.model_code}; the file gave its weights.",)


def _of_any_batch(model: Any) -> Any:
    """The model, built anew where its batch is that of a first call. Its weights are still to be loaded."""
    import keras

    if not isinstance(model, keras.Sequential):
        return model
    opened = with_open_batch(json.loads(model.to_json()))
    return model if opened.batch is None else keras.saving.deserialize_keras_object(opened.config, safe_mode=False)


def _code_notes(config: ModelConfig) -> list[str]:
    notes = []
    if custom := sorted(config.report.custom - {"keras2_hard_sigmoid"}):
        notes.append(f"Code of --custom-objects ran for: {', '.join(custom)}.")
    if config.report.lambdas:
        notes.append(f"UNSAFE: Python code stored in the file ran{', '.join(config.report.lambdas)} (--allow-unsafe).")
    return notes


def _register(model: Any) -> None:
    """Lets Keras find the model's own classes by name when it is rebuilt (float64 oracle)."""
    import keras

    registry = keras.saving.get_custom_objects()
    for layer in all_layers(model):
        kind = type(layer)
        if not kind.__module__.startswith("keras."):
            registry.setdefault(keras.saving.get_registered_name(kind), kind)


def _stored(checkpoint: Checkpoint) -> Stored:
    """Reads the config again, without checks: the parent has checked the whole file."""
    path = checkpoint.path
    if checkpoint.kind is SourceKind.H5:
        import h5py

        with h5py.File(path, "r") as file:
            text, version = file.attrs["model_config"], file.attrs.get("keras_version", "")
        return Stored(path, json.loads(text), version if isinstance(version, str) else version.decode(), legacy=True)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
    version, weights_file = str(metadata.get("keras_version") or "3"), str(metadata.get(WEIGHTS_FILE) or "")
    return Stored(path, config, version, legacy=False, weights_file=weights_file)


def _archive(path: Path, config: dict[str, Any] | None, objects: Mapping[str, Any], *, safe: bool) -> Any:
    """The model of an archive, whose config is `config` where one is given."""
    # Keras' public loader goes by the suffix; edgeport goes by the content.
    if not LOAD_ARCHIVE.usable():
        return _suffixed_archive(path, config, objects, safe=safe)
    with path.open("rb") if config is None else tempfile.TemporaryFile() as stream:
        if config is not None:
            _rewrite(path, config, stream)
            stream.seek(0)
        return LOAD_ARCHIVE.get()(stream, custom_objects=dict(objects), compile=False, safe_mode=safe)


def _suffixed_archive(path: Path, config: dict[str, Any] | None, objects: Mapping[str, Any], *, safe: bool) -> Any:
    """As `_archive`, by Keras' public loader and a copy that ends in `.keras`."""
    import keras

    with tempfile.NamedTemporaryFile(prefix="edgeport-", suffix=".keras") as copy:
        if config is None:
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, copy)
        else:
            _rewrite(path, config, copy)
        copy.flush()
        return keras.saving.load_model(copy.name, custom_objects=dict(objects), compile=False, safe_mode=safe)


def _rewrite(path: Path, config: dict[str, Any], copy: Any) -> None:
    """The archive with `config` for its own, so that what was scanned is what is loaded."""
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(copy, "w") as after:
        for info in before.infolist():
            if info.filename == "config.json":
                after.writestr(info.filename, json.dumps(config))
                continue
            with before.open(info) as reading, after.open(info.filename, "w", force_zip64=True) as writing:
                while chunk := reading.read(1 << 20):
                    writing.write(chunk)


def _legacy_model(config: dict[str, Any], objects: Mapping[str, Any], *, safe: bool) -> Any:
    scope = LEGACY_SCOPE.get()(use_legacy_config=True)
    with scope, SAFE_MODE.get()(safe):
        return LEGACY_MODEL.get()(config, custom_objects=dict(objects))


def _model(config: dict[str, Any], objects: Mapping[str, Any], *, safe: bool) -> Any:
    import keras

    return keras.saving.deserialize_keras_object(config, custom_objects=dict(objects), safe_mode=safe)


def _load_h5(stored: Stored, model: Any) -> None:
    import h5py

    with h5py.File(stored.path, "r") as file:
        first = is_keras1(stored.keras_version)
        with readable_weights(file, stored.config) if first else nullcontext(weights_in(file)) as group:
            LEGACY_WEIGHTS.get()(group, model)


def _load_archive(stored: Stored, model: Any) -> None:
    """A `.keras` file of Keras 2: the layout of its weights is that of Keras 3, its config is not.

    In one that was joined of an architecture and weights (`converters.checkpoints.pairs`) they may be older ones.
    """
    path = stored.path
    with tempfile.TemporaryDirectory(prefix="edgeport-weights-") as folder, zipfile.ZipFile(path) as archive:
        weights = Path(folder) / "model.weights.h5"
        with archive.open("model.weights.h5") as reading, weights.open("wb") as writing:
            while chunk := reading.read(1 << 20):
                writing.write(chunk)
        if is_keras1(stored.keras_version):
            _load_h5(Stored(weights, stored.config, stored.keras_version, legacy=True), model)
            return
        _regroup(weights)
        try:
            load_weights(model, weights, archive=Path(stored.weights_file or path))
        except StepError as error:
            if stored.weights_file:
                error.next_step = "Give the weights of this very architecture: both files as one model wrote them."
            raise


def _regroup(weights: Path) -> None:
    """Moves what lies where Keras 2.12 to 2.15 put it to where Keras looks for it.

    They wrote `_layer_checkpoint_dependencies/dense/vars/0`, and on Windows `layers\\dense/vars/0`, both numbered as
    `layers/dense/vars/0` is.
    """
    import h5py

    with h5py.File(weights, "r+") as file:
        places: list[str] = []
        file.visititems(lambda name, item: places.append(name) if isinstance(item, h5py.Dataset) else None)
        for place in places:
            parts = place.replace("\\", "/").split("/")
            today = "/".join("layers" if part == "_layer_checkpoint_dependencies" else part for part in parts)
            if today != place and today not in file:
                file.move(place, today)
