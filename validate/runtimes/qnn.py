"""Qualcomm's HTP, emulated on x86: ONNX Runtime's QNN provider with the library that prepares and runs its graphs here.

It runs in an environment of its own (see `targets.qnn`), on integer files alone: what the hardware makes of floats its
emulation does not show. The CPU may take nothing: a session in which it would is refused, with what it would take.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from converters.errors import RefusedError
from converters.formats import Precision
from converters.readers.precision import known_precision
from converters.signature import Signature
from validate.runtimes.base import DeviceUnavailableError, RuntimeOptions
from validate.runtimes.onnxruntime import OnnxRuntime, spec_of

PROVIDER = "QNNExecutionProvider"
_INTEGERS = frozenset({Precision.INT8, Precision.INT16X8})
_CPU = "CPUExecutionProvider"


class QnnRuntime(OnnxRuntime):
    """An `.onnx` file of integers on HTP, one sample at a time: its graphs have fixed shapes.

    Raises:
        DeviceUnavailableError: the file computes in floats.
        RefusedError: it is damaged, has sizes open besides its batch, or holds what HTP does not take.
    """

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> None:
        self.path, self.device, self.arithmetic = path, options.device, None
        precision = known_precision(path)
        if precision not in _INTEGERS:
            raise DeviceUnavailableError(
                f"qnn is not available to {path.name}: integer files alone are run there, and this is {precision}.",
                next_step="Make an int8 file: -p int8 with --calibration.",
                file=path,
            )
        model: Any = str(path) if content is None else content
        try:
            self._session, counts = _created(model)
        except Exception as cause:
            raise _refused(path, model, cause) from cause
        self.notes = (f"all of {counts[PROVIDER]} operations are taken by HTP, emulated",)
        self.signature = Signature(
            tuple(spec_of(path, node) for node in self._session.get_inputs()),
            tuple(spec_of(path, node) for node in self._session.get_outputs()),
        )


def _created(model: Any, *, fallback: bool = False) -> tuple[Any, Counter[str]]:
    """A session on HTP, and how many operations each provider took."""
    import onnxruntime
    import onnxruntime_qnn

    if PROVIDER not in {device.ep_name for device in onnxruntime.get_ep_devices()}:
        onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "0" if fallback else "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for name in _batches(model):
        options.add_free_dimension_override_by_name(name, 1)
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER][:1]
    options.add_provider_for_devices(devices, {"backend_path": onnxruntime_qnn.get_qnn_htp_path()})
    session = onnxruntime.InferenceSession(model, options)
    return session, Counter(name for name, _ in _assigned(session))


def _batches(model: Any) -> set[str]:
    """Names of the sizes that are left open. Raises ValueError where one is not the first of its input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=[_CPU])
    names = set()
    for node in session.get_inputs():
        if any(not isinstance(size, int) for size in node.shape[1:]):
            raise ValueError(f"{node.name} leaves sizes open: {node.shape}; HTP's graphs have fixed shapes")
        names |= {size for size in node.shape[:1] if isinstance(size, str)}
    return names


def _assigned(session: Any) -> list[tuple[str, str]]:
    """The provider and the type of each operation, see OrtEpAssignedSubgraph (ONNX Runtime 1.24)."""
    return [
        (part.ep_name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def _told(cause: Exception) -> str:
    return " ".join(str(cause).split()) or type(cause).__name__


def _refused(path: Path, model: Any, cause: Exception) -> RefusedError:
    """What keeps the file from HTP: the operations that the CPU would take, or the provider's own words."""
    why = _told(cause)
    if "fallback to CPU EP has been explicitly disabled" in why:
        try:
            left = Counter(op for name, op in _assigned(_created(model, fallback=True)[0]) if name == _CPU)
            why = f"HTP does not take {', '.join(f'{count} {op}' for op, count in left.most_common())}"
        except Exception as other:
            why = _told(other)
    return RefusedError(
        f"{path.name} does not run on HTP: {why}.",
        next_step="Ship it to another processor of the device, or keep these operations out of the model.",
        file=path,
    )
