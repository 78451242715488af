"""Opens artifacts from disk and judges them: do they agree with the checkpoint, and how fast are they.

    from validate import compare, measure

    agreement = compare(Path("model.keras"), [Path("model.tflite")])
    latency = measure([Path("model.tflite")])

Names are imported when they are first used (PEP 562), so that `import validate` loads no library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from validate.agreement import Agreement, CompareOptions, Verdict, compare
    from validate.latency import Latency, MeasureOptions, Timing, measure

__all__ = ["Agreement", "CompareOptions", "Latency", "MeasureOptions", "Timing", "Verdict", "compare", "measure"]

_HOMES = {
    **dict.fromkeys(("Agreement", "CompareOptions", "Verdict", "compare"), "validate.agreement"),
    **dict.fromkeys(("Latency", "MeasureOptions", "Timing", "measure"), "validate.latency"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
