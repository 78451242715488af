"""The worker's side of a comparison before its first step: what a runtime's steps import.

The parent names these functions by the runtime (`processes`). None is given anything of a model.
"""

from __future__ import annotations

from contextlib import suppress


def tensorflow() -> None:
    """TensorFlow and Keras; their thread pools are set by the first step."""
    from converters.checkpoints.quick import import_keras

    import_keras()
    import converters.checkpoints.loading  # noqa: F401

    _steps()


def tflite() -> None:
    """LiteRT."""
    import ai_edge_litert.interpreter
    import ai_edge_litert.schema_py_generated  # noqa: F401

    _steps()


def onnxruntime() -> None:
    """ONNX and its runtime."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    _steps()


def openvino() -> None:
    """OpenVINO, where it is installed: its runtime says what is missing."""
    with suppress(ImportError):
        import openvino  # noqa: F401

    _steps()


def tflm() -> None:
    """TensorFlow Lite for Microcontrollers, where it is installed."""
    with suppress(ImportError):
        import tflite_micro.python.tflite_micro.runtime  # noqa: F401

    _steps()


def elsewhere() -> None:
    """Of a machine elsewhere: the runtimes are imported there."""
    _steps()


def _steps() -> None:
    import validate.agreement.worker.candidates
    import validate.agreement.worker.reference_runs  # noqa: F401
