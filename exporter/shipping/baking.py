"""`--bake-preprocess`: the checkpoint with inputs of uint8 that it scales itself, before anything is made of it.

The wrapped checkpoint takes the place of the original: artifacts are made from it, judged against it, and its golden
inputs are what a camera gives. Casting eight bits to float is exact, so nothing is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.identify import identify
from converters.common import Common
from converters.compat.keras import graph_of, run_through
from converters.errors import RefusedError
from converters.isolation import Channel, run_step
from exporter.shipping.preprocess import Preprocess, parse_preprocess, preprocess_of

_LAYER = "edgeport_scaling"


def baked(checkpoint: Checkpoint, preprocess: Sequence[str], common: Common, folder: Path) -> Checkpoint:
    """The checkpoint that takes uint8, in `folder`; its digest is that of the original and of what was baked in.

    Args:
        preprocess: `KEY=VALUE`, how its values are scaled.

    Raises:
        RefusedError: a source that is not a Keras checkpoint, no image-like float input, or an input without a known
            scaling; what `preprocess_of` raises.
    """
    if checkpoint.kind not in (SourceKind.KERAS, SourceKind.H5):
        raise RefusedError(
            f"{checkpoint.path} is no Keras checkpoint but {checkpoint.kind.value}, whose graph takes what it takes.",
            next_step="Give the .keras checkpoint that it was made from.",
            file=checkpoint.path,
            step="bake",
        )
    path = folder / "baked" / f"{checkpoint.name}.keras"
    path.parent.mkdir()
    request = {
        "path": str(checkpoint.path),
        "kind": checkpoint.kind.value,
        "name": checkpoint.name,
        "sha256": checkpoint.sha256,
        "target": str(path),
        "preprocess": list(preprocess),
    }
    answer = run_step(
        "exporter.shipping.baking:bake_in_worker",
        request,
        step="bake",
        limits=common.limits,
        log=common.log,
        reads=checkpoint.parts,
        writes=[path.parent],
    )
    digest = hashlib.sha256(f"{checkpoint.sha256} {answer['scaling']}".encode()).hexdigest()
    written = identify(path)
    return replace(written, name=checkpoint.name, sha256=digest, scanned=written.sha256)


def bake_in_worker(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Worker: writes the wrapped checkpoint and tells how each input is scaled."""
    import keras

    from converters.checkpoints.interface import interface_facts
    from converters.checkpoints.loading import load

    kind = SourceKind(request["kind"])
    checkpoint = Checkpoint(Path(request["path"]), kind, request["name"], request["sha256"])
    loaded = load(checkpoint)
    signature = loaded.signature
    scaling = interface_facts(loaded.model, (signature.input_names, signature.output_names))["scaling"]
    by_input = preprocess_of(parse_preprocess(request["preprocess"]), signature, scaling)
    tensors, chosen = [], {}
    for spec, old in zip(signature.inputs, loaded.model.inputs, strict=True):
        factors = _factors(spec.name, len(spec.shape), str(old.dtype), by_input.get(spec.name), scaling.get(spec.name))
        tensors.append(_input(keras, spec.name, old, factors))
        chosen[spec.name] = factors
    if not any(chosen.values()):
        raise RefusedError(
            f"{checkpoint.path} has no float input of three dimensions or more that uint8 could stand for.",
            next_step="Leave --bake-preprocess out.",
            file=checkpoint.path,
            step="bake",
        )
    _wrapped(keras, loaded.model, tensors).save(request["target"])
    return {"scaling": repr(chosen)}


def _factors(
    name: str, rank: int, dtype: str, preprocess: Preprocess | None, model_scaling: Mapping[str, Any] | None
) -> tuple[list[float], list[float]] | None:
    """Scale and offset of an input, one or one a channel; None for an input that stays as it is."""
    if rank < 3 or not dtype.startswith("float"):
        return None
    if preprocess is not None and preprocess.scales:
        scale, mean, std = preprocess.scale or 1.0, preprocess.mean or (0.0,), preprocess.std or (1.0,)
    elif model_scaling is not None and "layer" in model_scaling:
        scale, mean, std = 1.0, (0.0,), (1.0,)
    elif model_scaling is not None:
        scale, mean, std = float(model_scaling["scale"]), tuple(model_scaling["mean"]), tuple(model_scaling["std"])
    else:
        raise RefusedError(
            f"Nobody says how the values of `{name}` are scaled: the model has no Rescaling or Normalization layer of "
            "its own, and --bake-preprocess has nothing to bake in.",
            next_step="Say so, for example with --preprocess scale=1/255.",
            step="bake",
        )
    count = max(len(mean), len(std))
    means, deviations = mean * (count if len(mean) == 1 else 1), std * (count if len(std) == 1 else 1)
    return [scale / d for d in deviations], [-m / d for m, d in zip(means, deviations, strict=True)]


def _input(keras: Any, name: str, old: Any, factors: tuple[list[float], list[float]] | None) -> tuple[Any, Any]:
    """The new input, and the tensor that the model is fed in the place of the old one."""
    if factors is None:
        same = keras.Input(batch_shape=old.shape, dtype=old.dtype, name=name)
        return same, same
    pixels = keras.Input(batch_shape=old.shape, dtype="uint8", name=name)
    scale, offset = (values[0] if len(values) == 1 else values for values in factors)
    return pixels, keras.layers.Rescaling(scale, offset, name=f"{_LAYER}_{name}", dtype="float32")(pixels)


def _wrapped(keras: Any, model: Any, tensors: list[tuple[Any, Any]]) -> Any:
    """The same layers on new inputs: not nested, so that layers and outputs keep their names and order.

    Walks the graph as `keras.models.clone_model` does, which itself would cut the new inputs off.
    """
    graph = graph_of(model)
    if not isinstance(graph, keras.Function):
        raise RefusedError(
            f"The model is a {type(model).__name__}, whose graph cannot be given new inputs.",
            next_step="Build it with the functional API, or leave --bake-preprocess out.",
            step="bake",
        )
    outputs = run_through(graph, [fed for _, fed in tensors])
    packed = keras.tree.pack_sequence_as(graph.input, [tensor for tensor, _ in tensors])
    return keras.Model(packed, outputs, name=model.name)
