"""One command for phones, boards and servers; everything that it writes is read back with the public schemas."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import RefusedError
from converters.stamping import tflite as stamping
from exporter.inspection import inspect

from ..tools import needs

LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nüne"]
MODEL = "digits_se_inception"


@pytest.fixture(scope="module")
def shipped(edgeport: Any, examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(folder, manifest document) of an export with all three profiles."""
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    ran = edgeport(
        "export",
        examples / f"{MODEL}.keras",
        "-o",
        folder / "out",
        "--profile",
        "mobile",
        "--profile",
        "server",
        "--profile",
        "microcontroller",
        "-p",
        "float32",
        "-p",
        "int8",
        "--labels",
        folder / "labels.txt",
        "--preprocess",
        "resize=bilinear",
        "--calibration",
        examples / "digits_calibration.npz",
        "--json",
    )
    assert ran.code == 0, ran.stderr
    return folder / "out", ran.document


def test_batch_one_for_phones_and_a_dynamic_one_for_servers(shipped: Any) -> None:
    _, manifest = shipped
    batches = {row["path"]: row["signature"]["inputs"][0]["shape"][0] for row in manifest["artifacts"]}
    assert batches == {
        f"{MODEL}.float32.savedmodel": "batch",
        f"{MODEL}.float32.onnx": "batch",
        f"{MODEL}.int8.onnx": "batch",
        f"{MODEL}.float32.tflite": 1,
        f"{MODEL}.int8.tflite": 1,
        f"{MODEL}.float32.ort": 1,
        f"{MODEL}.int8.ort": 1,
    }
    assert manifest["signature"]["inputs"][0]["shape"][0] == "batch"


def test_the_manifest_says_what_to_feed_and_how_to_read(shipped: Any) -> None:
    _, manifest = shipped
    (image,), (labels,) = manifest["contract"]["inputs"], manifest["contract"]["outputs"]
    assert (image["scale"], image["range"], image["colour_order"], image["resize"]) == (1, [0, 16], "GRAY", "bilinear")
    assert (image["in_model"]["layer"], image["in_model"]["scale"]) == ("rescale", [0.0625])
    assert (labels["labels"], labels["activation"]) == (LABELS, "softmax")


def test_the_tflite_file_carries_it_for_the_public_readers(shipped: Any) -> None:
    folder, _ = shipped
    path = folder / f"{MODEL}.int8.tflite"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("labels_labels.txt").decode().splitlines() == LABELS
        contract = json.loads(archive.read("contract.json"))
    assert contract["outputs"][0]["labels"] == LABELS
    assert contract["inputs"][0]["shape"] == [1, 8, 8, 1]
    metadata = read_metadata(path.read_bytes())
    assert metadata["name"] == MODEL
    assert metadata["inputs"] == [{"name": "image", "mean": [0.0], "std": [1.0], "colours": 2, "size": (8, 8)}]
    assert metadata["outputs"] == [{"name": "labels", "file": "labels_labels.txt", "type": 2}]


def test_a_stamped_file_computes_what_it_did(shipped: Any, examples: Path, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    folder, _ = shipped
    content = (folder / f"{MODEL}.float32.tflite").read_bytes()
    plain = stamping.plain(content)
    assert plain[8:16] != content[8:16]
    assert plain in content
    image = np.load(examples / "digits.npz")["image"][:1]
    answers = [Interpreter(model_content=c).get_signature_runner()(image=image)["labels"] for c in (content, plain)]
    np.testing.assert_array_equal(*answers)


def test_onnx_and_ort_carry_it_as_metadata(shipped: Any) -> None:
    import onnx
    import onnxruntime

    folder, _ = shipped
    model = onnx.load(folder / f"{MODEL}.float32.onnx")
    onnx.checker.check_model(model, full_check=True)
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert props["edgeport.labels.labels"].split("\n") == LABELS
    assert props["Image.BitmapPixelFormat"] == "Gray8"
    session = onnxruntime.InferenceSession(str(folder / f"{MODEL}.float32.ort"))
    stored = session.get_modelmeta().custom_metadata_map
    assert stored["edgeport.labels.labels"].split("\n") == LABELS
    assert json.loads(stored["edgeport.contract"])["inputs"][0]["shape"] == [1, 8, 8, 1]
    config = (folder / f"{MODEL}.float32.required_operators_and_types.config").read_text()
    assert "Softmax" in config
    assert "#" not in config


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_inspect_reads_an_ort_file_as_onnx_runtime_does(shipped: Any, precision: str, tmp_path: Path) -> None:
    import onnxruntime

    path = shipped[0] / f"{MODEL}.{precision}.ort"
    found = inspect(path)
    session = onnxruntime.InferenceSession(str(path))
    for side, nodes in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        assert [(row["name"], row["shape"]) for row in found[side]] == [(node.name, node.shape) for node in nodes]
        assert {row["dtype"] for row in found[side]} == {"float32"}
    assert (found["format"], found["precision"], found["opset"]) == ("ort", precision, 17)
    assert found["ops"][{"float32": "com.microsoft::FusedConv", "int8": "com.microsoft::QLinearConv"}[precision]] == 13
    assert found["custom_ops"] == []
    assert found["parameters"] > 100_000
    assert found["contract"]["outputs"][0]["labels"] == LABELS
    short = tmp_path / "short.ort"
    short.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RefusedError, match="not a valid ONNX Runtime model"):
        inspect(short)


