"""Every runtime: one visible table. Reading it loads none of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from converters.formats import Format
from validate.runtimes.devices import Device


@dataclass(frozen=True)
class RuntimeRow:
    """A runtime: what it opens, where, and the class that does it.

    Attributes:
        home: `module:class` of this folder, imported when a file is opened; empty where it is a program on a phone.
        library: the module whose import is timed.
        distributions: the packages that bring it, of which one is installed.
        devices: the kinds of devices that it serves.
        interface: of the runtime's interfaces, the one that this class uses; None where it has one alone.
    """

    name: str
    opens: frozenset[Format]
    home: str
    library: str
    distributions: tuple[str, ...]
    devices: frozenset[str] = frozenset({"cpu", "cuda", "tensorrt"})
    interface: str | None = None

    @property
    def version(self) -> str:
        """Of the installed package; empty where none is."""
        for distribution in self.distributions:
            with suppress(PackageNotFoundError):
                return version(distribution)
        return ""


_KERAS = "keras"
_TENSORFLOW = "tensorflow", ("tensorflow", "tensorflow-cpu")
_LITERT = "ai_edge_litert.interpreter", ("ai-edge-litert",)
_OURS = frozenset({"cpu", "cuda", "tensorrt", "arm64", "ssh"})
"""Where a worker of ours runs: here, and on machines that have Python and the runtime."""
RUNTIMES: tuple[RuntimeRow, ...] = (
    RuntimeRow("saved_model", frozenset({Format.SAVEDMODEL}), "saved_model:SavedModelRuntime", *_TENSORFLOW),
    RuntimeRow("tflite", frozenset({Format.TFLITE}), "tflite:TfliteRuntime", *_LITERT, _OURS, "interpreter"),
    RuntimeRow(
        "tflite", frozenset({Format.TFLITE}), "compiled_model:CompiledModelRuntime", *_LITERT, _OURS, "compiled"
    ),
    RuntimeRow(
        "onnxruntime", frozenset({Format.ONNX, Format.ORT}), "onnxruntime:OnnxRuntime",
        "onnxruntime", ("onnxruntime-gpu", "onnxruntime"), _OURS,
    ),
    RuntimeRow(
        "onnxruntime-web", frozenset({Format.ONNX, Format.ORT}), "browser.runtime:OnnxRuntimeWeb",
        "validate.runtimes.browser.page", (), frozenset({"browser", "page"}),
    ),
    RuntimeRow(
        "openvino", frozenset({Format.ONNX, Format.TFLITE}), "openvino:OpenVinoRuntime",
        "openvino", ("openvino",), frozenset({"openvino"}),
    ),
    RuntimeRow(
        "tflm", frozenset({Format.TFLITE}), "tflm:TflmRuntime",
        "tflite_micro", ("tflite-micro",), frozenset({"tflm"}),
    ),
    RuntimeRow(
        "vela", frozenset({Format.TFLITE}), "", "ethosu", ("ethos-u-vela",),
        frozenset({"ethos-u55", "ethos-u65", "ethos-u85"}),
    ),
    RuntimeRow(
        "onnxruntime-qnn", frozenset({Format.ONNX}), "qnn:QnnRuntime",
        "onnxruntime_qnn", ("onnxruntime-qnn",), frozenset({"qnn", "htp"}),
    ),
    RuntimeRow("benchmark_model", frozenset({Format.TFLITE}), "", "", (), frozenset({"adb"})),
    RuntimeRow(_KERAS, frozenset(), "keras:KerasRuntime", *_TENSORFLOW),
)  # fmt: skip
"""Every runtime. A new one is a file in this folder and a row here."""


def row_for(fmt: Format, device: Device = Device.CPU, interface: str = "interpreter") -> RuntimeRow | None:
    """The row of the table that opens a format on a device; None where nothing does."""
    rows = (row for row in RUNTIMES if fmt in row.opens and device.kind in row.devices)
    return next((row for row in rows if row.interface in {None, interface}), None)
