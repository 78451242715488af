"""TensorFlow checkpoints (`.index` and `.data`) into a Keras model that is built. Runs in workers only.

Three layouts are known. Keras 2 numbers the layers that have weights (`layer_with_weights-3/kernel`), Keras 3 those
that the model is made of (`_operations/4/_kernel`), both below any name that a tf.train.Checkpoint gave the model;
TensorFlow 1 writes the variables' own names (`dense/kernel`). Each variable of the model must be found, and each weight
used.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.compat.keras import all_layers, own_variables
from converters.errors import RefusedError, StepError, words_of
from converters.readers.tensor_bundle import prefix_of

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_NO_WEIGHT = re.compile(
    r"\.OPTIMIZER_SLOT/|(^|/)(save_counter|optimizer|_optimizer|keras_api|seed_generator|global_step|loss_tracker)(/|$)"
    r"|(^|/)(Adam|RMSProp|Momentum|beta[12]_power)(_\d+)?$|^_CHECKPOINTABLE_OBJECT_GRAPH$|/Adam(_1)?$|(^|/)iteration$"
)


def load_tf_checkpoint(model: Any, index: Path) -> None:
    """Assigns every weight of `model` from the checkpoint `<prefix>.index`.

    Raises:
        RefusedError: the checkpoint is damaged.
        StepError: it does not fit; names a variable and both shapes.
    """
    import tensorflow as tf

    prefix = prefix_of(index)
    try:
        reader = tf.compat.v1.train.NewCheckpointReader(prefix)  # load_checkpoint would look into a folder of that name
        shapes = reader.get_variable_to_shape_map()
    except (ValueError, RuntimeError, tf.errors.OpError) as cause:
        raise _damaged(prefix, cause) from cause
    weights = {key for key in shapes if not _NO_WEIGHT.search(key.removesuffix(_VALUE))}
    pairs = _best_layout(model, weights, prefix)
    for variable, key in pairs:
        if tuple(shapes[key]) != tuple(variable.shape):
            in_model, in_file = tuple(variable.shape), tuple(shapes[key])
            raise _unfit(prefix, f"`{variable.path}` has shape {in_model} in the model and {in_file} in the file")
        try:
            variable.assign(reader.get_tensor(key))
        except tf.errors.OpError as cause:
            raise _damaged(prefix, cause) from cause


def _best_layout(model: Any, weights: set[str], prefix: str) -> list[tuple[Any, str]]:
    """The layout that finds every variable and leaves no weight over. Raises StepError."""
    complaints = []
    for layout in (_keras2, _keras3, _by_name):
        pairs = list(layout(model))
        root = _root([key for _, key in pairs], weights)
        if root is None:
            continue
        matches = [(variable, f"{root}{key}") for variable, key in pairs]
        missing = [variable.path for variable, key in matches if key not in weights]
        leftovers = weights - {key for _, key in matches}
        if not missing and not leftovers:
            return matches
        lacking = f"it holds no numbers for `{missing[0]}`" if missing else ""
        over = f"it holds `{min(leftovers).removesuffix(_VALUE)}`, which the model does not have" if leftovers else ""
        complaints.append((len(missing) + len(leftovers), " and ".join(filter(None, (lacking, over)))))
    raise _unfit(prefix, min(complaints)[1] if complaints else "none of its names is one of the model's")


def _root(keys: list[str], weights: set[str]) -> str | None:
    """The prefix of the first name that the file holds: `model/`, or nothing."""
    for key in keys:
        ends = [weight for weight in weights if weight == key or weight.endswith(f"/{key}")]
        if ends:
            return min(ends, key=len).removesuffix(key)
    return None


def _keras2(model: Any) -> Iterator[tuple[Any, str]]:
    return _numbered(model, "")


def _numbered(model: Any, prefix: str) -> Iterator[tuple[Any, str]]:
    import keras

    with_weights = [layer for layer in model.layers if _weights_of(layer)]
    for number, layer in enumerate(with_weights):
        path = f"{prefix}layer_with_weights-{number}/"
        if getattr(layer, "layers", None) and isinstance(layer, keras.Function):
            yield from _numbered(layer, path)
            continue
        yield from _attributes(layer, path)


def _attributes(layer: Any, place: str) -> Iterator[tuple[Any, str]]:
    """A layer's variables by their own names, those of inner layers below the attribute that holds them."""
    old_names = {"kernel": "depthwise_kernel"} if type(layer).__name__.startswith("DepthwiseConv") else {}
    for variable in _layer_variables(layer):
        yield variable, f"{place}{old_names.get(variable.name, variable.name)}{_VALUE}"
    for name, inner in _inner(layer):
        yield from _attributes(inner, f"{place}{name}/")


def _inner(layer: Any) -> list[tuple[str, Any]]:
    """(attribute, layer) of the layers that a layer is made of: cells, wrapped layers, projections."""
    import keras

    names = {id(value): name for name, value in vars(layer).items() if isinstance(value, keras.layers.Layer)}
    inner = [one for one in all_layers(layer, include_self=False, recursive=False) if _weights_of(one)]
    return [(names.get(id(one), one.name), one) for one in inner]


def _keras3(model: Any) -> Iterator[tuple[Any, str]]:
    """The shortest way to each variable, as TensorFlow names it when it saves this model."""
    import tensorflow as tf

    view = tf.train.TrackableView(model)
    variables = {id(variable): variable for variable in _weights_of(model)}
    visited, queue = {id(model)}, deque([("", model)])
    while queue:
        path, holder = queue.popleft()
        variable = variables.get(id(holder))
        if variable is not None:
            yield variable, path + _VALUE
            continue
        for name, child in view.children(holder).items():
            if id(child) not in visited:
                visited.add(id(child))
                step = name.replace(".", "..").replace("/", ".S")  # how TensorFlow escapes a slash in a name
                queue.append((f"{path}/{step}" if path else step, child))


def _by_name(model: Any) -> Iterator[tuple[Any, str]]:
    for variable in _weights_of(model):
        yield variable, variable.path.removeprefix(f"{model.name}/")


def _layer_variables(layer: Any) -> list[Any]:
    return [v for v in own_variables(layer) if "seed" not in v.name]


def _weights_of(layer: Any) -> list[Any]:
    return [v for v in layer.weights if "seed_generator" not in v.path]


def _damaged(prefix: str, cause: BaseException) -> RefusedError:
    return RefusedError(
        f"The checkpoint {prefix} is damaged ({words_of(cause)}).",
        next_step="Copy all of its files again.",
        file=Path(prefix),
        step="weights",
    )


def _unfit(prefix: str, why: str) -> StepError:
    return StepError(
        f"The checkpoint {prefix} does not fit the model: {why}.",
        next_step="Build the model that it was made with (--classes, --input-shape, --set, or its code).",
        file=Path(prefix),
        step="weights",
    )
