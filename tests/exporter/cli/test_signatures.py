"""A `.tflite` with several signatures: the one that is named is run, judged, timed and taken as a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import RefusedError
from converters.readers.tflite_file import read_tflite
from converters.readers.tflite_signed import signed
from exporter.cli.main import run
from exporter.inspection import inspect
from validate.agreement.worker.taps.tflite import tapped_bytes
from validate.runtimes.base import RuntimeOptions
from validate.runtimes.compiled_model import CompiledModelRuntime
from validate.runtimes.tflite import TfliteRuntime

A = np.array([[3.0, 1.0], [0.5, 2.0]], np.float32)
B = np.array([[1.0, 4.0], [0.25, 8.0]], np.float32)
MINUS, PLUS = A - B, 1 / (1 + np.exp(-(A + B)))
QUICK = ["--max-seconds", "2", "--threads", "1", "-q", "--json"]


def several(path: Path, keys: tuple[str, ...] = ("minus", "plus", "choice"), branch: int = 4) -> Path:
    """Signatures of the inputs `left` and `right`: the difference, the sum's sigmoid, one of both by `flag`.

    `choice` runs subgraphs that are no signature's; `branch` is the one of the sum.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    kinds = [getattr(schema.BuiltinOperator, name) for name in ("SUB", "ADD", "LOGISTIC", "IF")]

    def operator(kind: int, inputs: list[int], output: int) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = kind, inputs, [output]
        if kind == 3:
            options = schema.IfOptionsT()
            options.thenSubgraphIndex, options.elseSubgraphIndex = branch, 3
            made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.IfOptions, options
        return made

    def graph(shapes: list[list[int]], inputs: list[int], operators: list[Any]) -> Any:
        made = schema.SubGraphT()
        made.tensors, made.inputs, made.outputs, made.operators = [], inputs, [len(shapes) - 1], operators
        for k, shape in enumerate(shapes):
            tensor = schema.TensorT()
            tensor.name, tensor.buffer, tensor.shape = f"t{k}".encode(), 0, shape
            tensor.type = schema.TensorType.FLOAT32 if shape else schema.TensorType.BOOL
            made.tensors.append(tensor)
        return made

    def signature(key: str, place: int, ends: tuple[tuple[str, int], ...], output: int) -> Any:
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex, made.inputs, made.outputs = key.encode(), place, [], []
        for side, entries in ((made.inputs, ends), (made.outputs, ((key, output),))):
            for name, index in entries:
                entry = schema.TensorMapT()
                entry.name, entry.tensorIndex = name.encode(), index
                side.append(entry)
        return made

    pair = [2, 2]
    minus, plus = (graph([pair] * 3, [0, 1], [operator(kind, [0, 1], 2)]) for kind in (0, 1))
    model = schema.ModelT()
    model.subgraphs = [
        graph([pair] * 3, [0, 1], [operator(0, [0, 1], 2)]),
        graph([pair] * 4, [0, 1], [operator(1, [0, 1], 2), operator(2, [2], 3)]),
        graph([[], pair, pair, pair], [0, 1, 2], [operator(3, [0, 1, 2], 3)]),
        minus,
        plus,
    ]
    ends = (("left", 0), ("right", 1))
    given = ((0, ends, 2), (1, ends, 3), (2, (("flag", 0), ("left", 1), ("right", 2)), 3))
    model.signatureDefs = [signature(key, *entry) for key, entry in zip(keys, given, strict=False)]
    model.operatorCodes = []
    for kind in kinds:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        model.operatorCodes.append(code)
    model.version, model.buffers = 3, [schema.BufferT()]
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return several(tmp_path_factory.mktemp("several") / "net.tflite")


@pytest.fixture(scope="module")
def inputs(net: Path) -> Path:
    path = net.with_name("inputs.npz")
    np.savez(path, left=A, right=B)
    return path


@pytest.mark.parametrize("kind", [TfliteRuntime, CompiledModelRuntime])
@pytest.mark.parametrize(("key", "value"), [("minus", MINUS), ("plus", PLUS)])
def test_the_one_that_is_named_is_run(kind: Any, key: str, value: Any, net: Path) -> None:
    runtime = kind(net, RuntimeOptions(signature=key))
    assert runtime.signature.output_names == (key,)
    feeds = {"left": A, "right": B}
    np.testing.assert_allclose(runtime.run(feeds)[key], value, rtol=1e-6)
    call, named = runtime.prepared(feeds)
    np.testing.assert_allclose(named(call())[key], value, rtol=1e-6)
    assert runtime.notes == (f"Of the file's signatures choice, minus, plus, `{key}` is run.",)


