"""Where a file runs and what it is computed in, as words. Apart from what runs it: the command line reads them."""

from __future__ import annotations

from enum import StrEnum


class Device(StrEnum):
    """Where a file runs, as `--device` and the rows of a manifest call it.

    One that is missing is a row of its own, never silently the CPU.
    """

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    TFLM = "tflm"

    @property
    def is_gpu(self) -> bool:
        return self in {Device.CUDA, Device.TENSORRT}


class Arithmetic(StrEnum):
    """Floating point that a setting computes in where that is less than float32.

    TF32 keeps 10 bits of a product's operands, and sums in float32.
    """

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    TF32 = "tf32"
