"""The power of the judge: the least of three faults that is caught, in memory, as a share of the healthy value.

    PYTHONPATH=scripts:. python -m honest_files.power CHECKPOINT...

`bias`: one bias of the last layer that has one is off by this share of the layer's greatest. `mix`: two channels of the
middle convolution or dense kernel are mixed, 1 being exchanged. `epsilon`: one batch norm's epsilon is off by this
share of its mean variance. Each is caught on drawn and on structured samples by the yardstick of one float32 run
(limits 3 and 12, until 28 November 2026) and by the ensemble's (limit 3). Prints a row a model and fault.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

AMOUNTS = 10.0 ** np.arange(-8, 0.5, 0.5)


def main() -> None:
    from validate.runtimes import RuntimeOptions
    from validate.runtimes.saved_model import prepare_tensorflow

    prepare_tensorflow(RuntimeOptions(threads=2))
    for path in sys.argv[1:]:
        for fault, cells in rows(Path(path)).items():
            print(
                f"| {Path(path).parent.name} | {fault} | " + " | ".join(f"{cell:.1e}" for cell in cells) + " |",
                flush=True,
            )


def rows(checkpoint: Path) -> dict[str, list[float]]:
    """By fault the least that is caught: drawn by one run and by the ensemble, structured by both."""
    from converters.checkpoints.identify import identify
    from converters.checkpoints.loading import load, loaded_model
    from converters.checkpoints.ranges import input_hints
    from validate import inputs as inputs_of
    from validate.agreement.arrays import path_of
    from validate.agreement.judging.gates import FLOOR_ULPS, ULP
    from validate.agreement.judging.metrics import row_errors, row_maxima
    from validate.agreement.worker.ensemble import STEM, Subject, measure_noise
    from validate.agreement.worker.oracle import float64_clone, float64_default
    from validate.agreement.worker.taps.function import TappedFunction

    loaded = load(identify(checkpoint))
    given = inputs_of.generate(loaded.signature, inputs_of.InputOptions(16, 0, None, input_hints(loaded.model)))
    more = inputs_of.edge_cases(given.arrays, given.ranges, 0, 4)
    arrays = {name: np.concatenate([array, more[name]]) for name, array in given.arrays.items()}
    with float64_default():
        clone = loaded_model(float64_clone(loaded.model))
        exact = TappedFunction(clone.function, clone.signature)
    plain = TappedFunction(loaded.function, loaded.signature)

    def errors(run: Any, feeds: Any) -> Any:
        return row_errors(_values(run(feeds)), truth)

    truth = _values(exact.run(dict(zip(clone.signature.input_names, arrays.values(), strict=True))))
    folder, stem = Path(tempfile.mkdtemp()), "logits" if plain.kinds else "out"
    np.save(path_of(folder, stem, 0), truth)
    measure_noise(Subject(plain.run, loaded.model, loaded.signature, 16), arrays, folder)
    keras, maxima = errors(plain.run, arrays), row_maxima(truth)
    ensemble = np.maximum.reduce(
        [np.load(path_of(folder, STEM + stem, 0)), keras, FLOOR_ULPS * ULP * np.maximum(maxima, np.median(maxima[:16]))]
    )
    floor, drawn, others = FLOOR_ULPS * ULP * maxima.max(), slice(16), slice(16, None)
    once = np.concatenate([np.full(len(k), max(k.max(), floor)) for k in np.split(keras, [16])])
    yardsticks = ((once, 3.0, drawn), (ensemble, 3.0, drawn), (once, 12.0, others), (ensemble, 3.0, others))
    found = {}
    for fault, break_by in _faults(loaded.model):
        each = [_with(loaded.model, break_by, amount, lambda: errors(plain.run, arrays)) for amount in AMOUNTS]
        found[fault] = [
            _least(np.array([(error[which] / yardstick[which]).max() for error in each]), limit)
            for yardstick, limit, which in yardsticks
        ]
    return found


def _values(result: tuple[dict[str, Any], dict[str, Any]]) -> Any:
    return next(iter({**result[0], **result[1]}.values()))


def _least(ratios: Any, limit: float) -> float:
    """The amount at which the ratio passes the limit for good; between two amounts as a straight line of logarithms."""
    below = np.flatnonzero(ratios <= limit)
    if len(below) == len(ratios):
        return float("inf")
    k = int(below[-1]) if len(below) else 0
    x, y = np.log(AMOUNTS[k : k + 2]), np.log(np.maximum(ratios[k : k + 2], 1e-3))
    return float(np.exp(x[0] + (np.log(limit) - y[0]) * (x[1] - x[0]) / (y[1] - y[0])))


def _with(model: Any, break_by: Callable[[float], None], amount: float, measure: Callable[[], Any]) -> Any:
    before = [np.array(weight.numpy()) for weight in model.variables]
    break_by(float(amount))
    try:
        return measure()
    finally:
        for weight, value in zip(model.variables, before, strict=True):
            weight.assign(value)


def _faults(model: Any) -> Iterator[tuple[str, Callable[[float], None]]]:
    biases = [w for w in model.weights if w.path.endswith("bias") and len(w.shape) == 1]
    kernels = [w for w in model.weights if w.path.endswith("/kernel") and len(w.shape) >= 2 and w.shape[-1] > 1]
    variances = [w for w in model.weights if w.path.endswith("moving_variance")]
    if biases:
        yield "bias", lambda share: _bias(biases[-1], share)
    if len(kernels) > 1:
        yield "mix", lambda share: _mix(kernels[len(kernels) // 2 - 1], share)
    if variances:
        middle = variances[len(variances) // 2]
        yield "epsilon", lambda share: middle.assign(middle.numpy() + np.float32(share) * middle.numpy().mean())


def _bias(weight: Any, share: float) -> None:
    value = weight.numpy()
    value[len(value) // 2] += share * max(float(np.abs(value).max()), 0.1)
    weight.assign(value)


def _mix(weight: Any, share: float) -> None:
    value = weight.numpy()
    first, second = value[..., 0].copy(), value[..., 1].copy()
    value[..., 0], value[..., 1] = (1 - share) * first + share * second, (1 - share) * second + share * first
    weight.assign(value)


if __name__ == "__main__":
    main()
