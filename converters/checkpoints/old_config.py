"""The config of a Keras 1 or 2 model, rewritten so that Keras 3 builds the same network from it. No framework is used.

Keras 3 reads some of what Keras 2 wrote. What it stumbles over, or takes for something else, is settled here: arguments
that are gone, `axis` as a list, `batch_input_shape`, TensorFlow operations called on layers' outputs (`x / 255`), and
`hard_sigmoid`, whose slope changed from 0.2 to 1/6. Sources: the `get_config` of tf_keras 2.21; keras/src/legacy of
Keras 3.15.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from converters.checkpoints.keras1_config import CONVOLUTIONS, from_keras1
from converters.checkpoints.old_layers import RECURRENT, with_states, without_slashes
from converters.errors import RefusedError
from converters.readers.keras_api import public_names

HARD_SIGMOID = "keras2_hard_sigmoid"
"""The name under which `converters.checkpoints.user_code` registers Keras 2's hard sigmoid: clip(0.2 x + 0.5, 0, 1)."""

_KERNEL = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")
_GONE: Mapping[str, tuple[str, ...]] = {
    "DepthwiseConv1D": ("groups",), "DepthwiseConv2D": ("groups",), "SeparableConv1D": ("groups", *_KERNEL),
    "SeparableConv2D": ("groups", *_KERNEL), "Conv2DTranspose": ("groups",), "Conv3DTranspose": ("groups",),
    "Conv1DTranspose": ("groups",), "LSTM": ("time_major", "implementation"), "GRU": ("time_major", "implementation"),
    "SimpleRNN": ("time_major", "implementation"), "RNN": ("time_major",),
    "ConvLSTM2D": ("time_major", "implementation"),
    "ConvLSTM1D": ("time_major", "implementation"), "ConvLSTM3D": ("time_major", "implementation"),
    "LSTMCell": ("implementation",), "GRUCell": ("implementation",), "SimpleRNNCell": ("implementation",),
    "BatchNormalization": ("renorm", "renorm_clipping", "renorm_momentum", "fused", "virtual_batch_size", "adjustment"),
    "MultiHeadAttention": ("query_shape", "key_shape", "value_shape"),
    "InputLayer": ("ragged", "type_spec"), "Embedding": ("input_length",),
    **{f"SpatialDropout{rank}D": ("trainable", "noise_shape") for rank in (1, 2, 3)},
}  # fmt: skip
_MUST_BE_OFF = ("time_major", "renorm", "ragged")
_INITIALIZERS = frozenset(
    {
        "Zeros",
        "Ones",
        "Constant",
        "RandomNormal",
        "RandomUniform",
        "TruncatedNormal",
        "VarianceScaling",
        "Orthogonal",
        "Identity",
        "GlorotUniform",
        "GlorotNormal",
        "HeNormal",
        "HeUniform",
        "LecunNormal",
        "LecunUniform",
    }
)
_ACTIVATIONS = {
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.sigmoid": "sigmoid",
    "math.sigmoid": "sigmoid",
    "nn.softmax": "softmax",
    "nn.tanh": "tanh",
    "math.tanh": "tanh",
    "nn.silu": "silu",
    "nn.swish": "silu",
    "nn.elu": "elu",
    "nn.selu": "selu",
    "nn.softplus": "softplus",
}
_JOINS = {
    "math.add": "Add",
    "__operators__.add": "Add",
    "math.multiply": "Multiply",
    "math.subtract": "Subtract",
    "math.maximum": "Maximum",
    "math.minimum": "Minimum",
}
_CONSTANT = "_CONSTANT_VALUE"
_MODULES = ("keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.constraints")
_OLD_MODULES = ("tf_keras", "keras.engine", "keras.src.engine", "tensorflow.python.keras")


@dataclass
class Rewritten:
    """A config that Keras 3 reads, and what was changed in it that a user should know of, in sentences."""

    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def is_old(keras_version: str, config: Mapping[str, Any]) -> bool:
    """Whether Keras 2 (or 1) wrote this: by the version, or by a module that only Keras 2 had."""
    module = str(config.get("module") or "")
    return keras_version.split(".")[0] in {"", "1", "2"} or module.startswith(_OLD_MODULES)


def is_keras1(keras_version: str) -> bool:
    """Whether Keras 1 wrote it; its first versions wrote no version."""
    return keras_version.split(".")[0] in {"", "1"}


def modernized(config: dict[str, Any], keras_version: str, source: Path) -> Rewritten:
    """The same model for Keras 3.

    Raises:
        RefusedError: a setting or an operation that Keras 3 does not have, by layer.
    """
    rewriter = _Rewriter(source, keras1=is_keras1(keras_version))
    config, renamed = without_slashes(rewriter.item(config))
    for old, new in list(renamed.items())[:1]:
        more = f", and {len(renamed) - 1} more likewise" if len(renamed) > 1 else ""
        rewriter.notes.append(f"Keras 3 takes no slash in a name: the layer {old!r} is called {new!r}{more}.")
    return Rewritten(config, list(dict.fromkeys(rewriter.notes)))


