"""Where a row really ran: its providers, its nodes, our memory on the device. Apart, for it asks the GPU."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from validate.latency.host.nvml import gpu_state
from validate.runtimes.base import Runtime


def placement(runtime: Runtime) -> dict[str, Any]:
    """Facts for the row, read after the timing. Empty for a CPU row of another runtime than ONNX Runtime."""
    facts: dict[str, Any] = {**runtime.facts, **({} if runtime.stopwatch is None else runtime.stopwatch.facts)}
    session = runtime.session
    if session is not None:
        facts["providers"] = list(session.get_providers())
        if runtime.device.is_gpu:
            facts["provider_options"] = {name: dict(v) for name, v in session.get_provider_options().items()}
            facts["nodes"] = node_counts(session)
    if runtime.device.is_gpu:
        facts["gpu"] = gpu_state()
    return facts


def node_counts(session: Any) -> dict[str, int]:
    """How many nodes each provider took, as ONNX Runtime recorded it while it partitioned; empty for older ones."""
    counts: dict[str, int] = {}
    with suppress(AttributeError, RuntimeError):
        for part in session.get_provider_graph_assignment_info():
            nodes = part.get_nodes() if callable(getattr(part, "get_nodes", None)) else part.nodes
            name = part.ep_name() if callable(part.ep_name) else part.ep_name
            counts[name] = counts.get(name, 0) + len(nodes)
    return counts
