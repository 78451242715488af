"""A Keras model's function, traced once to give its outputs and the values before their final softmax or sigmoid."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converters.arrays import Array, Arrays, as_array
from converters.signature import Signature
from validate.agreement.worker.activation_coverage import Extremes, watches
from validate.agreement.worker.layer_recording import recording

_KINDS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
_PASS = {"Identity", "Cast", "StopGradient"}


class TappedFunction:
    """Runs a function of tensors in signature order; see `Tapped` for what it gives.

    Attributes:
        narrowing: what keeps float64 from being more exact, in words: the first operation that turns it into a narrower
            float or reads its bits; None where there is none.
        extremes: what the values before each bent activation reached in the runs so far.
        is_eager: Keras cannot put the function into a graph and runs it operation by operation: nothing is tapped.

    Args:
        function: list of input tensors -> list of output tensors.
        signature: names, shapes and dtypes of both; a float64 function takes a float64 signature.
        watched: keep `extremes`, which costs a pass over each of those values.
    """

    def __init__(
        self, function: Callable[[Sequence[Any]], Sequence[Any]], signature: Signature, *, watched: bool = False
    ) -> None:
        import tensorflow as tf

        self._signature = signature
        specs = [
            tf.TensorSpec([None if isinstance(d, str) else d for d in spec.shape], spec.dtype)
            for spec in signature.inputs
        ]
        self.kinds: dict[str, str] = {}
        self.narrowing: str | None = None
        self.extremes, self.is_eager = Extremes(()), False
        self._watched: list[Any] = []
        self._function: Callable[..., Any]
        try:
            with recording() as records:
                traced = tf.compat.v1.wrap_function(lambda *tensors: list(function(list(tensors))), specs)
        except (ValueError, TypeError, NotImplementedError):
            # Keras runs some layers only where every size is there: an adaptive pool to a size of 1.
            traceback.print_exc()  # into the log: it may be a fault of the model's
            self._function, self.is_eager = (lambda *tensors: function(list(tensors))), True
            return
        outputs = list(traced.outputs)
        taps = {name: tap for name, out in zip(signature.output_names, outputs, strict=True) if (tap := _tap(out))}
        self.narrowing = next((why for op in traced.graph.get_operations() if (why := _narrows(op))), None)
        self.kinds = {name: kind for name, (kind, _) in taps.items()}
        self.extremes = Extremes(watches(records) if watched else ())
        self._watched = self.extremes.tensors(traced.graph)
        fetches = [*outputs, *(tensor for _, tensor in taps.values()), *self._watched]
        self._traced = traced  # keeps the Python functions alive that its graph calls
        self._function = traced.prune(list(traced.inputs[: len(specs)]), fetches)

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        """Outputs and logits by output name; inputs are converted to the signature's dtypes."""
        import tensorflow as tf

        results = self._function(*(tf.constant(inputs[s.name], dtype=s.dtype) for s in self._signature.inputs))
        values = [as_array(result.numpy()) for result in results]
        if self._watched:
            self.extremes.take(*values[-2:])
            values = values[:-2]
        names = self._signature.output_names
        return dict(zip(names, values, strict=False)), dict(zip(self.kinds, values[len(names) :], strict=True))


def _narrows(operation: Any) -> str | None:
    """Why digits are lost, or bits are others. Keras reads a sign from the bits of a float32, whatever it is given (in
    its argmax)."""
    if not any(tensor.dtype.name == "float64" for tensor in operation.inputs):
        return None
    if operation.type == "Bitcast":
        return f"its operation {operation.name} reads the bits of a number, which are others in float64"
    consumers = [consumer.type for tensor in operation.outputs for consumer in tensor.consumers()]
    narrow = any(tensor.dtype.name in {"float32", "float16", "bfloat16"} for tensor in operation.outputs)
    if not narrow or (consumers and set(consumers) == {"Bitcast"}):
        return None
    return f"its operation {operation.name} rounds to a narrower type whatever is asked for"


def _tap(tensor: Any) -> tuple[str, Any] | None:
    operation = tensor.op
    while operation.type in _PASS:
        operation = operation.inputs[0].op
    kind = _KINDS.get(operation.type)
    return None if kind is None else (kind, operation.inputs[0])