class _Rewriter:
    def __init__(self, source: Path, *, keras1: bool) -> None:
        self.notes: list[str] = []
        self._source, self._keras1 = source, keras1

    def item(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.item(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("class_name"), str) and "config" in value:
            return self._object(self._first(value) if self._keras1 and "module" not in value else value)
        return {key: self.item(entry) for key, entry in value.items()}

    def _first(self, value: dict[str, Any]) -> dict[str, Any]:
        if value["class_name"] in CONVOLUTIONS:
            self.notes.append(
                "A file of Keras 1 does not tell its backend: it was read as TensorFlow's (Theano turned its kernels)."
            )
        return from_keras1(value, self._source)

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        name = value["class_name"]
        value = self._placed({k: v for k, v in value.items() if k not in {"build_config", "compile_config"}})
        if name in {"TFOpLambda", "SlicingOpLambda"}:
            return self._operation(value)
        if name in RECURRENT:
            value = self._with_states(value)
        if name == "Lambda":
            return value | {"config": _lambda(value["config"])}
        if isinstance(value["config"], list):  # a Sequential of Keras 1 and early Keras 2
            value["config"] = {"name": "sequential", "layers": value["config"]}
        if name == "Sequential" and isinstance(value["config"], dict):
            value["config"] = value["config"] | {"layers": _with_input(value["config"].get("layers"))}
        config = self.item(value["config"])
        return value | {"config": self._settings(name, config) if isinstance(config, dict) else config}

    def _placed(self, value: dict[str, Any]) -> dict[str, Any]:
        """The layer with the module that Keras 3 keeps the class in; a class that is not Keras' own stays as it was."""
        name, registered = value["class_name"], value.get("registered_name")
        package = str(value.get("module") or "keras").split(".")[0]
        if package not in {"keras", "tf_keras", "tensorflow"} or registered not in {None, "", name}:
            return value
        if name in {"Functional", "Model"}:
            functional = {"class_name": "Functional", "module": "keras.src.models.functional"}
            return value | functional | {"registered_name": None}
        module = next((m for m in _MODULES if name in public_names(m)), None)
        if module is None:
            return {key: entry for key, entry in value.items() if key != "module"}
        return value | {"module": module, "registered_name": None}

    def _settings(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        gone = _GONE.get(name, ())
        for key in _MUST_BE_OFF:
            if key in gone and config.get(key):
                raise self._refuse(f"sets {key} in the layer `{config.get('name')}` ({name}), which Keras 3 cannot do")
        if name in _INITIALIZERS:
            gone = ("dtype",)
        config = {key: value for key, value in config.items() if key not in gone}
        for key in ("input_layers", "output_layers"):  # Keras 2 gives back a tensor where its list has but one
            ends = config.get(key)
            if name in {"Functional", "Model"} and isinstance(ends, list) and len(ends) == 1:
                config[key] = ends[0]
        if name == "InputLayer" and "batch_input_shape" in config:
            config["batch_shape"] = config.pop("batch_input_shape")
        config.pop("batch_input_shape", None)  # any other layer: `_with_input` has read it
        if name == "GRU":
            config.setdefault("reset_after", False)  # early Keras 2 had no other; today's default is True
        if name == "BatchNormalization" and isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
            config["axis"] = config["axis"][0]
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = _policy(config["dtype"])
        for key in ("activation", "recurrent_activation"):
            if config.get(key) == "hard_sigmoid":
                config[key] = {"class_name": "function", "config": HARD_SIGMOID, "module": "builtins"}
                self.notes.append("hard_sigmoid is computed as Keras 2 does: clip(0.2 x + 0.5, 0, 1).")
        return config

    def _with_states(self, value: dict[str, Any]) -> dict[str, Any]:
        config = value["config"] if isinstance(value["config"], dict) else {}
        if config.get("num_constants"):
            layer = config.get("name")
            raise self._refuse(
                f"gives constants to the layer `{layer}` ({value['class_name']}), which Keras 3 cannot do"
            )
        return with_states(value)

    def _operation(self, value: dict[str, Any]) -> dict[str, Any]:
        """A TensorFlow function that was called on a layer's output, as the layer that does the same."""
        config = value["config"] if isinstance(value["config"], dict) else {}
        function, layer = str(config.get("function")), str(config.get("name"))
        replacement = self._layer_for(function, value.get("inbound_nodes"))
        if replacement is None:
            raise self._refuse(
                f"calls the TensorFlow function tf.{function} in its layer `{layer}`, for which Keras 3 has no layer"
            )
        class_name, settings, inbound = replacement
        self.notes.append(f"The call of tf.{function} ({layer}) became a {class_name} layer.")
        layer_config = {"name": layer, "trainable": False, "dtype": _policy(config.get("dtype", "float32"))} | settings
        return self._placed({"class_name": class_name, "config": layer_config, "name": layer, "inbound_nodes": inbound})

    def _layer_for(self, function: str, nodes: Any) -> tuple[str, dict[str, Any], list[Any]] | None:
        calls = [_call(node) for node in nodes] if isinstance(nodes, list) and nodes else [None]
        if None in calls:
            return None
        valid = [call for call in calls if call is not None]
        tensors = [[[*tensor, {}] for tensor in call.tensors] for call in valid]
        if function in _ACTIVATIONS and all(len(t) == 1 for t in tensors):
            return "Activation", {"activation": _ACTIVATIONS[function]}, tensors
        if function in _JOINS and all(len(t) == 2 for t in tensors):
            return _JOINS[function], {}, tensors
        scalings = [call.scaling(function) for call in valid]
        first = scalings[0]
        if first is None or any(scaling != first for scaling in scalings):
            return None
        return "Rescaling", {"scale": first[0], "offset": first[1]}, tensors

    def _refuse(self, reason: str) -> RefusedError:
        return RefusedError(
            f"{self._source} {reason}.",
            file=self._source,
            step="scan",
            next_step="Save it where it was made as a SavedModel (model.save with save_format='tf', or model.export), "
            "which edgeport takes.",
        )


@dataclass(frozen=True)
class _Call:
    """One call of a TensorFlow function: its tensors in order, its constant, and which of the two comes first."""

    tensors: list[list[Any]]
    constant: Any = None
    constant_first: bool = False

    def scaling(self, function: str) -> tuple[Any, Any] | None:
        """(scale, offset) where the call is `x * scale + offset`."""
        k = self.constant
        plain = isinstance(k, int | float) and not isinstance(k, bool)
        if len(self.tensors) != 1 or (not plain and not _numbers(k)):
            return None
        if function in {"math.add", "__operators__.add"}:
            return 1.0, k
        if function == "math.multiply":
            return k, 0.0
        if function == "math.subtract":
            return (-1.0, k) if self.constant_first else (1.0, _each(k, lambda v: -v))
        if function in {"math.truediv", "math.divide", "realdiv"} and not self.constant_first:
            return (_each(k, lambda v: 1.0 / v), 0.0) if 0 not in (k if isinstance(k, list) else [k]) else None
        return None


def _call(node: Any) -> _Call | None:
    """`["layer", 0, 0, {"y": 127.5}]` and its kin; a constant may come first: `["_CONSTANT_VALUE", -1, 1.0, {...}]`."""
    if not isinstance(node, list) or len(node) != 4 or not isinstance(node[3], dict):
        return None
    arguments = {key: value for key, value in node[3].items() if key != "name" and value is not None}
    if set(arguments) - {"y"}:
        return None
    other: Any = arguments.get("y")
    if node[0] == _CONSTANT:
        return _Call([other], node[2], constant_first=True) if _is_tensor(other) else None
    first = list(node[:3])
    if _is_tensor(other):
        return _Call([first, other])
    return _Call([first], other)


def _is_tensor(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str) and value[0] != _CONSTANT


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, int | float) for v in value)


