"""States that a model's stateful layers keep between calls, as inputs and outputs of one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from converters.compat.keras import all_layers
from converters.signature import Signature, StateSpec, TensorSpec, unique_names


@dataclass(frozen=True)
class States:
    """The states of a model, in the order of its layers.

    Attributes:
        variables: Keras variables that a call reads and assigns.
        names: `<layer>_state<k>`, one each.
    """

    variables: tuple[Any, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, model: Any) -> States:
        """Those of recurrent layers with `stateful=True`, in wrappers and nested models too; most models have none."""
        import keras

        found: dict[int, tuple[Any, str]] = {}
        for layer in all_layers(model):
            if isinstance(layer, keras.layers.RNN) and layer.stateful:
                for k, variable in enumerate(keras.tree.flatten(layer.states)):
                    found.setdefault(id(variable), (variable, f"{layer.name}_state{k}"))
        return cls(tuple(variable for variable, _ in found.values()), tuple(name for _, name in found.values()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be told of them, in sentences."""
        named = ", ".join(self.names)
        return (f"It is one step of a stateful model: {named} are fed what the step before gave.",) if named else ()

    def added_to(self, signature: Signature) -> Signature:
        """The signature of one step: states are its last inputs, and what they become its last outputs."""
        if not self.names:
            return signature
        inputs = unique_names([*signature.input_names, *self.names])[len(signature.inputs) :]
        outputs = unique_names([*signature.output_names, *(f"{name}_next" for name in inputs)])
        specs = tuple(
            StateSpec(name, output, tuple(map(int, variable.shape)), str(variable.dtype))
            for name, output, variable in zip(inputs, outputs[len(signature.outputs) :], self.variables, strict=True)
        )
        return replace(
            signature,
            inputs=(*signature.inputs, *(TensorSpec(spec.input, spec.shape, spec.dtype) for spec in specs)),
            outputs=(*signature.outputs, *(TensorSpec(spec.output, spec.shape, spec.dtype) for spec in specs)),
            states=specs,
        )

    def stepped(self, function: Any) -> Any:
        """The function of inputs and states that gives outputs and next states; nothing is kept between its calls."""
        if not self.variables:
            return function
        import keras

        def step(tensors: Sequence[Any]) -> list[Any]:
            count = len(tensors) - len(self.variables)
            given = list(zip(self.variables, tensors[count:], strict=True))
            with keras.StatelessScope(given) as scope:
                results = function(tensors[:count])
            return [*results, *(scope.get_current_value(variable) for variable in self.variables)]

        return step
