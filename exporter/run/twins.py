"""Making artifacts for those who judge them: validate may not import a writer, so it is handed these by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from converters.checkpoints.identify import identify
from converters.common import Common
from converters.errors import StepError, UnsupportedError
from converters.formats import SUFFIXES, Format, Precision
from converters.options import ConvertOptions
from converters.reduced_precisions import DeriveJob, Orders, convert
from converters.routes import ROUTES, Target

WRITE = "exporter.run.twins:write"


@dataclass(frozen=True)
class Twins:
    """Makes healthy artifacts of a checkpoint, in a folder that is the caller's to remove."""

    folder: Path
    common: Common = field(default_factory=Common)

    def make(self, reference: Path, fmt: Format, precision: Precision, inputs: Path) -> Path:
        """The artifact's path; in float32 where this format is not made in the precision, which others' files may have.

        Args:
            inputs: an `.npz` by input name: what an integer file is calibrated on.

        Raises:
            EdgeportError: what the conversion raised, or failed with.
        """
        checkpoint = identify(reference, self.common.opening)
        target = Target(fmt, precision)
        if all(route.target != target for route in ROUTES):
            target = Target(fmt, Precision.FLOAT32)
        orders = Orders.of((target,), checkpoint.name, self.folder)
        conversion = convert(checkpoint, orders, ConvertOptions(), DeriveJob(common=self.common, calibration=inputs))
        for failure in conversion.failures:
            raise failure.error
        return conversion.artifacts[0].path


def write(model: Any, fmt: str, precision: str, folder: Path) -> Path:
    """Writes a Keras model that is in memory, as it is; called in a worker that has it. Returns the artifact's path.

    Raises:
        UnsupportedError: only float32 is written from memory.
        EdgeportError: what the format's writer raises.
    """
    from converters.checkpoints.loading import loaded_model
    from converters.tracing import trace
    from converters.writers.onnx.write import write_onnx
    from converters.writers.savedmodel import write_saved_model
    from converters.writers.tflite.write import write_tflite

    if precision != Precision.FLOAT32:
        raise UnsupportedError(
            f"A model in memory is written in float32 alone, not in {precision}.",
            next_step="Ask for float32.",
            step="convert",
        )
    form = Format(fmt)
    traced = trace(loaded_model(model))
    if form is Format.TFLITE and traced.recurrent:
        traced = trace(loaded_model(model), 1)
    path = folder / f"model{SUFFIXES[form]}"
    if form is Format.ONNX:
        write_onnx(traced, path)
    elif form is Format.SAVEDMODEL:
        write_saved_model(traced, path)
    elif form is Format.TFLITE:
        write_tflite(traced, partial(_saved, traced, folder / "saved"), path)
    else:
        raise StepError(f"{fmt} is not written from memory.", next_step="Ask for onnx, tflite or savedmodel.")
    return path


def _saved(traced: Any, folder: Path) -> Path:
    from converters.writers.savedmodel import write_saved_model

    write_saved_model(traced, folder)
    return folder
