"""How a row's worker is started: here, or on a machine elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from converters.isolation import Limits, Message, Worker, worker_environment
from validate.latency.host.facts import host_facts
from validate.latency.job import BenchJob
from validate.latency.results import Row
from validate.targets import Device
from validate.targets.machine import Speaker, host_facts_of, machine_of

Launch = Callable[[Row, Message], Speaker]
"""Starts a worker for a row with its request."""

_TARGET = "validate.latency.worker:serve"


@contextlib.contextmanager
def launching(device: Device, rows: Sequence[Row], job: BenchJob) -> Iterator[tuple[Launch, dict[str, Any]]]:
    """How the rows' workers are started, and the facts of the machine. Raises StepError: it cannot be reached."""
    if not device.is_elsewhere:
        yield launch_here(job), host_facts()
        return
    goldens = (job.golden_for(row) for row in rows)
    files = dict.fromkeys([*(row.artifact for row in rows), *(golden.absolute() for golden in goldens if golden)])
    with machine_of(device, job.places.machine(device)).connected(files) as connected:

        def launch(row: Row, request: Message) -> Speaker:
            golden = request["golden"]
            there = {"artifact": connected.paths[request["artifact"]], "golden": golden and connected.paths[golden]}
            return connected.worker({"do": "serve", "request": {**request, **there, "device": Device.CPU}}, row.threads)

        yield launch, host_facts_of(connected)


def launch_here(job: BenchJob) -> Launch:
    """Workers on this machine: a fresh interpreter each."""

    def launch(row: Row, request: Message) -> Speaker:
        env = worker_environment(gpu=row.device.is_gpu, threads=row.threads)
        if not row.variant.tf32:
            env["NVIDIA_TF32_OVERRIDE"] = "0"  # TensorRT and TensorFlow have no option of their own (CUDA's has)
        limits = Limits(memory_bytes=job.common.limits.memory_bytes)
        return Worker(
            _TARGET,
            request,
            step="bench",
            limits=limits,
            log=job.common.log,
            env=env,
            reads=job.reads_of(row),
        )

    return launch
