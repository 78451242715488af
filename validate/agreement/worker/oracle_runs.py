"""The oracle and float32's noise on the samples of a comparison, written or taken from the cache. Worker side."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.errors import EdgeportError, words_of
from converters.isolation import Message
from validate.agreement.cache import cache_key, recall, remember
from validate.agreement.plan import Plan
from validate.agreement.worker.batches import run_batches
from validate.agreement.worker.doubts import Eager, EagerTapped
from validate.agreement.worker.ensemble import ALL, FIRST, Subject, measure_noise, measure_rest
from validate.agreement.worker.taps import Tapped


def cached(request: Message, inputs: Arrays, folder: Path, run: Callable[[Path], str | None]) -> str | None:
    """Fills a folder of the comparison, or takes it from the cache where the same checkpoint ran on the same inputs
    before; the reason where `run` could not fill it."""
    cache = request.get("cache")
    if cache is None:
        return run(folder)
    key = f"{cache_key(Path(request['path']), inputs)}-{folder.name}"
    if recall(Path(cache), key, folder):
        return None
    reason = run(folder)
    if reason is None:
        remember(Path(cache), key, folder)
    return reason


def rows_of_oracle(array: Array, plan: Plan) -> Array:
    """Of one input what the oracle runs: the first samples and the edge cases."""
    if plan.oracle == plan.samples:
        return array
    return np.concatenate([array[: plan.oracle], array[plan.samples :]])


def run_oracle(
    tapped: Tapped, inputs: Arrays, plan: Plan, folder: Path, on_progress: Callable[[float], None]
) -> str | None:
    """Writes the oracle's outputs and float32's noise against them; the reason where it cannot be had."""
    import tensorflow as tf

    from validate.agreement.worker.oracle import NoOracleError, float64_clone, float64_default

    model = None if tapped.loaded is None else tapped.loaded.model
    if model is None:
        return "it is no Keras checkpoint"
    from converters.checkpoints.loading import loaded_model
    from validate.agreement.worker.taps.function import TappedFunction

    try:
        with float64_default():
            loaded = loaded_model(float64_clone(model))
            exact = TappedFunction(loaded.function, loaded.signature)
        if exact.is_eager:
            raise NoOracleError("Keras cannot put it into a graph, whose types could be looked at")
        if exact.narrowing is not None:
            raise NoOracleError(exact.narrowing)
        run_exact = exact.run if not isinstance(tapped, EagerTapped) else Eager(loaded.function, loaded.signature).run
    except NoOracleError as cause:
        return str(cause)
    except EdgeportError as cause:
        return cause.message
    except (TypeError, ValueError, RuntimeError) as cause:  # a layer that mixes float32 constants in fails to trace
        return f"it does not run in float64 ({type(cause).__name__}: {words_of(cause)})"
    signature, exact_signature = tapped.runtime.signature, loaded.signature
    input_names = dict(zip(signature.input_names, exact_signature.input_names, strict=True))
    output_names = dict(zip(exact_signature.output_names, signature.output_names, strict=True))

    def run(arrays: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
        with float64_default():
            outputs, logits = run_exact({input_names[key]: value for key, value in arrays.items()})
        return {output_names[k]: v for k, v in outputs.items()}, {output_names[k]: v for k, v in logits.items()}

    count, batch = plan.oracle + plan.edge_cases, _batch(plan)
    few = Plan(count, 0, batch, count, steps=plan.steps)
    try:
        run_batches(run, inputs, few, signature, folder, lambda f: on_progress(0.4 * f))
    except tf.errors.OpError as cause:
        shutil.rmtree(folder, ignore_errors=True)
        words = [line.strip() for line in cause.message.splitlines() if line.strip() and "{{node" not in line]
        return f"TensorFlow has no kernel for it in float64 ({words[-1]})"
    measure_noise(_subject(tapped, batch), inputs, folder, FIRST, lambda f: on_progress(0.4 + 0.6 * f))
    return None


def run_rest(
    request: Message, tapped: Tapped, inputs: Mapping[str, Any], plan: Plan, on_progress: Callable[[float], None]
) -> None:
    """Writes to the folder `ensemble` what float32's noise is by all of its runs, of which the oracle's folder has the
    first."""
    work = Path(request["work"])
    few = {name: rows_of_oracle(array, plan) for name, array in inputs.items()}

    def run(folder: Path) -> None:
        measure_rest(_subject(tapped, _batch(plan)), few, work / "oracle", folder, on_progress)

    cached(uncached_if_eager(request, tapped), few, work / ALL, run)


def uncached_if_eager(request: Message, tapped: Tapped) -> Message:
    """What a wrong graph's model gives eagerly is not kept: entries tell nothing of it."""
    return {**request, "cache": None} if isinstance(tapped, EagerTapped) else request


def _batch(plan: Plan) -> int:
    return min(plan.batch, 8) if plan.singles else plan.batch


def _subject(tapped: Tapped, batch: int) -> Subject:
    assert tapped.loaded is not None
    eager = isinstance(tapped, EagerTapped)
    return Subject(tapped.run, tapped.loaded.model, tapped.runtime.signature, batch, eager)
