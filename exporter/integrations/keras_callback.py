"""A Keras callback that leaves a bundle behind when training ends.

model.fit(x, y, callbacks=[ExportBundle("out/model", RunOptions.of(precisions=("float32", "float16")))])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from converters.errors import EdgeportError
from exporter.options import RunOptions
from exporter.run.api import run
from exporter.run.pipeline import Outcome


class ExportBundle:
    """Runs `exporter.run` on the model when `fit` ends; a `keras.callbacks.Callback`.

    The bundle is made in worker processes from a saved checkpoint, so the model in training is left alone.

    Attributes:
        output: the bundle's folder.
        options: what to make, how to judge and time it.
        checkpoint: where the `.keras` file is kept; None keeps none, and the manifest has its digest alone.
        required: raises when a gate fails or a target is not made; else the outcome waits in `outcome`.
        when: told the metrics of the last epoch; False leaves the bundle out, as of a model not good enough.
        outcome: what `exporter.run` returned; None before.
    """

    def __new__(cls, *_: Any, **__: Any) -> ExportBundle:
        """An instance of a subclass that is a Keras callback too: keras is imported by those who train, not before."""
        instance: ExportBundle = object.__new__(_as_callback(cls))
        return instance

    def __init__(
        self,
        output: str | Path,
        options: RunOptions = RunOptions(),
        *,
        checkpoint: str | Path | None = None,
        required: bool = True,
        when: Callable[[Mapping[str, float]], bool] | None = None,
    ) -> None:
        super().__init__()
        self.output, self.options, self.required, self.when = Path(output), options, required, when
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.outcome: Outcome | None = None

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Makes the bundle.

        Raises:
            EdgeportError: it could not be made.
            GateError: it was made, and is `required` to be better than it is.
        """
        if self.when is not None and not self.when(logs or {}):
            return
        model: Any = getattr(self, "model")  # noqa: B009 - of the Keras half of this class
        source: Any = model
        if self.checkpoint is not None:
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            model.save(self.checkpoint)
            source = self.checkpoint
        self.outcome = run(source, self.output, self.options)
        if self.required and self.outcome.exit_code:
            raise GateError(self.output, self.outcome)


class GateError(EdgeportError):
    """A bundle was made, and is not what was asked for."""

    exit_code = 1

    def __init__(self, output: Path, outcome: Outcome) -> None:
        from exporter.report.headline import headline

        super().__init__(
            f"The bundle {output} does not pass: {headline(outcome.manifest).sentence}",
            next_step=f"Read {output / 'report.html'}, or give required=False to go on all the same.",
            file=output,
            step="validate",
        )
        self.exit_code, self.outcome = outcome.exit_code, outcome


def _as_callback(cls: type[ExportBundle]) -> type[ExportBundle]:
    """The class with Keras' own as a further base."""
    import keras

    return type(cls.__name__, (cls, keras.callbacks.Callback), {"__module__": cls.__module__, "__doc__": cls.__doc__})
