"""Taps of files with integer ends, in the checkpoint's own numbers."""

from __future__ import annotations

from collections.abc import Mapping

from converters.signature import Signature
from validate.agreement.worker.taps import Tapped
from validate.runtimes.base import Array, Arrays, Runtime
from validate.runtimes.quantized import FloatEnds


def in_floats(tapped: Tapped, reference: Signature) -> Tapped:
    """The same file with float ends, where the reference has floats and the file has integers with a scale."""
    floats = {s.name for s in (*reference.inputs, *reference.outputs) if s.dtype.startswith("float")}
    ends = FloatEnds(tapped.runtime, floats)
    return _TappedFloatEnds(tapped, ends) if ends.ends else tapped


class _TappedFloatEnds(Tapped):
    def __init__(self, tapped: Tapped, ends: FloatEnds) -> None:
        self._tapped, self._ends = tapped, ends
        self.runtime: Runtime = ends
        self.kinds = tapped.kinds

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        outputs, logits = self._tapped.run(self._ends.in_codes(inputs))
        return self._ends.in_floats(outputs), logits
