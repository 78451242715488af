"""Session settings beyond device, threads and batch: a sweep varies them, and `--tune` chooses from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from converters.checks.base import Options, checked
from converters.checks.values import Flag, Word
from converters.formats import Format
from validate.runtimes.devices import Device
from validate.runtimes.table import row_for

if TYPE_CHECKING:
    from validate.runtimes.base import RuntimeOptions


class Interface(StrEnum):
    """LiteRT's."""

    INTERPRETER = "interpreter"
    COMPILED = "compiled"


class GraphLevel(StrEnum):
    """How far ONNX Runtime optimizes a graph."""

    OFF = "off"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


class ConvSearch(StrEnum):
    """How cuDNN's convolutions are chosen."""

    EXHAUSTIVE = "EXHAUSTIVE"
    HEURISTIC = "HEURISTIC"
    DEFAULT = "DEFAULT"


class Boundary(StrEnum):
    """Arrays in and arrays out, or IO binding: data stays on the device."""

    HOST_TO_HOST = "host_to_host"
    DEVICE_RESIDENT = "device_resident"


_SWITCH = "on or off (True or False)"


@dataclass(frozen=True)
class Variant(Options):
    """Session settings. The defaults are those of an application that sets nothing but the threads.

    Attributes:
        interface: LiteRT's: the interpreter or CompiledModel.
        xnnpack: LiteRT: let XNNPACK take what it can.
        graph: ONNX Runtime's optimization level.
        spinning: ONNX Runtime: idle threads spin for work instead of sleeping.
        tf32: CUDA: matrix units may round float32 operands to TF32.
        conv_search: CUDA: how cuDNN's convolutions are chosen.
        float32: OpenVINO: computes in float32; else in what it takes for this processor, which may be less.
        gpu: of a phone: TFLite's GPU delegate takes what it can.
        boundary: where a run's data begin and end.
    """

    interface: Interface = checked(Word("interface", (Interface,)), Interface.INTERPRETER)
    xnnpack: bool = checked(Flag("--xnnpack", _SWITCH), True)
    graph: GraphLevel = checked(Word("graph level", (GraphLevel,)), GraphLevel.ALL)
    spinning: bool = checked(Flag("--spinning", _SWITCH), True)
    tf32: bool = checked(Flag("--tf32", _SWITCH), True)
    conv_search: ConvSearch = checked(Word("convolution search", (ConvSearch,)), ConvSearch.EXHAUSTIVE)
    boundary: Boundary = checked(Word("boundary", (Boundary,)), Boundary.HOST_TO_HOST)
    float32: bool = checked(Flag("--float32", _SWITCH), False)
    gpu: bool = checked(Flag("--gpu", _SWITCH), False)

    def for_row(self, fmt: Format, device: Device) -> Variant:
        """The same with the defaults where a setting means nothing to this runtime or device."""
        row = row_for(fmt, device)
        names = _APPLIES.get(row.name, set()) if row else set()
        if not device.is_gpu:
            names = names - _CUDA_ONLY
        if self.interface is Interface.COMPILED:
            names = names - {"xnnpack"}
        return replace(Variant(), **{name: getattr(self, name) for name in names})

    def options(self, device: Device, threads: int) -> RuntimeOptions:
        """How a runtime opens a file in this setting."""
        from validate.runtimes.base import RuntimeOptions

        return RuntimeOptions(
            device=device,
            threads=threads,
            graph_optimization=self.graph,
            delegates=self.xnnpack,
            tf32=self.tf32,
            interface=self.interface,
            spinning=self.spinning,
            conv_search=self.conv_search if device.is_gpu else None,
            float32=self.float32,
        )

    @property
    def label(self) -> str:
        """Settings that differ from the defaults: `compiled`, `no xnnpack, graph basic`; empty where nothing does."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.name in {"interface", "boundary"}:
                parts.append(str(value).replace("_", " "))
            elif isinstance(value, bool):
                parts.append(field.name if value else f"no {field.name}")
            else:
                parts.append(f"{field.name} {value.lower()}")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Variant:
        return cls(**{field.name: document[field.name] for field in fields(cls) if field.name in document})


_CUDA_ONLY = {"tf32", "conv_search", "boundary"}
_APPLIES: dict[str, set[str]] = {
    "onnxruntime": {"graph", "spinning", *_CUDA_ONLY},
    "tflite": {"interface", "xnnpack"},
    "onnxruntime-web": {"graph"},
    "openvino": {"float32"},
    "benchmark_model": {"xnnpack", "gpu"},
}
"""By runtime, the settings that mean something to it."""
DEFAULT = Variant()
