"""How a session is set up, beyond device, threads and batch: what a sweep varies and `--tune` chooses from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from converters.errors import UsageError
from converters.formats import Format

HOST_TO_HOST, DEVICE_RESIDENT = "host_to_host", "device_resident"


@dataclass(frozen=True)
class Variant:
    """Session settings. The defaults are what an application gets that sets nothing but the threads.

    Attributes:
        interface: LiteRT's `interpreter` or `compiled` (CompiledModel).
        xnnpack: LiteRT: let XNNPACK take what it can.
        graph: ONNX Runtime's optimization level: `off`, `basic`, `extended` or `all`.
        spinning: ONNX Runtime: idle threads spin for work instead of sleeping.
        tf32: CUDA: matrix units may round float32 operands to TF32.
        conv_search: CUDA: how cuDNN's convolutions are chosen: `EXHAUSTIVE`, `HEURISTIC` or `DEFAULT`.
        boundary: `host_to_host` (arrays in, arrays out) or `device_resident` (IO binding: data stays on the device).
    """

    interface: str = "interpreter"
    xnnpack: bool = True
    graph: str = "all"
    spinning: bool = True
    tf32: bool = True
    conv_search: str = "EXHAUSTIVE"
    boundary: str = HOST_TO_HOST

    def __post_init__(self) -> None:
        """Raises UsageError for values that cannot be."""
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{getattr(self, name)} is no {name}.", next_step=f"Choose of {', '.join(known)}.")

    def for_row(self, fmt: Format, device: str) -> Variant:
        """The same with the defaults where a setting means nothing to this runtime or device."""
        kept = _APPLIES[fmt]
        if fmt in _ONNX and device == "cpu":
            kept = kept - _CUDA_ONLY
        if fmt is Format.TFLITE and self.interface == "compiled":
            kept = kept - {"xnnpack"}
        return replace(Variant(), **{name: getattr(self, name) for name in kept})

    @property
    def label(self) -> str:
        """What differs from the defaults: `compiled`, `no xnnpack, graph basic`; empty where nothing does."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.name in {"interface", "boundary"}:
                parts.append(str(value).replace("_", " "))
            elif isinstance(value, bool):
                parts.append(f"no {field.name}")
            else:
                parts.append(f"{field.name} {value.lower()}")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Variant:
        return cls(**{field.name: document[field.name] for field in fields(cls) if field.name in document})


_ONNX = frozenset({Format.ONNX, Format.ORT})
_CUDA_ONLY = {"tf32", "conv_search", "boundary"}
_APPLIES: dict[Format, set[str]] = {
    Format.ONNX: {"graph", "spinning", *_CUDA_ONLY},
    Format.ORT: {"graph", "spinning", *_CUDA_ONLY},
    Format.TFLITE: {"interface", "xnnpack"},
    Format.SAVEDMODEL: set(),
}
_CHOICES = {
    "interface": ("interpreter", "compiled"),
    "graph": ("off", "basic", "extended", "all"),
    "conv_search": ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
    "boundary": (HOST_TO_HOST, DEVICE_RESIDENT),
}
DEFAULT = Variant()