def test_triton_and_tensorflow_serving_folders_are_whole(shipped: Any) -> None:
    folder, manifest = shipped
    listed = {row["path"] for row in manifest["files"]}
    for path in (
        f"triton/{MODEL}/config.pbtxt",
        f"triton/{MODEL}/1/{MODEL}.float32.onnx",
        f"triton/{MODEL}/labels_labels.txt",
        f"triton/{MODEL}_int8/config.pbtxt",
        f"tf_serving/{MODEL}/1/saved_model.pb",
        "tf_serving/models.config",
    ):
        assert f"server/{path}" in listed
    first, second = (folder / f"server/triton/{MODEL}/1/{MODEL}.float32.onnx", folder / f"{MODEL}.float32.onnx")
    assert first.read_bytes() == second.read_bytes()
    assert (folder / f"server/tf_serving/{MODEL}/1/assets.extra/labels_labels.txt").is_file()


def test_tensorflow_servings_configuration_fits_its_schema(shipped: Any) -> None:
    text_format = pytest.importorskip("google.protobuf.text_format")
    schema = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text = (shipped[0] / "server/tf_serving/models.config").read_text()
    (config,) = text_format.Parse(text, schema.ModelServerConfig()).model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == (MODEL, f"/models/{MODEL}", "tensorflow")


@needs("g++")
def test_the_c_array_is_the_model(shipped: Any, tmp_path: Path) -> None:
    folder, manifest = shipped
    (row,) = manifest["shipping"]["microcontroller"]
    (tmp_path / "main.cc").write_text(f"""
#include <cstdint>
#include <cstdio>
#include "{MODEL}_model.h"
int main() {{
  if (reinterpret_cast<std::uintptr_t>(g_{MODEL}_model) % 16 != 0) return 1;
  std::fwrite(g_{MODEL}_model, 1, g_{MODEL}_model_size, stdout);
  std::fprintf(stderr, "%zu %s", kDigitsSeInceptionArenaSize, kDigitsSeInceptionLabelsNames[9]);
}}
""")
    source = folder / "microcontroller" / f"{MODEL}_model.cc"
    command = ["g++", "-std=c++14", "-Wall", "-Wextra", "-Werror", f"-I{source.parent}", str(source), "main.cc"]
    subprocess.run([*command, "-o", "main"], cwd=tmp_path, check=True)
    ran = subprocess.run([tmp_path / "main"], capture_output=True, check=True)
    assert ran.stdout == stamping.plain((folder / f"{MODEL}.int8.tflite").read_bytes())
    assert ran.stderr.decode() == f"{row['arena']['bytes']} nüne"
    assert row["missing_kernels"] == []


