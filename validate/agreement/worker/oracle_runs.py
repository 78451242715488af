"""The oracle and float32's noise on the samples of a comparison, written or taken from the cache. Worker side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from converters.arrays import Arrays
from converters.errors import EdgeportError
from converters.isolation import Message
from validate.agreement.cache import cache_key, recall, remember
from validate.agreement.plan import Plan
from validate.agreement.worker.batches import run_batches
from validate.agreement.worker.doubts import Eager, EagerTapped
from validate.agreement.worker.ensemble import measure_noise
from validate.agreement.worker.taps import Tapped


def cached_oracle(request: Message, inputs: Arrays, folder: Path, run: Callable[[Path], str | None]) -> str | None:
    """The oracle's outputs, from the cache where the same checkpoint ran on the same inputs before."""
    cache = request.get("cache")
    if cache is None:
        return run(folder)
    key = cache_key(Path(request["path"]), inputs)
    if recall(Path(cache), key, folder):
        return None
    reason = run(folder)
    if reason is None:
        remember(Path(cache), key, folder)
    return reason


def run_oracle(
    tapped: Tapped, inputs: Arrays, plan: Plan, folder: Path, on_progress: Callable[[float], None]
) -> str | None:
    """Writes the oracle's outputs and float32's noise against them; the reason where it cannot be had."""
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
            raise NoOracleError(f"its operation {exact.narrowing} rounds to a narrower type whatever is asked for")
        run_exact = exact.run if not isinstance(tapped, EagerTapped) else Eager(loaded.function, loaded.signature).run
    except NoOracleError as cause:
        return str(cause)
    except EdgeportError as cause:
        return cause.message
    except (TypeError, ValueError, RuntimeError) as cause:  # a layer that mixes float32 constants in fails to trace
        return " ".join(f"it does not run in float64 ({type(cause).__name__}: {cause})".split())[:300]
    signature, exact_signature = tapped.runtime.signature, loaded.signature
    input_names = dict(zip(signature.input_names, exact_signature.input_names, strict=True))
    output_names = dict(zip(exact_signature.output_names, signature.output_names, strict=True))

    def run(arrays: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
        with float64_default():
            outputs, logits = run_exact({input_names[key]: value for key, value in arrays.items()})
        return {output_names[k]: v for k, v in outputs.items()}, {output_names[k]: v for k, v in logits.items()}

    count = plan.oracle + plan.edge_cases
    few = Plan(count, 0, min(plan.batch, 8) if plan.singles else plan.batch, count, steps=plan.steps)
    run_batches(run, inputs, few, signature, folder, lambda f: on_progress(0.2 * f))
    measure_noise(
        tapped.run,
        model,
        signature,
        inputs,
        folder,
        batch=few.batch,
        eager=isinstance(tapped, EagerTapped),
        on_progress=lambda f: on_progress(0.2 + 0.8 * f),
    )
    return None
