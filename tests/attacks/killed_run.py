"""Runs an edgeport command in this process and kills it with SIGKILL before or after one of its steps.

`python killed_run.py STEP before|after ARGUMENT...`: what a power cut or the kernel's memory killer does, at a known
place. Nothing in edgeport knows of it.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from typing import Any

STEPS = {
    "source": "exporter.run.task:open_source",
    "note": "exporter.run.artifact_cache:Shelf.note",
    "convert": "exporter.run.pipeline:convert",
    "validate": "exporter.run.judge:compare",
    "golden": "exporter.run.judge:write_golden",
    "rescue": "exporter.run.judge:rescue_missed",
    "bench": "exporter.run.pipeline:time",
    "describe": "exporter.run.pipeline:describe",
    "reports": "exporter.bundle.sealing:_with_reports",
    "finish": "exporter.run.pipeline:finish",
    "publish": "exporter.bundle.staging:_publish",
}


def arm(step: str, when: str) -> None:
    module_name, path = STEPS[step].split(":")
    *places, name = path.split(".")
    place = functools.reduce(getattr, places, importlib.import_module(module_name))
    original = getattr(place, name)

    def killing(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, name, killing)


if __name__ == "__main__":
    from exporter.cli.main import run

    arm(sys.argv[1], sys.argv[2])
    sys.exit(run(sys.argv[3:]))
