"""Python that is not Keras': the user's custom objects and model functions. Runs in workers only.

What runs here was named on the command line and stands in the manifest as unsafe; see `LoadOptions.runs_code`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from converters.checkpoints.load_options import Code, LoadOptions
from converters.checkpoints.old_config import HARD_SIGMOID
from converters.errors import StepError, UsageError


def custom_objects(opening: LoadOptions) -> dict[str, Any]:
    """The classes and functions that `--custom-objects` names, by name; importing them may register more with Keras.

    Without a name it is every public class and function that the module itself defines. Keras' own registry gets them
    too, for a model is taken apart and built again later on (float64 oracle, LoRA, quantization).

    Raises:
        UsageError: the module or the name is not there.
        StepError: the module's own code fails while it is imported.
    """
    import keras

    objects: dict[str, Any] = {HARD_SIGMOID: keras2_hard_sigmoid}
    registry = keras.saving.get_custom_objects()
    for code in opening.custom_objects:
        module = _imported(code, opening)
        if code.name:
            objects[code.name] = _member(module, code)
        else:
            objects |= {
                name: value
                for name, value in vars(module).items()
                if not name.startswith("_")
                and getattr(value, "__module__", None) == module.__name__
                and (inspect.isclass(value) or inspect.isfunction(value))
            }
    registry.update(objects)
    return dict(registry)


def bound(config: Any, objects: Mapping[str, Any]) -> Any:
    """The config with each custom class named as Keras will look it up: `registered_name` is a key of `objects`.

    A class that the user's module does not register under the file's `package>Name` is found by its plain name, and a
    function that old files name by a bare word too.
    """
    if isinstance(config, list):
        return [bound(entry, objects) for entry in config]
    if not isinstance(config, dict):
        return config
    fields = {key: bound(value, objects) for key, value in config.items()}
    for key in ("activation", "recurrent_activation"):
        if isinstance(fields.get(key), str) and fields[key] in objects:
            fields[key] = {"class_name": "function", "config": fields[key], "module": "builtins"}
    name = fields.get("class_name")
    if isinstance(name, str) and "registered_name" in fields and name in objects:
        registered = fields["registered_name"]
        fields["registered_name"] = registered if registered in objects else name
    return fields


def built_model(opening: LoadOptions) -> Any:
    """The model that the function of `--model-code` returns.

    Raises:
        UsageError: the module or the function is not there, or it did not return a Keras model.
        StepError: it failed.
    """
    import keras

    code = opening.model_code
    assert code is not None
    function = _member(_imported(code, opening), code)
    try:
        model = function()
    except Exception as cause:  # whatever the user's function raises
        raise _failed(code, cause) from cause
    if not isinstance(model, keras.Model):
        raise UsageError(
            f"--model-code {code} returned a {type(model).__name__}, not a keras.Model.",
            next_step="Name a function without arguments that builds and returns the model.",
            step="load",
        )
    return model


def function_of(code: Code, folder: str) -> Any:
    """A function that the user named; modules are looked for in `folder` first.

    Raises:
        UsageError: the module or the function is not there.
        StepError: the module's own code fails while it is imported.
    """
    function = _member(_imported(code, LoadOptions(folder=folder)), code)
    if not callable(function):
        raise UsageError(f"{code} is not a function.", next_step="Name one.", step="load")
    return function


def keras2_hard_sigmoid(x: Any) -> Any:
    """Keras 2's hard sigmoid: clip(0.2 x + 0.5, 0, 1). Keras 3 computes relu6(x + 3) / 6 under the old name."""
    from keras import ops

    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _imported(code: Code, opening: LoadOptions) -> ModuleType:
    if opening.folder and opening.folder not in sys.path:
        sys.path.insert(0, opening.folder)
    try:
        return _from_file(Path(code.module)) if code.is_file else importlib.import_module(code.module)
    except ModuleNotFoundError as cause:
        if not code.is_file and cause.name and code.module.split(".")[0] == cause.name.split(".")[0]:
            raise UsageError(
                f"There is no Python module {code.module} (looked in {opening.folder or 'the environment'} first).",
                next_step="Give the path of its .py file, or install it beside edgeport.",
                step="load",
            ) from cause
        raise _failed(code, cause) from cause
    except Exception as cause:  # whatever the user's module raises
        raise _failed(code, cause) from cause


def _from_file(path: Path) -> ModuleType:
    """The module in a file, under the file's own name, so that classes say where they are from."""
    if path.stem in sys.modules and getattr(sys.modules[path.stem], "__file__", None) == str(path):
        return sys.modules[path.stem]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # its neighbours
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _member(module: ModuleType, code: Code) -> Any:
    member = getattr(module, code.name or "", None)
    if member is None:
        public = [n for n, v in vars(module).items() if not n.startswith("_") and callable(v)]
        raise UsageError(
            f"{code.module} has no `{code.name}`.",
            next_step=f"It has: {', '.join(public[:12]) or 'nothing'}.",
            step="load",
        )
    return member


def _failed(code: Code, cause: BaseException) -> StepError:
    text = " ".join(str(cause).split())
    next_step = "Run it in Python first: it has to work without edgeport."
    if isinstance(cause, OSError):  # what works in Python, where nothing is out of its reach
        next_step = (
            "In the sandbox it may write no files, use no network, and read files in its own folder alone: let it do "
            "without, or give --sandbox off where you trust it."
        )
    return StepError(f"The code {code} fails ({type(cause).__name__}: {text}).", next_step=next_step, step="load")
