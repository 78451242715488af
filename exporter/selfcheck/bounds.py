"""The bounds of a device's answers: the verdict's own gate, put on the outputs that a device has.

The verdict was given on logits where there are any. A device sees probabilities alone, so the gate is carried over. Let
no logit move by more than D. The odds p / (1 - p) of a sigmoid change then by a factor of at most e^D, those of a
softmax by e^2D (its own logit moves by D and the others against it by D), and from p' / (1 - p') <= e^s p / (1 - p)
follows

    |p' - p| <= p (1 - p) (e^s - 1)

which holds a probability of 1e-9 as strictly as one of 0.5: a wrong logit cannot hide behind a saturated softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from converters.arrays import Array
from converters.formats import Precision
from validate.agreement.judging.class_decisions import allowed
from validate.agreement.judging.decisions import CLASSES
from validate.agreement.judging.final_activation import LEFT_DB
from validate.agreement.judging.gate_checks import CREST
from validate.agreement.judging.gates import FLOOR_ULPS, ULP, gate_for
from validate.agreement.judging.metrics import signal
from validate.agreement.rows import AGREE, OutputRow

CLASS, LABEL, NONE = "class", "label", "none"
_ROUNDING = 8 * ULP
_SUM_SLACK = 1e-3
_OTHER_ROUNDING = 2.0  # honest float32 paths were measured to lie within a factor of two of each other
_MAX_SHIFT = 50.0  # e^50: beyond it a bound bounds nothing

_FLOORS: dict[Precision, tuple[float, float]] = {
    Precision.FLOAT16: (2.0**-14, 2.0**-9),
    Precision.INT8: (2.0**-7, 0.0),
    Precision.INT16X8: (2.0**-8, 0.0),
}
"""By precision, the absolute and the relative rounding of a probability, where the activations are not float32: half's
smallest normal number, which GPUs flush to zero, and some units in the last place; int8's codes of 1/256."""

_SOFTMAX_FLOOR = 2.0**-100
"""Runtimes flush e^x to zero where float32's normal numbers end (2^-126); some a little before."""

_SIGMOID_FLOOR = _ROUNDING
"""Runtimes compute a sigmoid as 1/2 + an odd function, whose rounding is absolute."""


@dataclass(frozen=True)
class Bound:
    """The bounds of an output. None is a limit that does not apply.

    For every element: |got - want| <= absolute + |want| * (rounding + relative * (1 - |want|)).

    Attributes:
        rms: maximum root of the mean squared difference, over all elements of all runs.
        decision: `class` (the argmax along the last axis), `label` (each element, above 0.5) or `none`.
        flips: how many decisions may differ; what the reference itself leaves undecided does not count.
        why: how the numbers come from the verdict, in sentences.
    """

    absolute: float | None
    rounding: float
    relative: float
    rms: float | None
    decision: str
    flips: int | None
    why: str


@dataclass(frozen=True)
class Judgement:
    """The facts of one output in the manifest and the golden vectors.

    Attributes:
        golden: the reference's values, all samples.
        activation: Keras' name of the last function; None where nobody has said.
    """

    row: OutputRow
    precision: Precision
    golden: Array
    activation: str | None = None
    tolerances: Mapping[str, float] | None = None


def bound_of(judged: Judgement, samples: int) -> Bound | None:
    """The bound of one output; None where the verdict names no gate, as after an error.

    Args:
        samples: how many the device will run.
    """
    gate = judged.row.gate
    if gate.limit is None or gate.allowed is None:
        return None
    reach = gate.allowed
    precision_gate = gate_for(judged.precision, judged.tolerances or {})
    if precision_gate.noise_ratio is None:
        words, tie = _in_words(gate.measure, gate.limit), gate.tie or 0.0
        return _of_reduced(
            judged, words, reach, lambda decision: _may_flip(judged, samples, decision, precision_gate.top1, tie)
        )
    sentence = f"float32: the gate is {gate.measure} {gate.limit:g}"
    if gate.measure == "noise_ratio":
        sentence += " (error over float32 Keras' own rounding noise)"
    else:
        reach *= CREST
    return _elementwise(judged, reach, f"{sentence}; no {_noun(judged)} may lie further than {reach:.3g} from the")


