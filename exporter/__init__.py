"""The application: builds models, runs the pipeline, writes bundles and reports.

    from exporter import RunOptions, run

    outcome = run("model.keras", "out/model", RunOptions(precisions=("float32", "float16")))
    outcome.exit_code, outcome.manifest.verdicts[0].status

Names are imported when they are first used (PEP 562), so that `import exporter` loads no library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.api import export, run
    from exporter.difference import Allowed, Difference, diff
    from exporter.manifest import Manifest
    from exporter.manifest_file import load
    from exporter.options import BuildChoices, Choice, RunOptions
    from exporter.pipeline import Outcome

__all__ = [
    "Allowed",
    "BuildChoices",
    "Choice",
    "Difference",
    "Manifest",
    "Outcome",
    "RunOptions",
    "diff",
    "export",
    "load",
    "run",
]

_HOMES = {
    **dict.fromkeys(("export", "run"), "exporter.api"),
    **dict.fromkeys(("BuildChoices", "Choice", "RunOptions"), "exporter.options"),
    **dict.fromkeys(("Allowed", "Difference", "diff"), "exporter.difference"),
    "Manifest": "exporter.manifest", "load": "exporter.manifest_file", "Outcome": "exporter.pipeline",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