@pytest.mark.parametrize(("flag", "value"), [(True, A + B), (False, MINUS)])
def test_subgraphs_that_it_runs_stay(flag: bool, value: Any, net: Path) -> None:
    runtime = TfliteRuntime(net, RuntimeOptions(signature="choice"))
    feeds = {"flag": np.array(flag), "left": A, "right": B}
    np.testing.assert_allclose(runtime._run(feeds)["choice"], value, rtol=1e-6)


def test_one_that_runs_the_first_subgraph_is_refused_if_it_is_another(tmp_path: Path) -> None:
    path = several(tmp_path / "net.tflite", branch=0)
    with pytest.raises(RefusedError, match="calls the file's first subgraph"):
        signed(path, "choice")
    assert signed(path, "plus").content


def test_the_default_is_taken_wherever_it_stands(tmp_path: Path) -> None:
    path = several(tmp_path / "net.tflite", ("other", "serving_default"))
    found = TfliteRuntime(path).run({"left": A, "right": B})
    np.testing.assert_allclose(found["serving_default"], PLUS, rtol=1e-6)


def test_the_value_before_its_sigmoid_is_read(net: Path) -> None:
    kinds, content = tapped_bytes(net, "plus")
    assert kinds == {"plus": "sigmoid"}
    found = TfliteRuntime(net, RuntimeOptions(signature="plus"), content).run({"left": A, "right": B})
    np.testing.assert_allclose(found["plus"], A + B, rtol=1e-6)
    assert tapped_bytes(net, "minus") == ({}, b"")


@pytest.mark.parametrize(
    ("words", "message", "step"),
    [
        (["run", "{net}", "-o", "{out}"], "none is called serving_default; it has: choice, minus, plus", "--signature"),
        (["run", "{net}", "-o", "{out}", "--signature", "pluss"], "has no signature `pluss`; it has: choice", "Choose"),
        (["validate", "{net}", "{net}"], "none is called serving_default", "--signature NAME"),
        (["validate", "{net}", "{net}", "--signature", "pluss"], "No file here has a signature `pluss`", "plus"),
        (["bench", "{net}"], "it has: choice, minus, plus", "--signature NAME"),
    ],
)
def test_without_a_name_the_names_are_told(
    words: list[str], message: str, step: str, net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word.format(net=net, out=tmp_path / "out") for word in words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert step in told
    assert not (tmp_path / "out").exists()


def test_it_is_judged_and_timed(net: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Held against the file of that signature alone, and against the other's: which disagrees."""
    plus, minus = (net.with_name(f"{key}_alone.tflite") for key in ("plus", "minus"))
    for path, key in ((plus, "plus"), (minus, "minus")):
        path.write_bytes(signed(net, key).content or b"")
    given = ["--inputs", str(inputs), "--signature", "plus", "--json", "-q"]
    assert run(["validate", str(plus), str(net), *given, "--map", "plus=plus"]) == 0
    verdict = json.loads(capsys.readouterr().out)["verdicts"][0]
    assert verdict["outputs"][0]["basis"] == "logits"
    assert run(["validate", str(minus), str(net), *given, "--map", "plus=minus"]) == 1
    assert json.loads(capsys.readouterr().out)["verdicts"][0]["status"] == "disagree"
    assert run(["bench", str(net), str(plus), *QUICK, "--batch", "2", "--signature", "plus", "--profile-ops"]) == 0
    document = json.loads(capsys.readouterr().out)
    profiles = [[node["kind"] for node in profile["nodes"]] for profile in document["profiles"]]
    assert profiles[0] == profiles[1] != []


def test_it_is_a_source(net: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["run", str(net), "-o", str(out), "--signature", "plus", "--inputs", str(inputs), *QUICK[:4], "-q"]) == 0
    capsys.readouterr()
    made = read_tflite(out / "net.float32.tflite")
    assert [signature.key for signature in made.signatures] == ["serving_default"]
    found = TfliteRuntime(out / "net.float32.tflite").run({"left": A, "right": B})
    np.testing.assert_allclose(found["plus"], PLUS, rtol=1e-6)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["source"]["opening"]["signature"] == "plus"
    assert any("`plus` is run. The artifacts state it alone." in note for note in manifest["artifacts"][0]["notes"])


def test_inspect_shows_the_one_that_is_named(net: Path) -> None:
    from converters.checkpoints.load_options import LoadOptions

    found = inspect(net, LoadOptions(signature="plus"))
    assert [spec["name"] for spec in found["outputs"]] == ["plus"]
    assert "It has the signatures choice, minus, plus; shown is plus." in found["notes"]
