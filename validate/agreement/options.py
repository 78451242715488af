"""The options of a judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.checkpoints.load_options import parse_code
from converters.checks.base import Options, checked
from converters.checks.values import Flag, Number, Table, Text, no_such
from converters.common import Common
from converters.errors import UsageError
from validate.agreement.judging.gates import TOLERANCES
from validate.agreement.losses import METRICS

_TOLERANCES = Table("--tolerance", Number("--tolerance", 0, above=True), "tolerance", TOLERANCES)


@dataclass(frozen=True)
class JudgeOptions(Options):
    """The conditions for passing.

    Attributes:
        tolerances: overrides of the gates, see `gates.TOLERANCES`.
        allow_inconclusive: an `inconclusive` verdict passes.
        allow_nonfinite: weights that hold NaN or infinity pass.
        metric: a name of `METRICS`, or MODULE:FUNCTION of the user's, which is run in a worker alone.
        metric_lower: of a function of the user's, less is better.
        max_drop: how far the metric may fall: in points for a share, else a plain number.
    """

    tolerances: Mapping[str, float] = checked(_TOLERANCES, {})
    allow_inconclusive: bool = checked(Flag("--allow-inconclusive"), False)
    allow_nonfinite: bool = checked(Flag("--allow-nonfinite"), False)
    metric: str | None = checked(Text("--metric", may_be_path=True), None)
    metric_lower: bool = checked(Flag("--metric-lower"), False)
    max_drop: float | None = checked(Number("--max-drop", 0), None)

    def __post_init__(self) -> None:
        """Raises UsageError: a limit without a metric, or a metric that there is not."""
        super().__post_init__()
        if self.metric is None:
            for option, given in (("--max-drop", self.max_drop is not None), ("--metric-lower", self.metric_lower)):
                if given:
                    raise UsageError(
                        f"{option} says nothing without a metric.",
                        next_step=f"Add --metric: {', '.join(METRICS)} or MODULE:FUNCTION.",
                    )
            return
        if self.metric in METRICS:
            if self.metric_lower:
                raise UsageError(f"--metric {self.metric} knows its direction.", next_step="Leave --metric-lower out.")
        elif ":" not in self.metric:
            raise no_such("metric", self.metric, METRICS, f"It is {', '.join(METRICS)} or MODULE:FUNCTION.")
        else:
            parse_code(self.metric, "--metric", named=True)

    def refuse_unlabelled(self, common: Common) -> None:
        """Raises UsageError: a metric, and no inputs of the user's that could have labels."""
        if self.metric is not None and common.inputs is None:
            raise UsageError(
                f"--metric {self.metric} needs inputs with labels, and drawn ones have none.",
                next_step="Give --inputs an .npz that holds `labels` beside the inputs.",
            )
