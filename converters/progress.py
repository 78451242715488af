"""How far a conversion is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

_LOAD_SHARE = 0.3


class ConversionProgress:
    """Shares of the time: loading, then each target's cost.

    Args:
        targets: what is to be made.
        costs: of each target, by its words (`onnx float32`).
        on_progress: told a label and the share that is done, 0..1.
    """

    def __init__(
        self, targets: Iterable[Any], costs: Mapping[str, float], on_progress: Callable[[str, float], None] | None
    ) -> None:
        self._costs = costs
        self._whole = sum(costs[str(t)] for t in targets) or 1.0
        self._done = 0.0
        self._on_progress = on_progress
        self._tell("loading the checkpoint", 0.0)

    def _tell(self, label: str, share: float) -> None:
        if self._on_progress:
            self._on_progress(label, share)

    def loaded(self) -> None:
        """The source is loaded and traced."""
        self._tell("tracing", _LOAD_SHARE)

    def begun(self, target: str) -> None:
        """A target is in hand."""
        share = _LOAD_SHARE + (1 - _LOAD_SHARE) * self._done / self._whole
        self._tell(f"converting to {target}", min(share, 1.0))

    def done(self, target: str) -> None:
        """A target is made, or failed."""
        self._done += self._costs[target]
        self.begun(target)
