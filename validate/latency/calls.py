"""One run of an opened artifact, prepared so that nothing of ours is inside that an application would not do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.arrays import Arrays
from converters.errors import StepError
from validate.runtimes.base import Runtime
from validate.runtimes.variant import Boundary

Names = tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """`run()` is timed; `read(run())` gives the outputs by name."""

    run: Callable[[], Any]
    read: Callable[[Any], Arrays]


def prepare(runtime: Runtime, feeds: tuple[Arrays, ...], boundary: str) -> list[Call]:
    """The calls of one worker, one a feed. All feeds have the same shapes."""
    if runtime.session is not None and boundary == Boundary.DEVICE_RESIDENT:
        return [_bound(runtime, feed) for feed in feeds]
    return [Call(*runtime.prepared(feed)) for feed in feeds]


def _by_name(names: Names, results: Any) -> Arrays:
    return {name: np.asarray(result) for name, result in zip(names, results, strict=True)}


def _bound(runtime: Runtime, feed: Mapping[str, Any]) -> Call:
    """IO binding: the input lies on the device before the clock starts, the outputs stay on it; synchronized.

    `synchronize_outputs` waits for the device, so that the call ends when the work does.
    """
    import onnxruntime

    device = "cuda" if runtime.device.is_gpu else "cpu"  # TensorRT's memory is CUDA's
    binding = runtime.session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0))
    for name in runtime.signature.output_names:
        binding.bind_output(name, device, 0)
    binding.synchronize_inputs()
    run_with, synchronize = runtime.session.run_with_iobinding, binding.synchronize_outputs

    def run() -> None:
        run_with(binding)
        synchronize()

    def read(_: Any) -> Arrays:
        return _by_name(runtime.signature.output_names, binding.copy_outputs_to_cpu())

    return Call(run, read)


def check_synchronous(calls: list[Call], clock: Callable[[], int]) -> None:
    """Raises StepError where single calls end before their work: a block of them then takes longer than their sum."""
    count = 20
    single = 0
    for k in range(count):
        start = clock()
        calls[k % len(calls)].run()
        single += clock() - start
    start = clock()
    for k in range(count):
        result = calls[k % len(calls)].run()
    calls[(count - 1) % len(calls)].read(result)
    block = clock() - start
    if block > single * 1.5 + 2_000_000:
        raise StepError(
            f"{count} runs took {single / 1e6:.2f} ms one by one and {block / 1e6:.2f} ms until their results were "
            "there: the device works on after a run has returned.",
            next_step="Report this: these timings would be too short.",
            step="bench",
        )
