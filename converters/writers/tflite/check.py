"""Checks that a `.tflite` file holds the model's weights: by its constants or, where those are folded, its answers."""

from __future__ import annotations

import contextlib
import hashlib
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.compat.tensorflow import SCHEMA
from converters.errors import StepError
from converters.signature import SIGNATURE_KEY
from converters.tracing import Traced
from converters.trial.drawing import rounds
from converters.weightless_graph import reached_variables, value_of
from converters.writers.tflite.weights import missing_kernels

_VARIABLE_OPS = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}
_ALIKE = 1e-4
"""Of an output's maximum: a lost kernel moves far more, and what float32 rounds in a deep network far less."""


def check_weights(content: bytearray, traced: Traced) -> None:
    """No variable operation, and every kernel that the outputs depend on is inside, as it is or in a folded form.

    `TFLiteConverter.from_concrete_functions` on an unfrozen function silently writes a file without weights (design).
    Loops take their kernels apart; there the sum of the bytes is checked. The converter also folds kernels into one
    another: the positions of a transformer into what they are added to, a batch norm into the rows of the next layer.
    So where one is not found the file is run, and has to answer as the function does.

    Raises:
        StepError: the file lacks weights.
    """
    schema = SCHEMA.get()
    model = schema.Model.GetRootAs(content, 0)
    builtin = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = {builtin[model.OperatorCodes(k).BuiltinCode()] for k in range(model.OperatorCodesLength())}
    variables = reached_variables(traced.concrete)
    kernels = {n: value_of(v) for n, v in variables.items() if len(v.shape) >= 2}
    nbytes = sum(model.Buffers(k).DataLength() for k in range(model.BuffersLength()))
    missing = [] if traced.recurrent else missing_kernels(content, kernels)
    suspected = bool(missing) or _holds_less(nbytes, kernels)
    if codes & _VARIABLE_OPS or (suspected and not _answers_alike(content, traced)):
        lost = f": {', '.join(variables[name].name for name in missing[:3])}" if missing else ""
        raise StepError(
            f"The TFLite file came out without all of its weights{lost}.",
            next_step="Report this model's architecture; leave tflite out with -f meanwhile.",
            step="convert",
        )


def _holds_less(nbytes: int, kernels: Mapping[str, Array]) -> bool:
    """Whether `nbytes` is too little for the kernels. Equal ones are stored once."""
    if nbytes >= sum(value.nbytes for value in kernels.values()):
        return False
    distinct = {hashlib.blake2b(value.tobytes()).digest(): value.nbytes for value in kernels.values()}
    return nbytes < sum(distinct.values())


def _answers_alike(content: bytearray, traced: Traced) -> bool:
    """Whether the file computes on random inputs what the traced function does; False where either does not run."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        feeds, expected = _tried(traced)
        runner = Interpreter(model_content=bytes(content)).get_signature_runner(SIGNATURE_KEY)
        actual = runner(**feeds)
    except Exception:  # TensorFlow's and LiteRT's kinds are many; that it is not known is the answer
        traceback.print_exc()
        return False
    return all(_alike(actual.get(name), value.numpy()) for name, value in expected.items())


def _tried(traced: Traced) -> tuple[Arrays, dict[str, Any]]:
    """Drawn inputs and what the traced function makes of them, the first that it takes: positions are looked up in a
    table that may end early."""
    import tensorflow as tf

    function, signature = traced.original or traced.concrete, traced.signature
    for draw in (draw for draws in rounds(signature) for draw in draws):
        feeds = draw.inputs(signature, {})
        with contextlib.suppress(tf.errors.OpError):
            return feeds, function(*(tf.constant(value) for value in feeds.values()))
    raise LookupError("The model runs on nothing that was drawn.")


def _alike(actual: Any, expected: Array) -> bool:
    if np.shape(actual) != expected.shape:
        return False
    wide = expected.astype(np.float64)
    maximum = float(np.abs(wide[np.isfinite(wide)]).max(initial=0.0))
    return np.allclose(actual, wide, rtol=0, atol=_ALIKE * maximum, equal_nan=True)
