"""A user's choices for a conversion and for the reduced precisions that are made after it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from converters.checks.base import Options, checked
from converters.checks.values import Batch, Flag, Number, Several, Text, Word
from converters.formats import Format, Precision


class Auto(StrEnum):
    """Instead of precisions: all that the formats can hold and the calibration data allows, if they pass."""

    AUTO = "auto"


class Io(StrEnum):
    """Input and output types of a fully quantized TFLite file."""

    FLOAT = "float"
    INT8 = "int8"
    UINT8 = "uint8"


class CalibrationMethod(StrEnum):
    """Method that finds the ranges of an ONNX file's activations from samples."""

    MINMAX = "minmax"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


class TargetDevice(StrEnum):
    """Device that quantized ONNX files are sized for."""

    CPU = "cpu"
    TENSORRT = "tensorrt"


@dataclass(frozen=True)
class ConvertOptions(Options):
    """Options of a conversion.

    Attributes:
        formats: None leaves them open: SavedModel, TFLite and ONNX, as far as they hold the precisions.
        precisions: None leaves them open: float32, or what the profiles make.
        batch: the fixed batch size; None keeps the batch dynamic.
        opset: of ONNX; None takes the default.
        allow_flex: TFLite may use TensorFlow's Flex operations.
        jobs: workers at a time; with 2 and more, ONNX is made in parallel with SavedModel and TFLite.
    """

    formats: tuple[Format, ...] | None = checked(Several("--format", Word("format", (Format,)), least=1), None)
    precisions: tuple[Precision | Auto, ...] | None = checked(
        Several("--precision", Word("precision", (Precision, Auto)), least=1), None
    )
    batch: int | None = checked(Batch("--batch"), None)
    opset: int | None = checked(Number("--opset", 1, whole=True), None)
    allow_flex: bool = checked(Flag("--allow-flex"), False)
    jobs: int = checked(Number("--jobs", 1, whole=True), 1)


@dataclass(frozen=True)
class QuantizeOptions(Options):
    """Options of reduced precisions.

    Attributes:
        calibration: data for int8 and int16x8: a path, or `random`; None where no precision needs any.
        calibration_samples: how many of them to use.
        calibration_method: of ONNX.
        io: None leaves it open: float, or integers where a board alone is made for.
        fully_integer: a float operation in an int8 file fails the run.
        rescue_budget: share of multiply-adds that may stay float to fix a precision that misses its gate; 0 is off.
    """

    calibration: str | None = checked(Text("--calibration", may_be_path=True), None)
    calibration_samples: int = checked(Number("--calibration-samples", 1, whole=True), 128)
    calibration_method: CalibrationMethod = checked(
        Word("calibration method", (CalibrationMethod,)), CalibrationMethod.MINMAX
    )
    io: Io | None = checked(Word("--io", (Io,)), None)
    target_device: TargetDevice = checked(Word("target device", (TargetDevice,)), TargetDevice.CPU)
    fully_integer: bool = checked(Flag("--fully-integer"), False)
    rescue_budget: float = checked(Number("--rescue-budget", 0, 1), 0.1)
