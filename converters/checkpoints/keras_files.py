"""`.keras` and `.h5` files, of any Keras: what their config says once it is made readable. No framework is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.checkpoints.called import with_open_batch
from converters.checkpoints.load_options import LoadOptions, Rescaled
from converters.checkpoints.old_config import is_old, modernized
from converters.checkpoints.old_layers import without_legacy_layers
from converters.checkpoints.scan import ScanReport, Trust, scan_config
from converters.errors import UsageError
from converters.readers.facts import refusing
from converters.readers.h5_file import H5Facts
from converters.readers.keras_file import KerasFacts, parse_config


@dataclass(frozen=True)
class ModelConfig:
    """A model's config as Keras 3 is to read it.

    Attributes:
        config: safe to load under the `Trust` that it was scanned with.
        report: of that scan.
        old: Keras 1 or 2 wrote the file.
        legacy: it is in the form of `.h5` files: classes without modules.
        notes: what was changed, in sentences.
        changed: it is not what the file holds.
    """

    config: dict[str, Any]
    report: ScanReport
    old: bool
    legacy: bool
    notes: list[str] = field(default_factory=list)
    changed: bool = False


def config_of_archive(path: Path, facts: KerasFacts, opening: LoadOptions, trust: Trust) -> ModelConfig:
    """The config of a `.keras` archive. Raises RefusedError, and UsageError where a layer to replace is not there."""
    stored = Stored(path, facts.config, str(facts.metadata.get("keras_version") or "3"), legacy=False)
    return prepared(stored, facts.weights.stored_elements, opening, trust)


def config_of_h5(path: Path, facts: H5Facts, opening: LoadOptions, trust: Trust) -> ModelConfig:
    """The config of an `.h5` file with a model in it; errors as of `config_of_archive`."""
    with refusing(path, "Keras .h5 file"):
        config = parse_config(facts.model_config or "", "model_config")
    return prepared(Stored(path, config, facts.keras_version, legacy=True), facts.stored_elements, opening, trust)


@dataclass(frozen=True)
class Stored:
    """A config as the file holds it.

    Attributes:
        legacy: in the form of `.h5` files, classes without modules.
        weights_file: that errors about weights are to name instead.
    """

    path: Path
    config: dict[str, Any]
    keras_version: str
    legacy: bool
    weights_file: str = ""


def prepared(stored: Stored, elements: int, opening: LoadOptions, trust: Trust) -> ModelConfig:
    """The config with layers replaced, batches of a first call opened, then modernized, then scanned.

    Args:
        elements: how many numbers the file's weights have.

    Raises:
        RefusedError: the scan, or what Keras 3 does not have.
        UsageError: a layer to replace is not there.
    """
    result, notes = stored.config, list[str]()
    old = is_old(stored.keras_version, result)
    if opening.replaced:
        result, notes = _with_replacements(result, opening.replaced, stored.path)
    opened = with_open_batch(without_legacy_layers(result))
    result, notes = opened.config, [*notes, *opened.notes]
    if old:
        modern = modernized(result, stored.keras_version, stored.path)
        result, notes = modern.config, [*notes, *modern.notes]
    report = scan_config(result, stored.path, elements, trust)
    return ModelConfig(result, report, old, stored.legacy and not old, notes, result != stored.config)


def _with_replacements(
    config: dict[str, Any], replaced: tuple[Rescaled, ...], path: Path
) -> tuple[dict[str, Any], list[str]]:
    by_layer = {entry.layer: entry for entry in replaced}
    classes: dict[str, str] = {}
    result = _replaced(config, by_layer, classes)
    missing = [name for name in by_layer if name not in classes]
    if missing:
        raise UsageError(
            f"{path} has no layer `{missing[0]}` to replace.",
            file=path,
            step="scan",
            next_step=f"It has: {', '.join(_layer_names(config)[:20]) or 'none'}.",
        )
    notes = [
        f"The layer `{name}` ({classes[name]}) was replaced by x * {entry.scale:.9g} + {entry.offset:.9g}; what it "
        "stored was not run, so nothing proves that the two are the same."
        for name, entry in by_layer.items()
    ]
    return result, notes


def _replaced(value: Any, by_layer: Mapping[str, Rescaled], classes: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(entry, by_layer, classes) for entry in value]
    if not isinstance(value, dict):
        return value
    config: Any = value.get("config")
    if "class_name" in value and isinstance(config, dict) and "layers" not in config and config.get("name") in by_layer:
        return _rescaling(value, config, by_layer[str(config["name"])], classes)
    return {key: _replaced(entry, by_layer, classes) for key, entry in value.items()}


def _rescaling(
    value: dict[str, Any], config: dict[str, Any], entry: Rescaled, classes: dict[str, str]
) -> dict[str, Any]:
    classes[entry.layer] = str(value["class_name"])
    settings: dict[str, Any] = {"name": entry.layer, "trainable": False, "dtype": config.get("dtype") or "float32"}
    for key in ("batch_input_shape", "batch_shape"):
        if key in config:
            settings[key] = config[key]
    settings |= {"scale": entry.scale, "offset": entry.offset}
    placement: dict[str, Any] = {key: value[key] for key in ("name", "inbound_nodes", "build_config") if key in value}
    modules: dict[str, Any] = {"module": "keras.layers", "registered_name": None} if "module" in value else {}
    return {"class_name": "Rescaling", "config": settings, **modules, **placement}


def _layer_names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for entry in value for name in _layer_names(entry)]
    if not isinstance(value, dict):
        return []
    config = value.get("config")
    if not isinstance(config, dict):
        return [name for entry in value.values() for name in _layer_names(entry)]
    names = [str(config["name"])] if "name" in config and "layers" not in config else []
    return names + [name for entry in config.get("layers", ()) for name in _layer_names(entry)]
