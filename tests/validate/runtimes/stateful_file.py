"""A `.tflite` file that keeps a state: one UNIDIRECTIONAL_SEQUENCE_LSTM, as TensorFlow fuses the LSTM of Keras 2."""

from __future__ import annotations

from typing import Any

import numpy as np

STEPS, INPUTS, UNITS = 5, 3, 4
_ABSENT = -1


def stateful_lstm() -> bytes:
    """Its input `x` is (1, 5, 3), its output `y` (1, 5, 4); what it keeps are two variables of (1, 4)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    generator = np.random.default_rng(0)
    model = schema.ModelT()
    model.version, model.description = 3, b"stateful"
    model.buffers = [schema.BufferT()]
    subgraph: Any = schema.SubGraphT()
    subgraph.name, subgraph.tensors = b"main", []

    def tensor(name: str, shape: tuple[int, ...], values: Any = None, *, variable: bool = False) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), np.array(shape, np.int32), schema.TensorType.FLOAT32
        made.isVariable, made.buffer = variable, 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            model.buffers.append(buffer)
        subgraph.tensors.append(made)
        return len(subgraph.tensors) - 1

    def weights(name: str, *shape: int) -> int:
        return tensor(name, shape, generator.normal(size=shape))

    x = tensor("x", (1, STEPS, INPUTS))
    kernels = [weights(f"kernel{k}", UNITS, INPUTS) for k in range(4)]
    recurrent = [weights(f"recurrent{k}", UNITS, UNITS) for k in range(4)]
    biases = [weights(f"bias{k}", UNITS) for k in range(4)]
    states = [tensor(name, (1, UNITS), variable=True) for name in ("output_state", "cell_state")]
    y = tensor("y", (1, STEPS, UNITS))

    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    absent = [_ABSENT]
    operator.inputs = [x, *kernels, *recurrent, *absent * 3, *biases, *absent * 2, *states, *absent * 4]
    operator.outputs = [y]
    operator.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    operator.builtinOptions = schema.UnidirectionalSequenceLSTMOptionsT()
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    code.version = 1
    subgraph.operators, subgraph.inputs, subgraph.outputs = [operator], [x], [y]

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = ([_mapped(schema, *pair)] for pair in ((b"x", x), (b"y", y)))
    model.operatorCodes, model.subgraphs, model.signatureDefs = [code], [subgraph], [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _mapped(schema: Any, name: bytes, index: int) -> Any:
    mapped = schema.TensorMapT()
    mapped.name, mapped.tensorIndex = name, index
    return mapped
