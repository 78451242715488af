"""edgeport from another program: `run` and `export`, of a path, a name in the table or a model in memory."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from converters.errors import RefusedError
from converters.progress import Progress
from exporter.options import RunOptions
from exporter.run.pipeline import Outcome
from exporter.run.pipeline import run as run_pipeline


@runtime_checkable
class Savable(Protocol):
    """A Keras model, as far as it is needed here."""

    name: str

    def save(self, filepath: str) -> Any:
        """Writes the model as a `.keras` file."""


def run(
    source: str | Path | Savable,
    output: str | Path,
    options: RunOptions = RunOptions(),
    progress: Progress = lambda _label, _share: None,
) -> Outcome:
    """Makes the bundle `output`: converts, judges, times and seals. Call it from the main thread.

    Args:
        source: a checkpoint's path, a name of `edgeport models`, or a Keras model, which is saved to a temporary
            `.keras` file first. Everything else happens in worker processes: no framework is loaded in this one.
        output: the bundle's folder. One that is there is replaced if it is a bundle, and refused if it is not.
        progress: told what is being done and the share of the whole that is finished, 0..1.

    Returns:
        the manifest as it was written, and the exit code that the command would have had: 0 when all was made and
        passed, 1 when a gate failed, 10 when some targets could not be made.

    Raises:
        EdgeportError: the source or the options are refused, or nothing could be made; an older bundle stays as it was.
    """
    if isinstance(source, str | Path):
        return run_pipeline(str(source), Path(output), options, progress)
    with tempfile.TemporaryDirectory(prefix="edgeport-model-") as folder:
        path = saved(source, Path(folder))
        return run_pipeline(str(path), Path(output), _with_source_name(options, path.name), progress)


def export(
    source: str | Path | Savable,
    output: str | Path,
    options: RunOptions = RunOptions(),
    progress: Progress = lambda _label, _share: None,
) -> Outcome:
    """Like `run`, but converts only: nothing is judged or timed. Raises what `run` raises."""
    return run(source, output, replace(options, judge=None, bench=None), progress)


def _with_source_name(options: RunOptions, name: str) -> RunOptions:
    return replace(options, workspace=replace(options.workspace, source_name=name))


def saved(model: Savable, folder: Path) -> Path:
    """Saves a Keras model to `<folder>/<its name>.keras`.

    Raises:
        RefusedError: it cannot be saved, as a subclassed model that was never built.
    """
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', model.name) or 'model'}.keras"
    try:
        model.save(str(path))
    except Exception as cause:
        raise RefusedError(
            f"The model {model.name} cannot be saved as a checkpoint ({type(cause).__name__}: {cause}).",
            next_step="Call it once on an input so that it is built, and give custom layers a get_config().",
            step="load",
        ) from cause
    return path