def _in_words(measure: str, limit: float) -> str:
    if measure == "rounding_ratio":
        return f"an error of {limit:g} times what rounding to the precision costs"
    return f"an error {limit:g} dB below the moving part"


def _noun(judged: Judgement) -> str:
    return "logit" if judged.row.basis == "logits" else "value"


def _elementwise(judged: Judgement, reach: float, sentence: str) -> Bound:
    """A maximum difference of the basis, as a bound on the outputs."""
    if judged.row.basis != "logits":
        return Bound(reach, 0.0, 0.0, None, NONE, None, f"{sentence} checkpoint's.")
    softmax = is_softmax(judged)
    shift = min(reach * (2 if softmax else 1), _MAX_SHIFT)
    floor, rounding = _FLOORS.get(judged.precision, (_SOFTMAX_FLOOR if softmax else _SIGMOID_FLOOR, _ROUNDING))
    carried = f"so a probability p moves by at most p(1 - p)(e^{shift:.3g} - 1) and what it is rounded by"
    return Bound(floor, rounding, math.expm1(shift), None, NONE, None, f"{sentence} checkpoint's, {carried}.")


def _of_reduced(judged: Judgement, gate: str, rms: float, may_flip: Callable[[str], int]) -> Bound:
    """Reduced precisions are gated on their mean error, and on how many of a sample's decisions may change."""
    row, name = judged.row, judged.precision.value
    if row.basis != "logits":
        return Bound(None, 0.0, 0.0, rms, NONE, None, f"{name}: the gate is {gate} of the outputs, {rms:.3g} rms.")
    reach = CREST * rms
    if row.status == AGREE:  # its own maximum error passed, and another device may round another way
        reach = max(reach, _OTHER_ROUNDING * (row.max_abs or 0.0))
    sentence = (
        f"{name}: the gate is {gate} of the logits, {rms:.3g} rms; none may lie further than {reach:.3g} from the"
    )
    each = _elementwise(judged, reach, sentence)
    rms_limit = _moves(judged.golden) * 10 ** (-LEFT_DB / 20)
    why = f"{each.why} Their error must stay {LEFT_DB:g} dB below what they move by"
    if not row.decides or (row.decides == CLASSES and judged.golden.ndim != 2):
        return replace(each, rms=rms_limit, why=f"{why}.")
    decision = CLASS if row.decides == CLASSES else LABEL
    flips = may_flip(decision)
    kinds = "classes" if decision == CLASS else "labels"
    why += f", and at most {flips} {kinds} of the golden samples may change."
    return replace(each, rms=rms_limit, decision=decision, flips=flips, why=why)


def _may_flip(judged: Judgement, samples: int, decision: str, share: float, tie: float) -> int:
    """The number of the device's decisions that may differ: the gate's share, and the verdict's ties.

    Args:
        tie: in logits; classes closer than twice this, and labels closer than this to one half, are ties.
    """
    golden = judged.golden[np.arange(samples) % len(judged.golden)].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        if decision == CLASS:
            best = np.log(np.sort(golden, axis=-1)[:, -2:])
            near, count = best[:, 1] - best[:, 0] <= 2 * tie, samples
        else:
            near, count = np.abs(np.log(golden) - np.log1p(-golden)) <= tie, golden.size
    return allowed(count, share) + int(near.sum())


def is_softmax(judged: Judgement) -> bool:
    """Whether probabilities sum to one along the last axis; a sigmoid's do not."""
    if judged.activation is not None:
        return judged.activation == "softmax"
    golden = judged.golden
    if golden.ndim < 2 or golden.shape[-1] < 2:
        return False
    return bool(np.abs(golden.astype(np.float64).sum(axis=-1) - 1).max() < _SUM_SLACK)


def _moves(golden: Array) -> float:
    """The rms of what is left after subtracting each element's mean; of one sample, its elements' own spread."""
    values = golden.astype(np.float64)
    if len(values) < 2:
        values = values.reshape(-1, 1)
    moving = signal(values)
    return max(math.sqrt(moving.moving_square), FLOOR_ULPS * ULP * moving.max_abs)
