"""The weights of layers that Keras 1 stored otherwise, in the arrays of Keras 2 and 3.

Source: `preprocess_weights_for_loading` of Keras 2.2 (keras/engine/saving.py). An LSTM has four gates of three arrays,
in the order i, c, f, o, and a GRU three, z, r, h; a one-dimensional convolution is a two-dimensional one of width 1,
`(length, 1, in, out)`, and before Keras 1.2 `(out, in, length, 1)`. With `consume_less="gpu"` the gates were stored
joined already, in today's order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.errors import RefusedError

_GATES = {"LSTM": (0, 2, 1, 3), "GRU": (0, 1, 2)}
"""Where the gates of today's order stand in the file."""

_FLAT = frozenset({"Convolution1D", "AtrousConvolution1D"})
_WRAPPERS = frozenset({"Bidirectional", "TimeDistributed"})


@contextlib.contextmanager
def readable_weights(file: Any, config: Mapping[str, Any]) -> Iterator[Any]:
    """The group `model_weights` of an open Keras 1 file, its arrays in the shapes of today; the file stays as it is.

    Args:
        file: of h5py.
        config: the model's, as Keras 1 wrote it.

    Raises:
        RefusedError: such a layer inside of another model, whose arrays cannot be told apart.
    """
    import h5py

    stored = weights_in(file)
    entries = _layers(config, Path(file.filename))
    layers = {layer["config"]["name"]: layer for layer in entries if isinstance(layer.get("config"), dict)}
    if not any(_differs(layer) for layer in layers.values()):
        yield stored
        return
    with h5py.File("rewritten", "w", driver="core", backing_store=False) as copy:
        for name, value in stored.attrs.items():
            copy.attrs[name] = value
        for name in stored:
            stored.copy(stored[name], copy, name=name)
            if name in layers and _differs(layers[name]):
                _rewrite(copy[name], layers[name])
        yield copy


def weights_in(file: Any) -> Any:
    """The group with the weights: that of a whole model, or a file of weights itself."""
    return file.get("model_weights", file)


def _rewrite(group: Any, layer: Mapping[str, Any]) -> None:
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs["weight_names"]]
    arrays = todays(layer, [np.asarray(group[name]) for name in names])
    del group.attrs["weight_names"]
    group.attrs["weight_names"] = [f"today/{k}".encode() for k in range(len(arrays))]
    for k, array in enumerate(arrays):
        group.create_dataset(f"today/{k}", data=array)


def todays(layer: Mapping[str, Any], arrays: Sequence[Array]) -> list[Array]:
    """A layer's arrays as Keras 2 and 3 have them; those of other layers as they are."""
    kind, config = layer["class_name"], layer["config"]
    if kind == "Bidirectional":
        half = len(arrays) // 2
        return [*todays(config["layer"], arrays[:half]), *todays(config["layer"], arrays[half:])]
    if kind == "TimeDistributed":
        return todays(config["layer"], arrays)
    if kind in _GATES and len(arrays) == 3 * len(_GATES[kind]):
        return [np.concatenate([arrays[3 * gate + part] for gate in _GATES[kind]], axis=-1) for part in range(3)]
    if kind in _FLAT and arrays and arrays[0].ndim == 4:
        kernel, length, filters = arrays[0], config["filter_length"], config["nb_filter"]
        if kernel.shape[:2] != (length, 1) or kernel.shape[3] != filters:
            kernel = kernel.transpose(2, 3, 1, 0)
        return [kernel[:, 0], *arrays[1:]]
    return list(arrays)


def _differs(layer: Mapping[str, Any]) -> bool:
    kind, config = layer["class_name"], layer["config"]
    return kind in _GATES or kind in _FLAT or (kind in _WRAPPERS and _differs(config["layer"]))


def _layers(config: Mapping[str, Any], source: Path) -> list[dict[str, Any]]:
    """The layers of a model; a layer to rewrite inside of a model among them is refused."""
    inner: Any = config["config"]
    layers = [layer for layer in (inner if isinstance(inner, list) else inner["layers"]) if isinstance(layer, dict)]
    for layer in layers:
        if layer["class_name"] in {"Sequential", "Model"}:
            for deep in _layers(layer, source):
                if isinstance(deep.get("config"), dict) and _differs(deep):
                    raise RefusedError(
                        f"{source} was saved by Keras 1, and its layer `{deep['config'].get('name')}` "
                        f"({deep['class_name']}) lies in a model inside of the model, where it cannot be read.",
                        next_step="Load it in Keras 2 and save it again as .h5 (Keras 2.2 reads files of Keras 1).",
                        file=source,
                        step="load",
                    )
    return layers
