"""The scan of a Keras config for what it would make Keras import, run or read, before Keras sees it.

A config names classes and functions; loading resolves and calls them. Only Keras' own modelling classes pass, by an
allowlist (CVE-2025-1550, CVE-2025-8747 and CVE-2025-9906 went through denylists). Code stored in the file is never run
(CVE-2024-3660), nor is a file or address that it names read (CVE-2025-12058, CVE-2026-1462, CVE-2025-49655).
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.checkpoints.old_config import HARD_SIGMOID
from converters.errors import RefusedError
from converters.readers import keras_api

_DATA_CLASSES = frozenset(
    {
        "__keras_tensor__",
        "__tensor__",
        "__numpy__",
        "__bytes__",
        "__ellipsis__",
        "__slice__",
        "__tuple__",
        "TensorShape",
    }
)
_FOREIGN_CLASSES = frozenset({"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
_HUBS = {"keras_hub": "keras-hub", "keras_cv": "keras-cv", "keras_nlp": "keras-nlp"}
_PATH_KEYS = ("vocabulary", "idf_weights")
_SIZE_KEYS = ("units", "filters", "input_dim", "output_dim", "key_dim", "value_dim")
_ALWAYS_PLAUSIBLE = 1 << 20
_PACKING = 8


@dataclass(frozen=True)
class Trust:
    """Names and code that pass the scan beyond Keras' own classes, because the user said so.

    Attributes:
        names: classes and functions of the user's that have been imported (workers only), or our own.
        later: names that are not known pass and are listed: the worker, which imports the user's module, scans again.
        lambdas: Python code that is stored in the file.
    """

    names: frozenset[str] = frozenset({HARD_SIGMOID})
    later: bool = False
    lambdas: bool = False


@dataclass
class ScanReport:
    """Contents of a config that passed.

    Attributes:
        layers: how many, those of nested models included.
        classes: how often each layer class occurs.
        custom: classes and functions that are not Keras' own, as the file names them.
        lambdas: layers that hold code.
        notes: what the user should know, in sentences.
    """

    layers: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    custom: set[str] = field(default_factory=set)
    lambdas: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan_config(config: Mapping[str, Any], source: Path, stored_elements: int, trust: Trust = Trust()) -> ScanReport:
    """Walks a whole model config.

    Args:
        config: the parsed config.json of a `.keras`, or the `model_config` of an `.h5` (any Keras version).
        source: the file, for messages.
        stored_elements: how many numbers its weights have, which bounds the sizes that layers may claim.
        trust: what the user lets pass beyond Keras' own.

    Raises:
        RefusedError: naming the layer or class and what to do.
    """
    scan = _Scan(source, stored_elements, trust)
    model = {key: value for key, value in config.items() if key != "compile_config"}  # models are loaded uncompiled
    if not isinstance(model.get("class_name"), str) or not isinstance(model.get("config"), dict | list):
        raise RefusedError(
            f"{source} holds no model: its config has no `class_name` and `config`.",
            next_step="Save the model again with model.save().",
            file=source,
        )
    scan.walk(model)
    return scan.report


class _Scan:
    def __init__(self, source: Path, stored_elements: int, trust: Trust) -> None:
        self.report = ScanReport()
        self._trust = trust
        self._source = source
        self._largest = max(_ALWAYS_PLAUSIBLE, _PACKING * stored_elements)

    def walk(self, root: Mapping[str, Any]) -> None:
        """Visits every value once, without recursion; `owner` is the name of the layer around it."""
        stack: list[tuple[Any, str, bool]] = [(root, "", False)]
        while stack:
            item, owner, in_layers = stack.pop()
            if isinstance(item, list):
                stack.extend((value, owner, in_layers) for value in reversed(item))
            elif isinstance(item, dict):
                if "class_name" in item and "config" in item:
                    owner = self._object(item, owner, in_layers)
                else:
                    self._values(item, owner)
                stack.extend((value, owner, _lists_layers(key, value)) for key, value in reversed(item.items()))

    def _object(self, item: dict[str, Any], owner: str, in_layers: bool) -> str:
        class_name, config = item["class_name"], item["config"]
        if not isinstance(class_name, str):
            raise self._refuse("names a class by something that is no text", "Save the model again.")
        if isinstance(config, dict):
            name = config.get("name")
            owner = name if isinstance(name, str) else owner
            self._layer_name(owner)
        where = f" (layer `{owner}`)" if owner else ""
        if class_name == "function":
            self._function(item, where)
        elif class_name not in _DATA_CLASSES:
            self._class(item, class_name, where, in_layers=in_layers)
        if in_layers and isinstance(config, dict) and "layers" not in config:
            self.report.layers += 1
            self.report.classes[class_name] += 1
        return owner

    def _class(self, item: dict[str, Any], class_name: str, where: str, *, in_layers: bool) -> None:
        if class_name in ("Lambda", "__lambda__"):
            self._lambda(where)
            return
        if class_name in _FOREIGN_CLASSES:
            raise self._refuse(
                f"uses {class_name}{where}, which loads code or files of another framework",
                "Rebuild that part from Keras layers, then save the model again.",
            )
        module = item.get("module")
        registered = item.get("registered_name")
        if isinstance(module, str) and module.split(".")[0] in _HUBS:
            self._hub(module.split(".")[0], class_name, where)
            return
        custom = isinstance(registered, str) and registered not in ("", class_name)
        if self._trusted(str(registered) if custom else class_name, class_name):
            return
        legacy = keras_api.legacy_layers() if in_layers else keras_api.legacy_names()
        names = legacy if "module" not in item else _names_of(module)
        if custom or class_name not in names:
            if not self._trust.later:
                raise self._unknown_class(registered if custom else class_name, module, where)
            self.report.custom.add(str(registered) if custom else class_name)
            return
        if isinstance(item["config"], dict):
            for key in ("activation", "recurrent_activation"):
                self._activation(item["config"].get(key), where)

    def _activation(self, value: Any, where: str) -> None:
        """A function that a layer of Keras' own names by a word, or has the code of."""
        if value == "<lambda>" or (isinstance(value, dict) and set(value) == {"value"}):
            raise self._refuse(
                f"has a lambda for an activation{where}, which Keras stores in a way that it cannot load",
                "Where its code is, save it by model.export(FOLDER), or give the lambda a name, save the model again "
                "and name the function's module with --custom-objects MODULE[:NAME].",
            )
        if isinstance(value, str) and value not in keras_api.function_names() and not self._trusted(value):
            self._function({"config": value}, where)

    def _trusted(self, *names: str) -> bool:
        trusted = next((name for name in names if name in self._trust.names), None)
        if trusted not in {None, HARD_SIGMOID}:  # that one is ours
            self.report.custom.add(str(trusted))
        return trusted is not None

    def _lambda(self, where: str) -> None:
        if not self._trust.lambdas:
            layer = where.removeprefix(" (layer `").removesuffix("`)") or "LAYER"
            raise self._refuse(
                f"holds Python code in a Lambda{where}, and code stored in a file is never run",
                f"If it only scales, say so: --replace {layer}=rescaling:SCALE[,OFFSET] (x / 255 is rescaling:1/255). "
                "If you trust the file, --allow-unsafe runs its code. Or save it with a built-in layer instead.",
            )
        self.report.lambdas.append(where)

    def _unknown_class(self, name: Any, module: Any, where: str) -> RefusedError:
        origin = f" of `{module}`" if isinstance(module, str) and module else ""
        if origin and module.startswith(("keras.src.engine", "keras.engine", "tf_keras")):
            return self._refuse(
                f"was saved by Keras 2 (it needs `{name}`{origin})",
                "Load it with Keras 2 and save it as .h5, which Keras 3 reads.",
            )
        return self._refuse(
            f"needs the class `{name}`{origin}{where}, which is not one that Keras loads by itself",
            "Name the module that defines it with --custom-objects MODULE[:NAME] (an import path or a .py file; its "
            "code runs), or save the model where that class is known with model.export() as a SavedModel.",
        )

    def _hub(self, package: str, class_name: str, where: str) -> None:
        if importlib.util.find_spec(package) is None:
            raise self._refuse(
                f"needs the class `{class_name}`{where} of {package}, which is not installed",
                f"Install it: pip install {_HUBS[package]}.",
            )
        self.report.notes.append(f"The class {class_name} comes from {package}.")

    def _function(self, item: dict[str, Any], where: str) -> None:
        name, module = item["config"], item.get("module")
        plain = module in (None, "builtins", "keras")
        functions = keras_api.function_names() if plain else _names_of(module)
        if isinstance(name, str) and self._trusted(str(item.get("registered_name") or name), name):
            return
        if not isinstance(name, str) or name not in functions:
            if isinstance(name, str) and self._trust.later:
                self.report.custom.add(name)
                return
            origin = f" of `{module}`" if isinstance(module, str) else ""
            raise self._refuse(
                f"calls the function `{name}`{origin}{where}, which is not one of Keras' modelling functions",
                "Name the module that defines it with --custom-objects MODULE[:NAME], or use a built-in activation or "
                "layer in its place.",
            )

    def _values(self, item: dict[str, Any], owner: str) -> None:
        """Settings of one layer: paths that would be read, sizes that the weights cannot have."""
        for key in _PATH_KEYS:
            if isinstance(item.get(key), str):
                raise self._refuse(
                    f"makes the layer `{owner}` read its {key} from {item[key]!r} when it is loaded",
                    "Set the vocabulary as a list, so that it is stored in the model, then save it again.",
                )
        for key in _SIZE_KEYS:
            size = item.get(key)
            if isinstance(size, int) and size > self._largest:
                raise self._refuse(
                    f"claims {size:,} {key} in the layer `{owner}`, far more than its stored weights have",
                    "The file is damaged or was made to exhaust memory: save the model again.",
                )

    def _layer_name(self, name: str) -> None:
        if "\0" in name or name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise self._refuse(f"has a layer named {name!r}, which is a path", "Rename the layer and save again.")

    def _refuse(self, reason: str, next_step: str) -> RefusedError:
        return RefusedError(f"{self._source} {reason}.", next_step=next_step, file=self._source, step="scan")


def _lists_layers(key: str, value: Any) -> bool:
    """True for a model's list of layers. (A Sequential of Keras 1 has the bare list for its config.)"""
    return key == "layers" or (key == "config" and isinstance(value, list))


def _names_of(module: Any) -> frozenset[str]:
    if not isinstance(module, str):
        return frozenset()
    return keras_api.public_names(module) or keras_api.private_classes(module)
