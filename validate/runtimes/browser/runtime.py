"""onnxruntime-web on WebAssembly: `.onnx` and `.ort` files in a page of a headless Chromium."""

from __future__ import annotations

import atexit
import math
import re
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays, as_array
from converters.checkpoints.parts import parts_of
from converters.errors import RefusedError, ResourceError, StepError, words_of
from converters.readers.onnx_file import DTYPES
from converters.signature import TEXT, Signature, TensorSpec
from validate.runtimes import base
from validate.runtimes.base import DeviceUnavailableError, Runtime, RuntimeOptions
from validate.runtimes.batching import run_in_fixed_batches
from validate.runtimes.browser.chromium import Chromium
from validate.runtimes.browser.library import GPU_MODULE, MODULE, library
from validate.runtimes.browser.page import Page, PageError
from validate.runtimes.devices import Device
from validate.runtimes.processes import forget_peak, resident_bytes

WEBGPU = "webgpu"
_LEVELS = {"off": "disabled", "basic": "basic", "extended": "extended", "all": "all"}
_KINDS = ("float32", "float64", "float16", "bool", *(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)))
_NO_MEMORY = re.compile(r"memory size exceeded|allocation failed|could not allocate|bad_alloc|out of memory", re.I)
_NUMBER_OF_TYPE = re.compile(r"unsupported data type: (\d+)")
_SHARE_OF_CLOCK = 0.01
"""The most that a step of the page's clock may be of a timed sample."""


class OnnxRuntimeWeb(Runtime):
    """A file opened by a page. Its numbers are WebAssembly's, its times are the page's own clock's.

    Args:
        path: the file.
        content: runs these bytes instead of the file's; external data is still looked for beside `path`.

    Raises:
        RefusedError: onnxruntime-web does not read the file, or an input or output has a type that pages do not know.
        DeviceUnavailableError: there is no browser, or no onnxruntime-web.
    """

    ordered = True
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> None:
        self.path, self.device = path, options.device
        browser = the_browser()
        self._page = Page(browser, library() / "dist")
        try:
            facts = self._page.call("facts")
            process = self._page.process
            provider, module, accelerator = self._provider(options.device)
            loaded = self._page.call("load", library=module, threads=options.threads)
            self.stopwatch = PageClock(self._page, process, int(facts["clock_resolution_ns"]))
            forget_peak(process)
            idle = resident_bytes("VmRSS", process)
            opened = self._open(options, provider, content)
            peak = resident_bytes("VmHWM", process)
        except BaseException:
            self._page.close()
            raise
        weakref.finalize(self, self._page.close)
        self.version = str(loaded["version"])
        self.signature = Signature(
            tuple(_spec(path, row) for row in opened["inputs"]), tuple(_spec(path, row) for row in opened["outputs"])
        )
        self.stopwatch.phases = {
            "import_ms": loaded["import_ms"],
            "load_ms": opened["load_ms"],
            "idle_rss_bytes": idle,
            "load_peak_bytes": peak,
        }
        self.facts = {
            "browser": browser.version,
            "browser_sandbox": browser.sandboxed,
            "onnxruntime-web": self.version,
            "wasm_threads": opened["threads"],
            "wasm_simd": facts["simd"],
            "cross_origin_isolated": facts["isolated"],
            **accelerator,
        }

    def _provider(self, device: Device) -> tuple[str, str, dict[str, str]]:
        """The execution provider, the module that has it, and what is to be told of the device."""
        if device.detail != WEBGPU:
            return "wasm", MODULE, {}
        adapter = self._page.call("adapter")
        if "missing" in adapter:
            raise DeviceUnavailableError(
                f"{WEBGPU} is not available to {self.path.name}: {adapter['missing']}.",
                next_step="Use a browser and a machine with a GPU that it lets pages use (chrome://gpu tells).",
                file=self.path,
            )
        return WEBGPU, GPU_MODULE, {"adapter": adapter["name"]}

    def _open(self, options: RuntimeOptions, provider: str, content: bytes | None) -> Any:
        served = self._page.server.content
        served["model"] = self.path if content is None else content
        parts = parts_of(self.path)[1:]
        served |= {f"part{k}": part for k, part in enumerate(parts)}
        external = [
            {"path": part.relative_to(self.path.parent).as_posix(), "name": f"part{k}"} for k, part in enumerate(parts)
        ]
        settings = {"executionProviders": [provider], "graphOptimizationLevel": _LEVELS[options.graph_optimization]}
        try:
            return self._page.call("open", model="model", external=external, options=settings)
        except PageError as cause:
            self._without_memory(cause)
            raise RefusedError(
                f"{self.path.name} is not read by onnxruntime-web: {_short(cause)}",
                next_step="Ship another artifact of the model there, or the same in another precision.",
                file=self.path,
            ) from cause

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        feeds = base.ordered_inputs(self.signature, inputs, self.path)
        return run_in_fixed_batches(self.signature, feeds, self._run)

    def refuses(self, feeds: Arrays) -> bool:
        return base.turned_away(self._run, base.ordered_inputs(self.signature, feeds, self.path))

    def _run(self, feeds: Arrays) -> Arrays:
        try:
            rows = self._page.call("run", inputs=offered(self._page, feeds), outputs=list(self.signature.output_names))
        except PageError as cause:
            self._without_memory(cause)
            base.failed(self.path, cause)
        left = self._page.server.left
        return {name: _taken(rows[k], left, k) for k, name in enumerate(self.signature.output_names)}

    def _without_memory(self, cause: PageError) -> None:
        if _NO_MEMORY.search(str(cause)):
            raise ResourceError(
                f"{self.path.name} needs more memory than a page has: {_short(cause)}",
                next_step="Use a smaller batch or input there, or a smaller precision.",
                file=self.path,
            ) from cause


