"""Which names the installed Keras exports, read from its files without importing it.

Keras resolves the classes that a config names through its public modules (`keras.layers`, ...) and through
`keras.src.*`. Both are answered here from the package's source text, so the answer is that of the Keras which will load
the file.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

PUBLIC_MODULES = frozenset({
    "keras", "keras.activations", "keras.constraints", "keras.dtype_policies", "keras.initializers", "keras.layers",
    "keras.losses", "keras.metrics", "keras.mixed_precision", "keras.models", "keras.ops", "keras.ops.image",
    "keras.ops.linalg", "keras.ops.nn", "keras.ops.numpy", "keras.optimizers", "keras.optimizers.legacy",
    "keras.optimizers.schedules", "keras.quantizers", "keras.random", "keras.regularizers",
})  # fmt: skip
"""Public modules whose classes and functions make up models. (`keras.utils`, `keras.config`, `keras.saving`,
`keras.datasets` and the like load files, fetch addresses or change settings.)"""

PRIVATE_PACKAGES = frozenset(
    {
        "activations",
        "applications",
        "constraints",
        "dtype_policies",
        "initializers",
        "layers",
        "losses",
        "metrics",
        "models",
        "ops",
        "optimizers",
        "quantizers",
        "random",
        "regularizers",
    }
)
"""The same under `keras.src`."""

_LEGACY_NAMES = frozenset({"Functional", "Policy"})
_NOT_FOR_MODELS = frozenset({"deserialize", "serialize", "get", "load_model", "save_model", "model_from_json"})
_IMPORTED = re.compile(r"\bas\s+(\w+)")
_CLASS = re.compile(r"^class\s+(\w+)", re.MULTILINE)


@functools.cache
def _package() -> Path | None:
    spec = importlib.util.find_spec("keras")
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


@functools.cache
def public_names(module: str) -> frozenset[str]:
    """The names that a public module exports; empty for one that is not in PUBLIC_MODULES."""
    package = _package()
    if module not in PUBLIC_MODULES or package is None:
        return frozenset()
    file = package.joinpath(*module.split(".")[1:]) / "__init__.py"
    names = _IMPORTED.findall(file.read_text("utf-8")) if file.is_file() else []
    return frozenset(names) - _NOT_FOR_MODELS


@functools.cache
def private_classes(module: str) -> frozenset[str]:
    """The classes that a `keras.src.<package>...` module defines; empty for one outside PRIVATE_PACKAGES."""
    parts = module.split(".")
    package = _package()
    allowed = parts[:2] == ["keras", "src"] and len(parts) > 3 and parts[2] in PRIVATE_PACKAGES
    if not allowed or package is None or not all(part.isidentifier() for part in parts):
        return frozenset()
    file = package.joinpath(*parts[1:]).with_suffix(".py")
    return frozenset(_CLASS.findall(file.read_text("utf-8"))) if file.is_file() else frozenset()


@functools.cache
def legacy_names() -> frozenset[str]:
    """All class names that a config without modules (`.h5`) may use."""
    modules = PUBLIC_MODULES - {"keras", "keras.random"} - {m for m in PUBLIC_MODULES if m.startswith("keras.ops")}
    return frozenset().union(_LEGACY_NAMES, *(public_names(module) for module in modules))


@functools.cache
def legacy_layers() -> frozenset[str]:
    """The class names that a config without modules may have in its list of layers."""
    return _LEGACY_NAMES | public_names("keras.layers") | public_names("keras.models")


@functools.cache
def function_names() -> frozenset[str]:
    """The functions that a config may name without a module, such as `relu` or `mse`."""
    modules = ("activations", "losses", "metrics", "initializers", "regularizers", "constraints", "optimizers")
    return frozenset().union(*(public_names(f"keras.{module}") for module in modules))
