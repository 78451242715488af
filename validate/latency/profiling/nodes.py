"""Content of a profile: operations with their time and multiply-adds, by Keras layer and by kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.isolation import Message
from validate.latency.feeds import Golden, feeds_of

WARM, RUNS, SECONDS = 5, 50, 2.0

_KINDS = (
    ("convolution", ("conv", "igemm", "dwconv")),
    ("dense", ("gemm", "matmul", "fullyconnected", "fully_connected", "fully connected")),
    ("pooling", ("pool", "mean", "reducesum", "reducemax")),
    ("normalization", ("norm",)),
    ("recurrence", ("lstm", "gru", "rnn")),
    ("activation", ("relu", "sigmoid", "softmax", "tanh", "gelu", "erf", "swish", "silu", "elu", "clamp", "logistic")),
    ("quantization", ("quantize", "convert", "cast")),
    ("layout", ("reorder", "transpose", "reshape", "squeeze", "flatten", "pad", "shape", "slice", "gather", "expand")),
    ("joining", ("concat", "copy", "split")),
    ("elementwise", ("add", "mul", "sub", "div", "min", "max", "pow", "sqrt", "exp", "where", "multiply")),
)  # fmt: skip
_HEAVY = frozenset({"convolution", "conv2d", "matmul", "depthwise", "einsum", "separable_conv2d", "conv2d_transpose"})
_PARTS_OF_LAYERS = frozenset({"batchnorm", "moments", "add", "mul", "sub", "convolution", "dense", "einsum"})


@dataclass(frozen=True)
class Node:
    """One operation: mean microseconds a run, and the multiply-adds that it does (None where they are unknown)."""

    name: str
    operation: str
    micros: float
    macs: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "operation": self.operation,
            "layer": layer_of(self.name),
            "kind": kind_of(self.operation),
            "us": self.micros,
            "macs": self.macs,
        }


def inputs_of(request: Message, runtime: Any) -> tuple[Any, ...]:
    """The inputs of a timing with this request."""
    golden = Golden.read(Path(request["golden"])) if request.get("golden") else None
    return feeds_of(request, runtime, golden)[0].inputs


def layer_of(name: str) -> str:
    """The Keras layer in an operation's name, as `model_1/block_1/conv2d_3_1/convolution` -> `conv2d_3`.

    Tracing puts layers' names into scopes, each with a counter at its end, and the operation last. A fused operation's
    name lists all its parts, separated by `;`: the one that multiplies names it, else the first. Without a scope: "".
    """
    merged = name.split(";")
    heavy = (part for part in merged if part.rpartition("/")[2].lower() in _HEAVY)
    parts = next(heavy, merged[0]).split("/")[:-1]
    while parts and (parts[-1][:1].isupper() or re.sub(r"_\d+$", "", parts[-1]) in _PARTS_OF_LAYERS):
        parts.pop()
    return re.sub(r"_\d+$", "", parts[-1]) if len(parts) > 1 or (parts and "/" in name) else ""


def kind_of(operation: str) -> str:
    """One of a dozen words for what an operation does, whatever the runtime calls it."""
    lowered = operation.lower()
    for kind, words in _KINDS:
        if any(word in lowered for word in words):
            return kind
    return "other"


def grouped(nodes: Iterable[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """Time, share and multiply-adds by `layer` or `kind`, the costliest first."""
    groups: dict[str, dict[str, Any]] = {}
    for node in nodes:
        name = str(node[key]) or "(no layer: added by the runtime)"
        group = groups.setdefault(name, {"name": name, "us": 0.0, "macs": 0, "operations": 0})
        group["us"] += node["us"]
        group["macs"] += node["macs"] or 0
        group["operations"] += 1
    total_us = sum(group["us"] for group in groups.values()) or 1.0
    return sorted(({**g, "share": g["us"] / total_us} for g in groups.values()), key=lambda g: -g["us"])
