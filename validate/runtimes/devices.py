"""Where a file runs and what it is computed in, as words. Apart from what runs it: the command line reads them."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

_GPUS: Final = {"cuda", "tensorrt"}
_ELSEWHERE: Final = {"arm64", "browser", "qnn", "ssh", "adb"}


class Device(str):
    """Where a file runs, as `--device`, `--on` and the rows of a manifest call it: a kind, and after a colon which one.

    One that is missing is a row of its own, never silently the CPU. `targets.device_of` checks what a user types.
    """

    __slots__ = ()
    CPU: ClassVar[Device]
    CUDA: ClassVar[Device]
    TENSORRT: ClassVar[Device]
    OPENVINO: ClassVar[Device]
    TFLM: ClassVar[Device]

    @property
    def kind(self) -> str:
        """`ssh` of `ssh:pi@board`."""
        return self.partition(":")[0]

    @property
    def detail(self) -> str:
        """`pi@board` of `ssh:pi@board`; empty where there is one alone."""
        return self.partition(":")[2]

    @property
    def is_gpu(self) -> bool:
        return self.kind in _GPUS

    @property
    def is_pinned(self) -> bool:
        """Whether a timed process keeps to as many CPUs as it has threads. A browser's may use all, as a user's do."""
        return not self.is_gpu and self.kind != "page"

    @property
    def is_elsewhere(self) -> bool:
        """Whether another machine, real or emulated, opens the file: a worker of ours there, but on a phone.

        To the worker of a `browser`, which has the pages, the device is a `page`.
        """
        return self.kind in _ELSEWHERE


Device.CPU, Device.CUDA, Device.TENSORRT, Device.OPENVINO = map(Device, ("cpu", "cuda", "tensorrt", "openvino"))
Device.TFLM = Device("tflm")


class Arithmetic(StrEnum):
    """Floating point that a setting computes in where that is less than float32.

    TF32 keeps 10 bits of a product's operands, and sums in float32.
    """

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    TF32 = "tf32"