class PageClock:
    """Times runs in the page, with its clock. Where a run is short against the clock's steps, a sample is the mean of
    several, one after the other: `runs_per_sample`.

    Attributes: see `base.Stopwatch`.
    """

    def __init__(self, page: Page, process: int, resolution_ns: int) -> None:
        self._page, self.process = page, process
        self._resolution_ns = resolution_ns
        self.runs_per_sample = 1
        self.phases: Mapping[str, float] = {}

    def prepare(self, feeds: Sequence[Arrays]) -> None:
        self._page.call("prepare", inputs=[offered(self._page, feed, f"{k}/") for k, feed in enumerate(feeds)])
        self._page.server.content = {
            name: content for name, content in self._page.server.content.items() if not name.startswith("feeds/")
        }

    def timed(self, count: int) -> list[int]:
        inner = min(self.runs_per_sample, count)
        ns = [int(one) for one in self._page.call("time", count=round(count / inner), inner=inner)["ns"]]
        # Upwards alone: code gets quicker while the browser compiles it anew.
        needed = math.ceil(self._resolution_ns / _SHARE_OF_CLOCK / max(1.0, float(np.quantile(ns, 0.25))))
        self.runs_per_sample = max(self.runs_per_sample, needed)
        return ns

    @property
    def facts(self) -> dict[str, Any]:
        return {"clock_resolution_ns": self._resolution_ns, "runs_per_sample": self.runs_per_sample}


def offered(page: Page, feeds: Arrays, prefix: str = "") -> list[dict[str, Any]]:
    """Arrays as `page.mjs` takes them: their bytes are on the server."""
    rows = []
    for k, (name, array) in enumerate(feeds.items()):
        row: dict[str, Any] = {"input": name, "dims": list(array.shape)}
        if array.dtype.kind in "SOU":
            row["texts"] = _texts(name, as_array(array))
        else:
            row |= {"dtype": array.dtype.name, "name": f"feeds/{prefix}{k}"}
            page.server.content[row["name"]] = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        rows.append(row)
    return rows


def _texts(name: str, array: Array) -> list[str]:
    try:
        return [text.decode() for text in array.reshape(-1).tolist()]
    except UnicodeDecodeError:
        raise StepError(
            f"The input {name} has a text that is not UTF-8, which a page has no strings for.",
            next_step="Give it texts in UTF-8.",
        ) from None


def _taken(row: Mapping[str, Any], left: dict[str, bytes], k: int) -> Array:
    if "texts" in row:
        return as_array(np.array(row["texts"], object)).reshape(row["dims"])
    dtype = np.dtype(row["dtype"])
    array: Array = np.frombuffer(left.pop(f"left/{k}"), dtype.newbyteorder("<")).astype(dtype).reshape(row["dims"])
    return array


def _spec(path: Path, row: Mapping[str, Any]) -> TensorSpec:
    name, kind = row["name"], row["type"] if row["isTensor"] else "no tensor"
    if kind != TEXT and kind not in _KINDS:
        raise RefusedError(
            f"{path.name} has an input or output {name} of type {kind}, which a page has no array for.",
            next_step="Ship another artifact of the model there.",
            file=path,
        )
    return TensorSpec(name, base.dimensions(name, tuple(row["shape"])), kind)


def _short(cause: PageError) -> str:
    """What it says; of a type that it calls by ONNX's number the name too."""
    text = words_of(cause)
    return _NUMBER_OF_TYPE.sub(lambda found: f"{found[0]} ({DTYPES.get(int(found[1]), 'of no name')})", text)


@cache
def the_browser() -> Chromium:
    """The one browser of this process; each file is a tab."""
    browser = Chromium()
    atexit.register(browser.close)
    return browser