@needs("g++")
def test_the_resolver_is_c_plus_plus(shipped: Any, tmp_path: Path) -> None:
    """Against a header with the names of TFLM alone: the real one comes with its source tree, not with a package."""
    folder, manifest = shipped
    (row,) = manifest["shipping"]["microcontroller"]
    header = tmp_path / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    header.parent.mkdir(parents=True)
    text = (folder / "microcontroller" / f"{MODEL}_ops.h").read_text()
    calls = [line.split("->")[1].split("()")[0] for line in text.splitlines() if "->" in line]
    assert len(calls) == len(row["operators"])
    members = "\n".join(f"  TfLiteStatus {call}() {{ return kTfLiteOk; }}" for call in calls)
    header.write_text(
        "enum TfLiteStatus { kTfLiteOk, kTfLiteError };\nnamespace tflite {\n"
        f"template <unsigned int N> struct MicroMutableOpResolver {{\n{members}\n}};\n}}\n"
    )
    (tmp_path / "main.cc").write_text(
        f'#include "{MODEL}_ops.h"\nint main() {{ DigitsSeInceptionOpResolver r; '
        "return RegisterDigitsSeInceptionOps(&r); }\n"
    )
    command = ["g++", "-std=c++14", "-Wall", "-Werror", f"-I{folder / 'microcontroller'}", "-I.", "main.cc"]
    subprocess.run([*command, "-o", "main"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


def test_delegates_say_what_they_take(shipped: Any) -> None:
    _, manifest = shipped
    rows = {(r["artifact"], r["delegate"]): r for r in manifest["shipping"]["mobile"]["usability"]}
    float32 = f"{MODEL}.float32.tflite"
    assert rows[float32, "xnnpack"]["taken"] == rows[float32, "xnnpack"]["operations"] > 20
    providers = {delegate for file, delegate in rows if file.endswith(".ort")}
    assert providers == {"coreml-mlprogram", "coreml-neuralnetwork", "nnapi"}
    for row in rows.values():
        assert row["operations"] - row["taken"] == len(row["not_taken"])
        assert all(entry["reason"] for entry in row["not_taken"])


def test_the_same_command_again_gives_the_same_content(shipped: Any, edgeport: Any, examples: Path) -> None:
    """Stamped float32 files are reused as bases: what is made from them must not change.

    ONNX Runtime orders the tables of an .ort file anew every time: of those the digest holds the size alone.
    """
    folder, manifest = shipped
    ran = edgeport(
        "export",
        examples / f"{MODEL}.keras",
        "-o",
        folder,
        "--profile",
        "mobile",
        "--profile",
        "server",
        "--profile",
        "microcontroller",
        "-p",
        "float32",
        "-p",
        "int8",
        "--labels",
        folder.parent / "labels.txt",
        "--preprocess",
        "resize=bilinear",
        "--calibration",
        examples / "digits_calibration.npz",
        "--json",
    )
    assert ran.code == 0, ran.stderr
    assert ran.document["content_digest"] == manifest["content_digest"]
    assert sum(row["reused"] for row in ran.document["artifacts"]) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--labels", "three.txt"], 3, "has 3 labels, and the output `labels` has 10 places"),
        (["--preprocess", "scale=1/16"], 3, "own layer `rescale` scales the input"),
        (["--profile", "microcontroller", "-p", "float32"], 2, "cannot serve float32"),
    ],
)
def test_contradictions_are_told_before_anything_is_converted(
    edgeport: Any, examples: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    ran = edgeport("export", examples / f"{MODEL}.keras", "-o", "out", "--json", *arguments, cwd=tmp_path)
    assert ran.code == code
    assert message in ran.document["error"]["message"]
    assert ran.document["error"]["next"]
    assert not (tmp_path / "out").exists()


def read_metadata(content: bytes) -> dict[str, Any]:
    """TFLITE_METADATA, read with flatbuffers' own runtime and the field numbers of metadata_schema.fbs."""
    from flatbuffers import encode, number_types, table

    def root(data: bytes) -> Any:
        return table.Table(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))

    def field(of: Any, number: int) -> int:
        offset = of.Offset(4 + 2 * number)
        assert offset, f"field {number} is missing"
        return int(of.Pos + offset)

    def child(of: Any, number: int) -> Any:
        return table.Table(of.Bytes, of.Indirect(field(of, number)))

    def text(of: Any, number: int) -> str:
        return bytes(of.String(field(of, number))).decode()

    def tables(of: Any, number: int) -> list[Any]:
        offset = of.Offset(4 + 2 * number)
        start, count = of.Vector(offset), of.VectorLen(offset)
        return [table.Table(of.Bytes, of.Indirect(start + 4 * k)) for k in range(count)]

    def floats(of: Any, number: int) -> list[float]:
        offset = of.Offset(4 + 2 * number)
        return [of.Get(number_types.Float32Flags, of.Vector(offset) + 4 * k) for k in range(of.VectorLen(offset))]

    model = root(content)
    (entry,) = [e for e in tables(model, 6) if text(e, 0) == "TFLITE_METADATA"]
    buffer = tables(model, 4)[entry.Get(number_types.Uint32Flags, field(entry, 1))]
    offset = buffer.Offset(4)
    start, size = buffer.Vector(offset), buffer.VectorLen(offset)
    assert start % 16 == 0
    raw = bytes(content[start : start + size])
    assert raw[4:8] == b"M001"
    metadata = root(raw)
    (subgraph,) = tables(metadata, 3)
    inputs = []
    for row in tables(subgraph, 2):
        options, image = child(tables(row, 4)[0], 1), child(child(row, 3), 1)
        size_of = child(image, 1)
        sizes = tuple(size_of.Get(number_types.Uint32Flags, field(size_of, k)) for k in range(2))
        inputs.append(
            {
                "name": text(row, 0),
                "mean": floats(options, 0),
                "std": floats(options, 1),
                "colours": image.Get(number_types.Int8Flags, field(image, 0)),
                "size": sizes,
            }
        )
    outputs = []
    for row in tables(subgraph, 3):
        (file,) = tables(row, 6)
        kind = file.Get(number_types.Int8Flags, field(file, 2))
        outputs.append({"name": text(row, 0), "file": text(file, 0), "type": kind})
    return {"name": text(metadata, 0), "inputs": inputs, "outputs": outputs}
