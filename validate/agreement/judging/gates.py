"""How close is close enough: one row a precision, each number with its reason.

`noise_ratio` is the candidate's maximum error against the float64 oracle in a sample, over the maximum error of several
honest float32 evaluations of the checkpoint in that sample (`worker.ensemble`). It needs no tolerance for a model's
size, depth or conditioning: float32's own rounding is the yardstick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from converters.formats import FLOATS, Precision
from validate.runtimes.devices import Arithmetic

ULP = 2.0**-24
"""Half the gap between neighbouring float32 numbers at 1: the unit roundoff."""

FLOOR_ULPS = 4.0
"""Minimum noise that a float32 output is granted, in unit roundoffs of its maximum value: a model that happens to be
exact in Keras must not make every other rounding a fault."""

ILL_CONDITIONED = 1e-4
"""Float32's noise over the maximum value above which a verdict says so. The networks of docs/agreement.md lie at 2e-7
to 1e-5, SE-Inception v3 with random weights at 3e-5; a noise of 1e-4 leaves four digits."""

DRIFT = 4.0
"""What float32 Keras drifts from the oracle over the steps of one long run is known from a single run: another order of
sums is granted so many times as much."""

MORE_SAMPLES = 2.0
"""Noise is measured on the oracle's samples and its maximum grows with their number: for Gaussian noise, from 16 to
10 000 samples of ten classes, by 1.7. What the oracle did not see is allowed this much more."""


@dataclass(frozen=True)
class Gate:
    """The limits that an output must keep to.

    Attributes:
        noise_ratio: maximum allowed; None where float32's noise is not a yardstick for the precision.
        rounding_ratio: maximum allowed, rms error over that of the emulated precision (`rounding`); None for float32.
        sqnr_db: minimum allowed where neither yardstick is to be had; against the signal's moving part.
        top1: minimum share of samples with the reference's class, near-ties left out.
        map_slack: how far a file's probabilities may lie from the map of its own logits; absolute, they end at 1.
        logit_rounding: how far the logits of the two runs that are compared there may lie apart, over the maximum.
        why: where the numbers are from.
    """

    noise_ratio: float | None
    sqnr_db: float
    top1: float
    map_slack: float
    why: str
    rounding_ratio: float | None = None
    logit_rounding: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_EMULATED = "honest files were measured at 0.6 to 1.2 times the emulated rounding (docs/agreement.md)"

Computed = Precision | Arithmetic
"""What a gate is of: the precision of a file, or the arithmetic of a setting."""


def computed(name: str) -> Computed:
    """By its name. `float16` is the precision, whose gate and rounding are those of the arithmetic."""
    return Precision(name) if name in set(Precision) else Arithmetic(name)


GATES: dict[Computed, Gate] = {
    Precision.FLOAT32: Gate(
        3.0, 75.0, 1.0, 8 * ULP,
        "honest files of 11 small models, ill-conditioned ones among them, were measured at 2.0 at most, the weakest "
        "fault of the self-test at 20 (docs/agreement.md), and more samples have a limit derived from theirs "
        "(many_samples); without an oracle: moving "
        "logits of deep models were measured 87 dB and more above error",
    ),
    # The decibels hold where the rounding cannot be emulated (the reference is not a checkpoint) or costs as much as
    # the signal moves, and as what a rescue aims at: what one trained network was measured at over its whole signal,
    # less 20 dB since only the moving part counts here, less 10 dB of margin.
    Precision.FLOAT16: Gate(
        None, 40.0, 0.998, 2.0**-10,
        f"{_EMULATED}; 70 dB measured; logits that leave the file are rounded to half precision, those that a runtime "
        "keeps in float32 up to its softmax are not: 2^-11 of the greatest", 2.5, 2.0**-11,
    ),
    Precision.INT16X8: Gate(None, 20.0, 0.995, 2.0**-8, f"{_EMULATED}; 50 dB measured", 2.5),
    Precision.DYNAMIC_INT8: Gate(None, 16.0, 0.99, 2.0**-7, f"{_EMULATED}; 46 dB measured", 2.5),
    Precision.INT8: Gate(
        None, 13.0, 0.98, 2.0**-7,
        "honest files were measured at 2.0 to 3.3 times the emulated rounding: their scales are fixed beforehand, by "
        "calibration, and fit less well; 43 dB measured; codes of 1/256", 4.0,
    ),
    Precision.DYNAMIC_INT4: Gate(None, 8.0, 0.97, 2.0**-7, f"{_EMULATED}; a quarter as many steps as int8", 2.5),
    Precision.DYNAMIC_INT4_B32: Gate(None, 8.0, 0.97, 2.0**-7, f"{_EMULATED}; as for dynamic_int4", 2.5),
    # What a setting computes in, whatever the file holds; the decibels are float16's, less 6 for each bit that is gone.
    Arithmetic.BFLOAT16: Gate(None, 22.0, 0.99, 2.0**-7, f"{_EMULATED}; three bits less than float16", 2.5, 2.0**-8),
    Arithmetic.TF32: Gate(
        None, 40.0, 0.998, 2.0**-10, "as many bits as float16; never run, for want of a GPU", 2.5, 2.0**-11
    ),
}  # fmt: skip

TOLERANCES = ("noise_ratio", "rounding_ratio", "sqnr_db", "top1")


def gate_for(precision: str, tolerances: Mapping[str, float], arithmetic: Arithmetic | None = None) -> Gate:
    """The table's row with what the user overrides, as `JudgeOptions` has checked it.

    Args:
        precision: of the file; the name of an arithmetic gives the row of that.
        arithmetic: what floats were computed in, where that is less than float32. It is what a file of floats is held
            to; one of integers keeps its own gate, and what the arithmetic costs is added to its yardstick.
    """
    gate = GATES[computed(arithmetic if arithmetic is not None and precision in FLOATS else precision)]
    if not tolerances:
        return gate
    ratio = None if "sqnr_db" in tolerances else gate.rounding_ratio  # whoever names decibels wants them
    return replace(
        gate,
        noise_ratio=tolerances.get("noise_ratio", gate.noise_ratio),
        rounding_ratio=tolerances.get("rounding_ratio", ratio),
        sqnr_db=tolerances.get("sqnr_db", gate.sqnr_db),
        top1=tolerances.get("top1", gate.top1),
        why=f"given by --tolerance; by default {gate.why}",
    )
