"""`edgeport run`: the pipeline and its steps.

The room shares its name with the public function: `from exporter import run` gives this package, and calling it runs.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.run.pipeline import Outcome


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Outcome:
        """See `exporter.run.api.run`."""
        from exporter.run.api import run

        return run(*args, **options)


sys.modules[__name__].__class__ = _Callable