def _each(value: Any, function: Any) -> Any:
    return [function(v) for v in value] if isinstance(value, list) else function(value)


def _lambda(config: Any) -> Any:
    """A Lambda's function in the form of Keras 3; whether it may run is not decided here."""
    if not isinstance(config, dict):
        return config
    gone = {"module", "function_type", "output_shape_type", "output_shape_module", "batch_input_shape"}
    config = {key: value for key, value in config.items() if key not in gone}
    stored = config.get("function")
    if isinstance(stored, list) and len(stored) == 3:
        parts = dict(zip(("code", "defaults", "closure"), stored, strict=True))
        config["function"] = {"class_name": "__lambda__", "config": parts}
    return config


def _policy(dtype: Any) -> Any:
    """`{"class_name": "Policy", "config": {"name": "mixed_float16"}}` of Keras 2 is `"mixed_float16"`."""
    if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict):
        return dtype["config"].get("name", "float32")
    return dtype


def _with_input(layers: Any) -> Any:
    """Early Keras 2 gives a Sequential's input shape in its first layer alone."""
    if not isinstance(layers, Sequence) or not layers or not isinstance(layers[0], dict):
        return layers
    first = layers[0].get("config")
    if layers[0].get("class_name") == "InputLayer" or not isinstance(first, dict) or "batch_input_shape" not in first:
        return layers
    first = dict(first)
    shape = first.pop("batch_input_shape")
    dtype = "float32" if layers[0]["class_name"] != "Embedding" else "int32"
    settings = {"batch_shape": shape, "dtype": dtype, "name": f"{first.get('name')}_input"}
    head = {"class_name": "InputLayer", "config": settings}
    return [head, layers[0] | {"config": first}, *layers[1:]]
