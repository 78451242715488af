"""The last step of a classifier: probabilities must be the map of the logits, and must keep what those tell."""

from __future__ import annotations

import numpy as np

from validate.agreement.arrays import blocks, wide
from validate.agreement.gates import Gate
from validate.agreement.metrics import Difference, sigmoid, signal, softmax, sqnr_db
from validate.agreement.yardstick import Values

_MAPS = {"softmax": (softmax, 0.5), "sigmoid": (sigmoid, 0.25)}
"""The final maps and how much they can stretch a difference: |d softmax| <= |d x| / 2, |d sigmoid| <= |d x| / 4."""

LEFT_DB = 3.0
"""What a reduced precision's probabilities must keep of their movement, whatever its logits keep."""


def map_faults(values: Values, kind: str, gate: Gate, undecided: float) -> list[str]:
    """The untouched file's probabilities must be the map of its tapped copy's logits.

    The two are separate runs whose kernels may differ, so float32's allowance comes on top, shrunk by the map.
    """
    function, slope = _MAPS[kind]
    worst = 0.0
    for part in blocks(len(values.outputs), values.outputs):
        gap = np.abs(wide(values.outputs[part]) - function(values.values[part]))
        worst = max(worst, float(gap[np.isfinite(gap)].max(initial=0.0)))
    limit = gate.map_slack + slope * undecided
    if worst <= limit:
        return []
    return [f"its probabilities lie {worst:.2g} from the {kind} of its logits (limit {limit:.2g})"]


def lost_outputs(values: Values, gap: Difference, kind: str, gate: Gate) -> list[str]:
    """A file may compute right logits and lose them in its last operation: an int8 sigmoid has steps of 1/256, which
    give one constant for a network whose probabilities all lie near 0.5."""
    moving = signal(values.wanted).moving_square
    if gate.noise_ratio is not None or gap.mean_square <= moving * 10 ** (-LEFT_DB / 10):
        return []
    return [
        f"its {kind} loses what its logits tell: the error of the probabilities is "
        f"{sqnr_db(moving, gap.mean_square):.1f} dB below what they move by, and a constant would have 0 dB "
        f"(limit {LEFT_DB:g} dB)"
    ]
