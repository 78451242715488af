"""Parts of Keras that are private, or that edgeport replaces while it loads and traces a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from converters.compat import tensorflow
from converters.compat.patch import Part, Patch

MADE_FOR = "3.15.1"
_NN = "keras.src.backend.tensorflow.nn"
_NUMPY = "keras.src.backend.tensorflow.numpy"
_CONV = "(inputs, kernel, strides=1, padding='valid', data_format=None, dilation_rate=1)"
_LARGER = "the graph keeps Keras' own operations, which may cost nodes and time"

AUTOCAST_SCOPE = Part(
    "keras.src.backend.common.variables:get_autocast_scope",
    "tells whether mixed precision casts a variable on its way into an operation",
    MADE_FOR,
    "()",
    otherwise=tensorflow.CREATE_OPERATION.otherwise,
)
VARIABLE_VALUE = Part(
    "keras.src.backend.tensorflow.core:Variable._initialize",
    "TensorFlow's variable is the `_value` of Keras' one",
    MADE_FOR,
    "(self, value)",
    mentions=("_value",),
    otherwise=tensorflow.CREATE_OPERATION.otherwise,
)
DIRECT = (AUTOCAST_SCOPE, VARIABLE_VALUE, tensorflow.CREATE_OPERATION)
"""What it takes to put an operation with a variable into the graph directly."""

RESHAPE = Patch(
    f"{_NUMPY}:reshape",
    "a shape whose only unknown size is the batch is written with -1, without shape arithmetic",
    MADE_FOR,
    "(x, newshape)",
    otherwise=_LARGER,
)
REPEAT = Patch(
    f"{_NUMPY}:repeat",
    "values repeated so many times are tiled in a known shape, without shape arithmetic",
    MADE_FOR,
    "(x, repeats, axis=None)",
    otherwise=_LARGER,
)
MATMUL = Patch(
    f"{_NUMPY}:matmul",
    "a product with a matrix is traced as one, without tensordot's shape arithmetic",
    MADE_FOR,
    "(x1, x2)",
    otherwise=_LARGER,
)
CONV = Patch(
    f"{_NN}:conv",
    "convolutions are TensorFlow's own: Keras wraps grouped ones in an XLA function that no format can look into",
    MADE_FOR,
    _CONV,
    mentions=("_conv_xla",),
    otherwise=_LARGER,
)
RELU = Patch(f"{_NN}:relu", "is put into the graph directly", MADE_FOR, "(x)", needs=(DIRECT[-1],), otherwise=_LARGER)
NORMALIZATION = Patch(
    "keras.layers:BatchNormalization.call",
    "batch normalization in inference is traced as TensorFlow's operations alone",
    MADE_FOR,
    "(self, inputs, training=None, mask=None)",
    mentions=("moving_mean", "moving_variance", "gamma", "beta", "scale", "center", "epsilon"),
    needs=DIRECT,
    otherwise=_LARGER,
)
SPLIT = Patch(
    f"{_NUMPY}:split",
    "a split at indices of an axis whose size is not known is traced as slices, where Keras raises an error",
    MADE_FOR,
    "(x, indices_or_sections, axis=0)",
    otherwise="splits at indices are made of axes of known sizes only",
)
SWITCH = Patch(
    "keras.src.backend.tensorflow.core:switch",
    "a choice among many branches is traced as choices between two, which every format has",
    MADE_FOR,
    "(index, branches, *operands)",
    otherwise="TFLite and ONNX are refused for a choice among many branches",
)
AVERAGED_TO_A_SIZE, LARGEST_TO_A_SIZE = (
    Patch(
        f"{_NN}:adaptive_{kind}_pool",
        "an adaptive pool at a size that is not known is traced window by window, where Keras raises an error",
        MADE_FOR,
        "(inputs, output_size, data_format=None)",
        otherwise="adaptive pools are made at known sizes only",
    )
    for kind in ("average", "max")
)

TENSORDOT = Patch(
    f"{_NUMPY}:tensordot",
    "a product along any axes of tensors of which one size is not known is traced as a product of matrices",
    MADE_FOR,
    "(x1, x2, axes=2)",
    otherwise=_LARGER,
)
QUANTILE = Patch(
    f"{_NUMPY}:_quantile",
    "a quantile along axes of known sizes is traced with its places as numbers, whatever the other sizes are",
    MADE_FOR,
    "(x, q, axis=None, method='linear', keepdims=False)",
    otherwise="where a batch is not known, a quantile's places are computed in float64, which TFLite lacks",
)
SPECTRUM = Patch(
    "keras.src.backend.tensorflow.math:stft",
    "a spectrum of a known length is traced with the number of its frames",
    MADE_FOR,
    "(x, sequence_length, sequence_stride, fft_length, window='hann', center=True)",
    otherwise="convolutions over the frames of a spectrogram have no TFLite",
)
CROP = Patch(
    "keras.layers:RandomCrop.get_random_transformation",
    "a random crop that crops nothing is traced without the place that it would crop at",
    MADE_FOR,
    "(self, data, training=True, seed=None)",
    otherwise="a RandomCrop is traced for images of a known size only",
)

EXTREMES = tuple(
    Patch(
        f"{_NUMPY}:{name}",
        "is traced as TensorFlow's operation alone, without a look at the bits of each number for a negative zero",
        MADE_FOR,
        "(x, axis=None, keepdims=False)",
        mentions=("signbit", name),
        otherwise=_LARGER,
    )
    for name in ("argmax", "argmin")
)

_SEPARABLE = (
    "(inputs, depthwise_kernel, pointwise_kernel, strides=1, padding='valid', data_format=None, dilation_rate=1)"
)
_TRANSPOSED = "(inputs, kernel, strides=1, padding='valid', output_padding=None, data_format=None, dilation_rate=1)"
CHANNEL_OPERATIONS = tuple(
    Patch(
        f"{_NN}:{name}",
        "runs a channels_first convolution as a channels-last one",
        MADE_FOR,
        parameters,
        mentions=("data_format",),
        otherwise="a convolution of channels_first is left to TensorFlow, which may not run it on a CPU",
    )
    for name, parameters in (
        ("conv", _CONV),
        ("depthwise_conv", _CONV),
        ("separable_conv", _SEPARABLE),
        ("conv_transpose", _TRANSPOSED),
    )
)

_WRONG = "in a graph it gives something else than Keras gives"
TIME_DISTRIBUTED = Patch(
    "keras.layers:TimeDistributed.call",
    "all steps of all rows are given to the layer in one call, which is right in graphs too",
    MADE_FOR,
    "(self, inputs, training=None, mask=None)",
    mentions=("vectorized_map", "layer"),
    otherwise=_WRONG,
)
PAD = Patch(
    f"{_NUMPY}:pad",
    "volumes are padded by an operation that TensorFlow does not join with a convolution",
    MADE_FOR,
    "(x, pad_width, mode='constant', constant_values=None)",
    otherwise=_WRONG,
)
WRONG_IN_GRAPHS = {"TimeDistributed": TIME_DISTRIBUTED, "ZeroPadding3D": PAD}
"""The patches without which a layer's graph gives other numbers than the layer."""
_RESIZE = (
    "(images, size, interpolation='bilinear', antialias=False, crop_to_aspect_ratio=False, pad_to_aspect_ratio=False, "
    "fill_mode='constant', fill_value=0.0, data_format=None)"
)
RESIZE, PUBLIC_RESIZE = (
    Patch(
        f"{module}:resize",
        "images are resized to sizes that the graph works out",
        MADE_FOR,
        _RESIZE,
        otherwise="models that resize images of unknown size cannot be traced",
    )
    for module in ("keras.src.ops.image", "keras.ops.image")
)

