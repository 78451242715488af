"""The machine's peak multiply-adds and bytes a second, a roofline. Apart from `insight`: this is the worker's side.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model" (2009).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from converters.isolation import Channel, Message
from validate.latency.host.facts import cpus_for

TARGET = "validate.latency.profiling.peak:serve"
_SIDE = 1024
_COPIED = 64 << 20
_SECONDS = 1.0


def serve(request: Message, _: Channel) -> Message:
    """In a worker whose BLAS has `threads` threads: the best of many matrix products, and of many copies."""
    from validate.latency.worker import pin

    threads = int(request["threads"])
    pin(cpus_for(threads))
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((_SIDE, _SIDE), np.float32) for _ in range(2))
    out = np.empty((_SIDE, _SIDE), np.float32)
    source, target = np.ones(_COPIED, np.uint8), np.empty(_COPIED, np.uint8)
    product = _best(lambda: np.matmul(a, b, out=out))
    copy = _best(lambda: np.copyto(target, source))
    return {"threads": threads, "macs_per_s": _SIDE**3 / product, "bytes_per_s": 2 * _COPIED / copy}


def _best(action: Callable[[], object]) -> float:
    """Seconds of the fastest run within a second; the first is not counted."""
    action()
    best, end = float("inf"), time.monotonic() + _SECONDS
    while time.monotonic() < end:
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best
