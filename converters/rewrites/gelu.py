"""Which error functions TFLite's converter makes GELU of; apart, as it reads a graph instead of making one."""

from __future__ import annotations

import math
from typing import Any

from converters.rewrites.row import constant


def stands_alone(operation: Any) -> bool:
    """Whether an Erf or Erfc is not within (x / 2) * (1 + erf(x / sqrt(2))) or (x / 2) * erfc(-x / sqrt(2)).

    The converter knows these two in this order only; in any other the error function has to be composed.
    """
    complement = operation.type == "Erfc"
    source = _scaled(operation.inputs[0].op, math.sqrt(0.5))
    if complement and source is not None:
        source = source.op.inputs[0] if source.op.type == "Neg" else None
    factor = operation if complement else _only_user(operation)
    if source is None or factor is None or not (complement or _adds_one(factor)):
        return True
    product = _only_user(factor)
    if product is None or product.type != "Mul" or product.inputs[1].op.name != factor.name:
        return True
    half = _scaled(product.inputs[0].op, 0.5)
    return half is None or half.name != source.name


def _scaled(operation: Any, scale: float) -> Any:
    """The tensor that an operation multiplies by this constant, or divides by its reciprocal; None for any other."""
    if operation.type not in {"Mul", "RealDiv"}:
        return None
    for index in (1, 0) if operation.type == "Mul" else (1,):
        value = constant(operation, index)
        expected = scale if operation.type == "Mul" else 1 / scale
        if value is not None and value.size == 1 and math.isclose(value.item(), expected, rel_tol=1e-6):
            return operation.inputs[1 - index]
    return None


def _adds_one(operation: Any) -> bool:
    values = [constant(operation, index) for index in (0, 1)] if operation.type in {"Add", "AddV2"} else []
    return any(value is not None and value.size == 1 and value.item() == 1 for value in values)


def _only_user(operation: Any) -> Any:
    users = operation.outputs[0].consumers()
    return users[0] if len(users) == 1 else None