NAME_SCOPE = Patch(
    "keras.src.backend.tensorflow.core:name_scope.__init__",
    "a layer's scope is opened under a name that TensorFlow has letters for",
    MADE_FOR,
    "(self, name, **kwargs)",
    mentions=("_tf_name_scope", "name_scope"),
    otherwise="models with layers of unusual names may not be traced",
)
SKIPSET = Patch(
    "keras.src.saving.saving_lib:get_attr_skipset",
    "which attributes of a layer hold no state is worked out once",
    MADE_FOR,
    "(obj_type)",
    otherwise="loading takes longer",
)
LOAD_ARCHIVE = Part(
    "keras.src.saving.saving_lib:_load_model_from_fileobj",
    "loads an archive whatever its file is called",
    MADE_FOR,
    "(fileobj, custom_objects, compile, safe_mode)",
    otherwise="the archive is copied to a file with the suffix that Keras asks for",
)
SAFE_MODE = Part("keras.src.saving.serialization_lib:SafeModeScope", "forbids code in a file", MADE_FOR, "(safe_mode)")
LEGACY_SCOPE = Part(
    "keras.src.legacy.saving.saving_options:keras_option_scope",
    "reads the configuration of an older Keras",
    MADE_FOR,
    "(use_legacy_config)",
)
LEGACY_MODEL = Part(
    "keras.src.legacy.saving.saving_utils:model_from_config",
    "builds a model from the configuration of an older Keras",
    MADE_FOR,
    "(config, custom_objects)",
)
LEGACY_WEIGHTS = Part(
    "keras.src.legacy.saving.legacy_h5_format:load_weights_from_hdf5_group",
    "reads the weights of an HDF5 file",
    MADE_FOR,
    "(group, model)",
)

