"""What one comparison is asked, as a value; apart from what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converters.checkpoints.checkpoint import Checkpoint
from converters.checks.base import Options, checked, part
from converters.checks.values import Word
from converters.common import Common
from converters.formats import Precision
from converters.isolation import Standing
from validate.agreement.options import JudgeOptions
from validate.targets import Place, Places


@dataclass(frozen=True)
class JudgeJob(Options):
    """One comparison: what passes, what all steps share, where files are run, and what is known of them.

    Attributes:
        precision: judges every candidate as this one; None reads it from the file, else float32.
        fixed_batch: a batch size that candidates may insist on, besides 1.
        mapping: names of candidates -> the reference's; others are matched by shape and value. None wants the very
            names, as edgeport gives them.
        proven_on: by candidate, places where it is judged besides those of `places`.
        chosen_with: so many of the labelled samples a candidate was chosen with (`metric.apart`): its metric is told
            from the others.
        named: outputs whose classes or labels the user gave names to.
        cache: a folder that keeps what the oracle gave, by checkpoint and inputs; None keeps nothing.
        checkpoint: the reference, where it has been scanned already; None has it scanned.
        tensorflow: the process for what TensorFlow runs, see `processes.tensorflow_worker`; it rests afterwards. None
            takes one for the comparison alone.
    """

    options: JudgeOptions = part(JudgeOptions)
    common: Common = part(Common)
    places: Places = part(Places)
    precision: Precision | None = checked(Word("precision", (Precision,)), None)
    fixed_batch: int | None = None
    mapping: Mapping[str, str] | None = None
    proven_on: Mapping[Path, tuple[Place, ...]] = field(default_factory=dict)
    chosen_with: int = 0
    named: frozenset[str] = frozenset()
    cache: Path | None = None
    checkpoint: Checkpoint | None = None
    tensorflow: Standing | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.options.refuse_unlabelled(self.common)
