"""ONNX Runtime: `.onnx` and `.ort` files on the CPU, on CUDA and on TensorRT."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from converters.arrays import Array, Arrays
from converters.errors import RefusedError, UsageError
from converters.formats import Format, format_of
from converters.signature import TEXT, Signature, TensorSpec
from validate.runtimes import base
from validate.runtimes.base import Prepared, Runtime, RuntimeOptions
from validate.runtimes.batching import run_in_fixed_batches
from validate.runtimes.devices import Arithmetic, Device

_DTYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16", "tensor(bool)": "bool", "tensor(string)": TEXT,
    **{f"tensor({s}int{n})": f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)},
}  # fmt: skip

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_NEXT_STEPS = {
    "cuda": "Install CUDA 13 and cuDNN 9 (pip install 'edgeport[cuda]'); an NVIDIA driver is needed too.",
    "tensorrt": "Install CUDA 13 and TensorRT (pip install 'edgeport[cuda]' tensorrt-cu13); it needs an NVIDIA driver.",
}
# What ONNX Runtime logs when a provider's library cannot be loaded, most telling first.
_CAUSES = (
    re.compile(r"with error: (?P<cause>.+?cannot open shared object file[^\n]*)"),
    re.compile(r"(?P<cause>CUDA failure \d+: [^;\n]*)"),
    re.compile(r"(?P<cause>no CUDA-capable device is detected)"),
    re.compile(r"(?P<cause>Please install [^\n]*)"),
    re.compile(r"(?P<cause>Failed to create [A-Za-z]*ExecutionProvider\.[^\n]*)"),
)


class OnnxRuntime(Runtime):
    """An `.onnx` or `.ort` file in an inference session.

    Args:
        path: the file.
        content: runs these bytes instead of the file's; external data is still looked for beside `path`.

    Raises:
        RefusedError: the file is damaged, or has inputs or outputs that are not tensors.
        DeviceUnavailableError: the provider asked for did not come up; ONNX Runtime alone would go on with the CPU.
    """

    ordered = True

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> None:
        self.path, self.device = path, options.device
        self.arithmetic = Arithmetic.TF32 if options.device.is_gpu and options.tf32 else None
        self.notes: tuple[str, ...] = ()
        if options.device == Device.CPU:
            self._session = _create(path, options, content, strict=False)
        else:
            self._session = self._on_accelerator(options, content)
        self.signature = Signature(
            tuple(spec_of(path, node) for node in self._session.get_inputs()),
            tuple(spec_of(path, node) for node in self._session.get_outputs()),
        )

    @property
    def session(self) -> Any:
        return self._session

    def _on_accelerator(self, options: RuntimeOptions, content: bytes | None) -> Any:
        provider = _provider(options.device)
        import onnxruntime

        if provider not in onnxruntime.get_available_providers():
            raise _unavailable(self.path, options.device, f"this build of ONNX Runtime has no {provider}")
        with _stderr() as stderr_text:
            if hasattr(onnxruntime, "preload_dlls"):
                onnxruntime.preload_dlls()
            try:
                session = _create(self.path, options, content, strict=True)
            except RefusedError as strict:
                # Shape arithmetic of a dynamic model may belong on the CPU; the provider itself must still come up.
                session = self._with_cpu_fallback(options, content, str(strict))
        providers = [] if session is None else session.get_providers()
        if not providers or providers[0] != provider:
            raise _unavailable(self.path, options.device, _cause(stderr_text[0], provider))
        return session

    def _with_cpu_fallback(self, options: RuntimeOptions, content: bytes | None, strict: str) -> Any:
        try:
            session = _create(self.path, options, content, strict=False)
        except RefusedError:
            return None
        self.notes = (f"some operations run on the CPU ({strict[:160]})",)
        return session

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        feeds = base.ordered_inputs(self.signature, inputs, self.path)
        return run_in_fixed_batches(self.signature, feeds, self._run)

    def prepared(self, feed: Arrays) -> Prepared:
        names = self.signature.output_names
        return partial(self._session.run, None, feed), lambda results: dict(zip(names, results, strict=True))

    def refuses(self, feeds: Arrays) -> bool:
        return base.turned_away(self._run, base.ordered_inputs(self.signature, feeds, self.path))

    def _run(self, feeds: Arrays) -> Arrays:
        try:
            results = self._session.run(None, feeds)
        except Exception as cause:
            base.failed(self.path, cause)
        return dict(zip(self.signature.output_names, results, strict=True))


def _provider(device: str) -> str:
    if device not in _PROVIDERS:
        raise UsageError(f"{device} is no device of ONNX Runtime.", next_step=f"Choose one of {', '.join(_PROVIDERS)}.")
    return _PROVIDERS[device]


def _create(path: Path, options: RuntimeOptions, content: bytes | None, *, strict: bool) -> Any:
    """A session for the device alone (`strict`), or with ONNX Runtime's own choice for what the device cannot do."""
    import onnxruntime as ort

    session = ort.SessionOptions()
    session.intra_op_num_threads = options.threads
    session.inter_op_num_threads = 1
    if not options.spinning:
        session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if options.profile is not None:
        session.enable_profiling = True
        session.profile_file_prefix = str(options.profile)
    if options.device != Device.CPU:  # which provider took which node (1.31 and later; older ones ignore it)
        session.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    session.graph_optimization_level = {
        "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }[options.graph_optimization]
    if content is not None:
        session.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        if format_of(path) is Format.ORT:
            session.add_session_config_entry("session.load_model_format", "ORT")
    if strict:
        session.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return ort.InferenceSession(
            content if content is not None else str(path), session, providers=_providers(options), enable_fallback=0
        )
    except Exception as cause:
        base.damaged(path, "an ONNX model", cause)


def _providers(options: RuntimeOptions) -> list[Any]:
    settings = {"use_tf32": "1" if options.tf32 else "0"}
    if options.conv_search is not None:
        settings["cudnn_conv_algo_search"] = options.conv_search
    cuda = (_PROVIDERS["cuda"], settings)
    if options.device == Device.TENSORRT:  # what TensorRT cannot take goes to CUDA
        return [_PROVIDERS["tensorrt"], cuda]
    return [cuda] if options.device == Device.CUDA else [_provider(options.device)]


def spec_of(path: Path, node: Any) -> TensorSpec:
    """An input or output of a session, in the signature's words. Raises RefusedError: it is no tensor."""
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise RefusedError(
            f"{path.name} has an input or output {node.name} of type {node.type}, which is no tensor.",
            next_step="Use a model whose inputs and outputs are tensors.",
            file=path,
        )
    return TensorSpec(node.name, base.dimensions(node.name, tuple(node.shape or ())), dtype)


def _unavailable(path: Path, device: str, cause: str) -> base.DeviceUnavailableError:
    return base.DeviceUnavailableError(
        f"{device} is not available to {path.name}: {cause}.",
        next_step=_NEXT_STEPS.get(device, "Use --device cpu."),
        file=path,
    )


def _cause(log: str, provider: str) -> str:
    for pattern in _CAUSES:
        match = pattern.search(log)
        if match:
            return " ".join(match.group("cause").split()).rstrip(".")[:240]
    return f"ONNX Runtime did not start {provider} and did not say why"


@contextmanager
def _stderr() -> Iterator[list[str]]:
    """Collects what native code writes to file descriptor 2, then passes it on: ONNX Runtime says why only there."""
    output = [""]
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield output
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            file.seek(0)
            text = file.read()
            output[0] = text.decode(errors="replace")
            os.write(2, text)
