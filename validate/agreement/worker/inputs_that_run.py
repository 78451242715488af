"""The inputs of a comparison: the user's, or drawn ones that the reference runs on. Worker side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.arrays import Arrays
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.sizes import check_sizes, settle
from converters.isolation import Message
from converters.shapes import check_shapes
from converters.signature import Signature
from validate import inputs as inputs_of
from validate.runtimes import Runtime, fixed_batch
from validate.runtimes.base import refuse_other_batches


def inputs_that_run(
    request: Message, runtime: Runtime, loaded: Loaded | None, run: Callable[[Arrays], Arrays]
) -> inputs_of.Inputs:
    """The given inputs, or drawn ones; unknown sizes as `request["shapes"]` has them, or as the model needs them.

    Args:
        loaded: the model in memory, whose layers tell what range and size an input has; None for an artifact.

    Raises:
        UsageError: a shape that was given does not fit, or leaves a layer without values.
    """
    signature = runtime.signature
    refuse_other_batches(signature)
    given = {name: tuple(sizes) for name, sizes in request["shapes"].items()}
    if request["inputs"] is not None:
        check_shapes(signature, given)
        inputs = _read(Path(request["inputs"]), signature, given, None if loaded is None else loaded.model)
        shapes = inputs_of.run_shapes(signature, inputs.arrays)
        if loaded is not None:
            check_sizes(loaded, Path(request["inputs"]), shapes)
        return inputs
    options = _input_options(request, runtime, None if loaded is None else loaded.model)
    if loaded is not None:
        options = replace(options, shapes=settle(loaded, given))
    else:
        known = replace(options, texts={name: texts.narrower[-1] for name, texts in options.texts.items()})
        shapes = inputs_of.shapes_that_run(
            signature,
            given,
            lambda shapes: run(
                first_samples(inputs_of.generate(signature, replace(known, shapes=shapes)).arrays, signature)
            ),
        )
        options = replace(options, shapes=shapes)
    if options.texts:
        texts = inputs_of.texts_that_run(
            options.texts,
            lambda texts: inputs_of.generate(signature, replace(options, texts=texts)).arrays,
            run,
            fixed_batch(signature) or 1,
        )
        options = replace(options, texts=texts)
    return inputs_of.generate(signature, options)


def _read(path: Path, signature: Signature, shapes: Mapping[str, Any], model: Any) -> inputs_of.Inputs:
    """The user's arrays; those that hold ids are known by the vocabulary that they are looked up in."""
    inputs = inputs_of.read(path, signature, shapes)
    ids = {name for name, hint in _hints(model).items() if hint.whole}
    return replace(inputs, ranges={name: replace(limits, whole=name in ids) for name, limits in inputs.ranges.items()})


def _input_options(request: Message, runtime: Runtime, model: Any) -> inputs_of.InputOptions:
    hints = _hints(model)
    fixed = fixed_batch(runtime.signature) or 1
    value_range = tuple(request["input_range"]) if request["input_range"] else None
    samples = -(-int(request["samples"]) // fixed) * fixed
    return inputs_of.InputOptions(samples, request["seed"], value_range, hints, texts=runtime.texts)


def _hints(model: Any) -> dict[str, inputs_of.Range]:
    """What the layers of a Keras model tell of its inputs; nothing of an artifact."""
    if model is None:
        return {}
    from converters.checkpoints.ranges import input_hints

    return input_hints(model)


def first_samples(inputs: Arrays, signature: Signature) -> Arrays:
    """As few samples as the model takes at once."""
    return {name: array[: fixed_batch(signature) or 1] for name, array in inputs.items()}