FLATTEN_LAYERS = Part(
    "keras:Layer._flatten_layers",
    "all layers that a model is made of",
    MADE_FOR,
    "(self, include_self, recursive)",
)
OWN_VARIABLES = Part(
    "keras:Layer._initialize_tracker",
    "a layer's own variables are its `_trainable_variables` and `_non_trainable_variables`",
    MADE_FOR,
    mentions=("_trainable_variables", "_non_trainable_variables"),
)
HISTORY = Part(
    "keras.src.ops.node:Node.__init__",
    "a symbolic tensor's `_keras_history` names the operation that gives it, whose `_outbound_nodes` take it",
    MADE_FOR,
    mentions=("_keras_history", "KerasHistory", "_outbound_nodes"),
)
INNER_GRAPH = Part(
    "keras:Sequential.__init__", "a Sequential keeps its graph in `_functional`", MADE_FOR, mentions=("_functional",)
)
RUN_THROUGH_GRAPH = Part(
    "keras:Function._run_through_graph",
    "calls a model's layers on new inputs",
    MADE_FOR,
    "(self, inputs, operation_fn, call_fn)",
)
STORED_WEIGHTS = {
    "kernel": Part("keras.layers:Dense.build", "a kernel is kept in `_kernel`", MADE_FOR, mentions=("_kernel",)),
    "embeddings": Part(
        "keras.layers:Embedding.build", "embeddings are kept in `_embeddings`", MADE_FOR, mentions=("_embeddings",)
    ),
}
"""A layer's weight as it is stored: without its LoRA pair, in integers where it is quantized."""
DEQUANT_SCALE = Part(
    "keras.layers:EinsumDense._adjust_scale_for_dequant",
    "brings the scales of a quantized EinsumDense into its kernel's shape",
    MADE_FOR,
    "(self, scale)",
)


class _Hidden(Part):
    """A module that Keras can do without. Nothing of Keras is imported to find that out."""

    def fits(self) -> bool:
        spec = find_spec(self.library)
        if spec is None or spec.origin is None:
            return False
        try:
            texts = [(Path(spec.origin).parent / "src" / "wrappers" / name).read_text() for name in self.mentions]
        except OSError:
            return False
        return all("try:\n    import sklearn\n" in text and "except ImportError:" in text for text in texts)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """While open, the module cannot be imported; nothing happens where it has been, or where that does not fit."""
        _, _, name = self.where.partition(":")
        if name in sys.modules or not self.usable():
            yield
            return
        sys.modules[name] = None  # type: ignore[assignment]  # what makes an import raise ImportError
        try:
            yield
        finally:
            del sys.modules[name]


SKLEARN = _Hidden(
    "keras.src.wrappers.sklearn_wrapper:sklearn",
    "scikit-learn is hidden while Keras is imported, which would import it for wrappers that edgeport does not use",
    MADE_FOR,
    mentions=("fixes.py", "sklearn_wrapper.py"),
    otherwise="Keras imports scikit-learn where that is installed, which takes longer",
)


def all_layers(model: Any, *, include_self: bool = True, recursive: bool = True) -> list[Any]:
    """The layers that a model is made of, nested ones opened; of one level alone where not `recursive`."""
    return list(FLATTEN_LAYERS.get()(model, include_self, recursive))


def own_variables(layer: Any) -> list[Any]:
    """A layer's variables without those of the layers in it; trainable ones first."""
    OWN_VARIABLES.required()
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def operation_of(tensor: Any) -> Any:
    """The operation that gives a symbolic tensor."""
    HISTORY.required()
    return tensor._keras_history.operation


def source_of(tensor: Any, operation: Any) -> Any:
    """The tensor within a nested model, `operation`, that is given as this symbolic tensor."""
    HISTORY.required()
    return operation.outputs[tensor._keras_history.tensor_index]


def consuming_nodes(operation: Any) -> tuple[Any, ...]:
    """The nodes that take an operation's outputs."""
    HISTORY.required()
    return tuple(getattr(operation, "_outbound_nodes", ()))


def graph_of(model: Any) -> Any:
    """The model that knows its operations: a Sequential keeps one inside."""
    INNER_GRAPH.required()
    return getattr(model, "_functional", None) or model


def run_through(graph: Any, tensors: list[Any]) -> Any:
    """The outputs of a model's layers called on other inputs."""
    run = RUN_THROUGH_GRAPH.get()
    return run(graph, tensors, call_fn=lambda layer, *arguments, **keywords: layer(*arguments, **keywords))


def stored_weight(layer: Any, name: str) -> Any:
    """A layer's variable behind its property `kernel` or `embeddings`."""
    STORED_WEIGHTS[name].required()
    return getattr(layer, f"_{name}")


def dequant_scale(layer: Any, scale: Any) -> Any:
    """A quantized layer's scales as its kernel is shaped; untouched for layers that shape them so themselves."""
    import keras

    return DEQUANT_SCALE.get()(layer, scale) if isinstance(layer, keras.layers.EinsumDense) else scale


def variable_behind(variable: Any) -> Any:
    """TensorFlow's variable behind Keras' one. Only where `VARIABLE_VALUE` fits."""
    return variable._value


def is_cast(variable: Any) -> bool:
    """Whether mixed precision casts a float32 variable that an operation takes. Only where `AUTOCAST_SCOPE` fits."""
    from keras.src.backend.common.variables import get_autocast_scope

    scope = get_autocast_scope()
    return not (scope is None or scope.dtype in (None, "float32"))
