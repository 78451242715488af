"""The last step of a classifier: probabilities must be the map of the logits, and must keep what those tell."""

from __future__ import annotations

import numpy as np

from converters.arrays import Array
from validate.agreement.arrays import blocks, wide
from validate.agreement.judging.gates import Gate
from validate.agreement.judging.metrics import beside_signal, difference, sigmoid, signal, softmax, sqnr_db
from validate.agreement.judging.reference_values import Values

_MAPS = {"softmax": (softmax, 0.5), "sigmoid": (sigmoid, 0.25)}
"""The final maps and how much they can stretch a difference: |d softmax| <= |d x| / 2, |d sigmoid| <= |d x| / 4."""

LEFT_DB = 3.0
"""What a reduced precision's probabilities must keep of their movement, whatever its logits keep."""


def map_faults(values: Values, kind: str, gate: Gate, undecided: float) -> list[str]:
    """The untouched file's probabilities must be the map of its tapped copy's logits, in batches of each size.

    The two are separate runs whose kernels may differ, so float32's allowance comes on top, shrunk by the map.
    """
    function, slope = _MAPS[kind]
    worst, max_logit = 0.0, 0.0
    for outputs, logits in ((values.outputs, values.values), *values.pairs):
        for part in blocks(len(outputs), outputs):
            before = wide(logits[part])
            gap = np.abs(wide(outputs[part]) - function(before))
            worst = max(worst, float(gap[np.isfinite(gap)].max(initial=0.0)))
            max_logit = max(max_logit, float(np.abs(before[np.isfinite(before)]).max(initial=0.0)))
    limit = gate.map_slack + slope * (undecided + gate.logit_rounding * max_logit)
    if worst <= limit:
        return []
    return [f"its probabilities lie {worst:.2g} from the {kind} of its logits (limit {limit:.2g})"]


def lost_outputs(values: Values, kind: str, gate: Gate) -> list[str]:
    """A file may compute right logits and lose them in its last operation: an int8 sigmoid has steps of 1/256, which
    give one constant for a network whose probabilities all lie near 0.5.

    Against the map of its own logits: how far those may lie from the reference's is their own gate's matter, and where
    they are large a softmax turns an error that the precision must cost into other probabilities.
    """
    if gate.noise_ratio is not None:
        return []
    probabilities = _mapped_logits(values.values, kind)
    moving, gap = signal(probabilities).moving_square, difference(values.outputs, probabilities).mean_square
    if gap <= moving * 10 ** (-LEFT_DB / 10):
        return []
    return [
        f"its {kind} loses what its logits tell: the error of the probabilities is "
        f"{beside_signal(sqnr_db(moving, gap))} what they move by, "
        f"and a constant would have 0 dB (limit {LEFT_DB:g} dB)"
    ]


def _mapped_logits(logits: Array, kind: str) -> Array:
    """In float32, which holds more than any precision that is judged on it."""
    function, _ = _MAPS[kind]
    probabilities = np.empty(logits.shape, np.float32)
    for part in blocks(len(logits), logits):
        probabilities[part] = function(logits[part])
    return probabilities
