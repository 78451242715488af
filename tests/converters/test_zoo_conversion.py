"""Every model of the zoo through every format, compared with the Keras model by the bare runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import load
from converters.tracing import Traced, trace
from converters.weightless_graph import reached_variables
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.weights import missing_kernels
from converters.writers.tflite.write import write_tflite

BATCH = 5
NAMES = (
    "convolutional", "sequential", "separable", "hard_swish_convolution", "transposed", "one_dimensional",
    "grouped", "gelu_attention", "embedding", "two_inputs_dict_outputs", "list_outputs", "dict_inputs",
    "boolean_input", "unknown_spatial", "normalization", "squeeze_excite", "shared_layer", "augmented", "lstm",
    "gru_bidirectional", "channels_first", "mixed_bfloat16", "mixed_float16", "quantized_int8", "lora", "nested",
    "passed_through", "time_distributed", "odd_names",
)  # fmt: skip
FROZEN = {"lstm", "gru_bidirectional"}
WEIGHTLESS_TFLITE = {
    "convolutional", "sequential", "separable", "hard_swish_convolution", "grouped", "two_inputs_dict_outputs",
    "list_outputs", "dict_inputs", "boolean_input", "unknown_spatial", "squeeze_excite", "augmented", "nested",
    "passed_through", "odd_names", "time_distributed",
    "quantized_int8", "mixed_bfloat16", "mixed_float16", "lora",
}  # fmt: skip
SHAPE_ARITHMETIC = {"transposed", "unknown_spatial"}
"""Output sizes that depend on the input's, beyond the batch."""
NOTES = {
    "channels_first": "channels-last",
    "mixed_bfloat16": "mixed_bfloat16",
    "mixed_float16": "mixed_float16",
    "quantized_int8": "quantized",
    "lora": "LoRA",
}


@dataclass
class Case:
    """One model on its way: loaded from its own `.keras` file, traced, with inputs and the reference's outputs."""

    name: str
    folder: Path
    loaded: Loaded
    traced: Traced
    feeds: dict[str, Any]
    expected: dict[str, Any]

    def check(self, outputs: dict[str, Any]) -> None:
        assert set(outputs) == set(self.expected)
        for name, expected in self.expected.items():
            scale = max(1.0, float(np.abs(expected).max()))
            assert np.shape(outputs[name]) == expected.shape
            assert np.abs(outputs[name] - expected).max() <= 3e-6 * scale, name


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> Case:
    import tensorflow as tf

    folder = tmp_path_factory.mktemp(request.param)
    zoo.build(request.param).save(folder / "m.keras")
    loaded = load(Checkpoint(folder / "m.keras", SourceKind.KERAS, "m", ""))
    generator = np.random.default_rng(0)
    feeds = {}
    for spec in loaded.signature.inputs:
        shape = spec.concrete(BATCH, 24)
        values = generator.uniform(0, 1, shape)
        feeds[spec.name] = {
            "int32": (values * 49).astype(np.int32),
            "bool": values > 0.5,
            "float32": values.astype(np.float32),
        }[spec.dtype]
    outputs = loaded.function([tf.constant(v) for v in feeds.values()])
    expected = dict(zip(loaded.signature.output_names, (np.asarray(v) for v in outputs), strict=True))
    return Case(request.param, folder, loaded, trace(loaded), feeds, expected)


def test_the_names_are_all_there(zoo: Any) -> None:
    assert set(NAMES) == set(zoo.ZOO)


def test_rewrites_are_told(case: Case) -> None:
    word = NOTES.get(case.name)
    assert (word in " ".join(case.loaded.notes)) if word else not case.loaded.notes


def test_saved_model(case: Case) -> None:
    import tensorflow as tf

    write_saved_model(case.traced, case.folder / "sm")
    serve = tf.saved_model.load(str(case.folder / "sm")).signatures["serving_default"]
    keywords = serve.structured_input_signature[1]
    assert {spec.name for spec in keywords.values()} == set(case.loaded.signature.input_names)
    results = serve(**{keyword: tf.constant(case.feeds[spec.name]) for keyword, spec in keywords.items()})
    case.check({name: value.numpy() for name, value in results.items()})


def test_tflite(case: Case) -> None:
    from ai_edge_litert.interpreter import Interpreter

    traced = trace(case.loaded, 1) if case.traced.recurrent else case.traced
    folder, path = case.folder / "for_tflite", case.folder / "m.tflite"
    write_saved_model(traced, folder)
    conversion_path = write_tflite(traced, lambda: folder, path)
    assert conversion_path == ("weightless" if case.name in WEIGHTLESS_TFLITE else "saved-model")
    if conversion_path == "weightless":
        kernels = {n: v.numpy() for n, v in reached_variables(traced.concrete).items() if len(v.shape) >= 2}
        assert missing_kernels(path.read_bytes(), kernels) == []
    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner("serving_default")
    if case.traced.recurrent:
        rows = [runner(**{n: v[k : k + 1] for n, v in case.feeds.items()}) for k in range(BATCH)]
        outputs = {name: np.concatenate([row[name] for row in rows]) for name in case.expected}
    else:
        outputs = runner(**case.feeds)
    case.check(outputs)
    _check_positions(interpreter, runner, case)
    operations = {row["op_name"] for row in interpreter._get_ops_details()}
    assert not {name for name in operations if name.startswith(("Flex", "CUSTOM"))}
    if case.name not in SHAPE_ARITHMETIC | FROZEN:
        assert not operations & {"SHAPE", "PACK"}


def _check_positions(interpreter: Any, runner: Any, case: Case) -> None:
    """Programs that go by position find the signature's order too."""
    signature = case.loaded.signature
    by_name = {n: d["index"] for n, d in {**runner.get_input_details(), **runner.get_output_details()}.items()}
    inputs = [d["index"] for d in interpreter.get_input_details()]
    outputs = [d["index"] for d in interpreter.get_output_details()]
    assert inputs == [by_name[n] for n in signature.input_names]
    assert outputs == [by_name[n] for n in signature.output_names]


def test_onnx(case: Case) -> None:
    import onnx
    import onnxruntime

    path = case.folder / "m.onnx"
    written = write_onnx(case.traced, path)
    assert written.conversion_path == ("frozen" if case.name in FROZEN else "weightless")
    model = onnx.load(path)
    assert {o.domain for o in model.opset_import} == {""}
    if case.name not in FROZEN | SHAPE_ARITHMETIC:
        assert "Shape" not in {node.op_type for node in model.graph.node}
    read = {name for node in model.graph.node for name in node.input}
    assert {i.name for i in model.graph.initializer} <= read | _inner_names(model)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(case.loaded.signature.input_names)
    assert [o.name for o in session.get_outputs()] == list(case.loaded.signature.output_names)
    assert all(i.shape[0] == "batch" for i in session.get_inputs())
    names = list(case.loaded.signature.output_names)
    case.check(dict(zip(names, session.run(names, case.feeds), strict=True)))


def _inner_names(model: Any) -> set[str]:
    names: set[str] = set()
    for node in model.graph.node:
        for attribute in node.attribute:
            names |= {i for inner in attribute.g.node for i in inner.input}
    return names
