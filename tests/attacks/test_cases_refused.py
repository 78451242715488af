"""Further hostile files that are refused before any framework opens them (docs/reliability.md has the table)."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest

sys.path.append(str(Path(__file__).parent))

import attack_files as attack
import runtime_files as runtime
from reader_samples import facts, samples  # noqa: F401

from converters.checkpoints.identify import check_saved_model, identify
from converters.checkpoints.loading import check_version
from converters.checkpoints.scan_file import check, scan
from converters.errors import RefusedError, StepError
from converters.formats import Format, Precision
from converters.options import ConvertOptions
from converters.readers.saved_model_ops import safe_ops
from converters.reduced_precisions import DeriveJob, Orders, convert
from converters.routes import Target
from validate.agreement import JudgeJob
from validate.agreement.compare import compare

HOST_OPS = [
    "WriteFile",
    "ReadFile",
    "MatchingFiles",
    "WholeFileReaderV2",
    "PyFunc",
    "EagerPyFunc",
    "TextLineDataset",
    "PrintV2",
    "FixedUnigramCandidateSampler",
    "InitializeTableFromTextFileV2",
    "DebugIdentityV3",
    "NoSuchOperation",
]


@pytest.mark.parametrize("in_function", [False, True])
@pytest.mark.parametrize("op", HOST_OPS)
def test_operations_outside_the_list_are_named_with_their_node(
    op: str,
    in_function: bool,
    samples: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    graph = attack.saved_model_of(op, in_function=in_function)
    path = attack.saved_model_with("saved_model.pb", graph)(samples, tmp_path)
    with pytest.raises(RefusedError) as caught:
        check_saved_model(path)
    assert f"{op} (innocent)" in caught.value.message


def meta_graph(graph: bytes, *more: bytes) -> bytes:
    tags = attack.field(1, attack.field(4, b"serve"))
    return b"\x08\x01" + attack.field(2, tags + attack.field(2, graph) + b"".join(more))


def signature_of(tensor: bytes) -> bytes:
    info = attack.field(1, tensor) + b"\x10\x01"
    outputs = attack.field(2, attack.field(1, b"y") + attack.field(2, info))
    return attack.field(5, attack.field(1, b"serving_default") + attack.field(2, outputs))


def call_of(function: bytes) -> bytes:
    """An attribute `f` that names a function."""
    named = attack.field(10, attack.field(1, function))
    return attack.field(5, attack.field(1, b"f") + attack.field(2, named))


@pytest.mark.parametrize("reached", [True, False])
@pytest.mark.parametrize("op", [b"SaveV2", b"RestoreV2", b"MergeV2Checkpoints"])
def test_the_saver_may_not_be_reached_from_a_signature(
    op: bytes,
    reached: bool,
    samples: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Every SavedModel has these operations, for its loader; in a signature they read and write the host's files."""
    node = attack.field(1, b"files") + attack.field(2, op)
    library = attack.field(2, attack.field(1, attack.field(1, attack.field(1, b"save")) + attack.field(3, node)))
    caller = attack.field(1, b"call") + attack.field(2, b"StatefulPartitionedCall") + call_of(b"save")
    output = attack.field(1, b"out") + attack.field(2, b"Identity") + attack.field(3, b"call:0" if reached else b"x")
    graph = attack.field(1, caller) + attack.field(1, output) + library
    path = attack.saved_model_with("saved_model.pb", meta_graph(graph, signature_of(b"out:0")))(samples, tmp_path)
    if reached:
        with pytest.raises(RefusedError, match=op.decode()):
            check_saved_model(path)
    else:
        check_saved_model(path)


@pytest.mark.parametrize("name", [b"../../etc/passwd", b"/etc/passwd", b"a/../../b", b"gs://x/y"])
def test_assets_outside_the_folder_are_refused(name: bytes, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    graph = meta_graph(b"", attack.field(6, attack.field(2, name)))
    path = attack.saved_model_with("saved_model.pb", graph)(samples, tmp_path)
    with pytest.raises(RefusedError, match="outside the folder"):
        check_saved_model(path)


def test_a_link_out_of_a_saved_model_is_refused(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    path = attack.copy_saved_model(samples, tmp_path)
    (path / "assets").mkdir(exist_ok=True)
    (path / "assets" / "words.txt").symlink_to("/etc/hostname")
    with pytest.raises(RefusedError, match=r"words\.txt"):
        check_saved_model(path)


def test_the_list_holds_computing_operations_and_no_host_ones() -> None:
    assert {"Conv2D", "MatMul", "VarHandleOp", "While", "TensorListStack", "RestoreV2"} <= safe_ops()
    assert not safe_ops() & set(HOST_OPS)
    assert not {op for op in safe_ops() if "File" in op.removesuffix("ShardedFilename") or "PyFunc" in op}


EXTERNAL = {
    "negative offset": {"offset": "-8"}, "negative length": {"length": "-16"}, "past the end": {"offset": "40"},
    "shorter than the tensor": {"length": "12"}, "longer than the tensor": {"length": "40"},
    "2**50": {"offset": str(2**50)}, "no number": {"offset": "0x10"},
}  # fmt: skip


@pytest.mark.parametrize("name", EXTERNAL)
def test_external_data_out_of_bounds(name: str, tmp_path: Path) -> None:
    """onnx.checker passes most of these."""
    path = runtime.external_tensor(tmp_path / "model.onnx", **EXTERNAL[name])
    with pytest.raises(RefusedError, match="external data"):
        check(path)


def test_external_data_within_bounds_passes(tmp_path: Path) -> None:
    check(runtime.external_tensor(tmp_path / "model.onnx", offset="32"))


def test_external_data_below_a_linked_folder(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "w").write_bytes(bytes(64))
    (tmp_path / "sub").symlink_to("real")
    path = attack.external_location("sub/w")(samples, tmp_path)
    with pytest.raises(RefusedError, match="symbolic link"):
        check(path)


def test_custom_domains_and_compiled_programs_are_refused_and_microsofts_are_listed(tmp_path: Path) -> None:
    def model(op: str, domain: str) -> Path:
        node = runtime.node(op, ["x"], ["y"], domain=domain)
        return runtime.onnx_model(tmp_path / "m.onnx", [node], domains=(domain,))

    with pytest.raises(RefusedError, match=r"com\.example::FusedGelu"):
        check(model("FusedGelu", "com.example"))
    with pytest.raises(RefusedError, match="EPContext"):
        check(model("EPContext", "com.microsoft"))
    found = scan(model("FastGelu", "com.microsoft"))
    assert found.clean
    assert "com.microsoft::FastGelu" in found.notes[0]


def test_scan_alone_from_the_command_line(edgeport: Any, samples: Path) -> None:  # noqa: F811
    clean = edgeport("inspect", samples / "picture.onnx", "--scan", "--json")
    assert (clean.code, clean.document["clean"], clean.document["findings"]) == (0, True, [])
    refused = edgeport("inspect", samples / "lambda.keras", "--scan", "--json")
    assert (refused.code, refused.document["clean"], refused.document["error"]["code"]) == (3, False, 3)
    assert "`half`" in refused.document["findings"][0]["message"]
    told = edgeport("inspect", samples / "lambda.keras", "--scan")
    assert (told.code, "`half`" in told.stderr) == (3, True)


def test_a_scan_honours_how_the_file_is_to_be_opened(edgeport: Any, samples: Path) -> None:  # noqa: F811
    lambdas = samples / "lambda.keras"
    replaced = edgeport("inspect", lambdas, "--scan", "--json", "--replace", "half=rescaling:1/2")
    assert (replaced.code, replaced.document["clean"]) == (0, True), replaced.stderr
    unsafe = edgeport("inspect", lambdas, "--scan", "--json", "--allow-unsafe")
    assert (unsafe.code, unsafe.document["clean"]) == (0, True), unsafe.stderr
    assert any("--allow-unsafe" in note for note in unsafe.document["notes"])


def test_a_tensorflow_checkpoint_is_scanned_by_any_of_its_names(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    variables = samples / "picture.savedmodel" / "variables"
    for file in variables.iterdir():
        shutil.copy(file, tmp_path / file.name.replace("variables", "model.ckpt"))
    for given in ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        found = scan(tmp_path / given)
        assert (found.kind, found.clean) == ("tf_checkpoint", True), found
    data = tmp_path / "model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    assert not scan(tmp_path / "model.ckpt").clean


SCANNED = ["picture.keras", "picture.h5", "picture.savedmodel", "picture.onnx", "picture.int8.tflite", "lambda.h5"]


def test_a_scan_imports_no_framework_and_takes_little_memory(samples: Path) -> None:  # noqa: F811
    """Bytes of the process and of its readers; the figure is in docs/reliability.md."""
    import subprocess

    code = (
        "import sys, resource; from pathlib import Path; from converters.checkpoints.scan_file import scan\n"
        "for path in sys.argv[1:]: scan(Path(path))\n"
        "loaded = {'tensorflow', 'keras', 'onnx', 'onnxruntime', 'ai_edge_litert', 'h5py'} & set(sys.modules)\n"
        "own = int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"  # getrusage counts pytest's
        "print(sorted(loaded), max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))"
    )
    paths = [str(samples / name) for name in SCANNED]
    ran = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    loaded, kilobytes = ran.stdout.rsplit(" ", 1)
    assert loaded == "[]"
    assert int(kilobytes) < 300 << 10


def test_an_old_keras_is_refused_with_the_command_that_mends_it() -> None:
    with pytest.raises(StepError, match=r"3\.11\.0") as caught:
        check_version("3.11.0")
    assert "pip install" in caught.value.next_step
    check_version()


@pytest.mark.parametrize("stem", ["a b", "new\nline", "smile-\N{GRINNING FACE}", "-dash", "x" * 240, "red\x1b[31m"])
def test_names_of_files(stem: str, edgeport: Any, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / f"{stem}.onnx"
    path.write_bytes((samples / "picture.onnx").read_bytes())
    ran = edgeport("inspect", "--scan", "--", path)
    assert ran.code == 0
    assert "\x1b" not in ran.stdout
    assert len(ran.stdout.splitlines()) <= 2


def test_control_codes_of_a_layer_name_are_escaped(edgeport: Any, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    def edit(config: dict[str, Any]) -> None:
        item = attack.layer(config, "Dense")
        item["class_name"] = "Nothing"
        item["config"]["name"] = "\x1b]0;owned\x07"

    ran = edgeport("inspect", attack.edited(samples, tmp_path, edit), "--scan")
    assert (ran.code, "\x1b" in ran.stderr, "\\x1b" in ran.stderr) == (3, False, True)


def test_a_bit_that_no_scan_can_see_is_found_by_the_manifest(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    """HDF5 has no checksums: a changed weight loads in silence, and only its digest tells (case 25)."""
    from converters.artifact import digest

    path = tmp_path / "model.h5"
    path.write_bytes((samples / "picture.h5").read_bytes())
    before = digest(path)
    with h5py.File(path, "r+") as file:
        weights = file["model_weights/stem"]
        weights.visititems(lambda _, item: item.write_direct(item[()] + 1) if isinstance(item, h5py.Dataset) else None)
    check(path)
    assert digest(path) != before


def test_findings_are_json(samples: Path) -> None:  # noqa: F811
    json.dumps(scan(samples / "picture.savedmodel").to_json())


def test_a_file_that_is_swapped_behind_its_scan_reaches_no_framework(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    path, out = Path(shutil.copy(samples / "picture.keras", tmp_path / "m.keras")), tmp_path / "out"
    out.mkdir()
    checkpoint = identify(path)
    shutil.copy(samples / "lambda.keras", path)
    orders = Orders.of([Target(Format.ONNX, Precision.FLOAT32)], checkpoint.name, out)
    with pytest.raises(RefusedError, match="was changed after its scan"):
        convert(checkpoint, orders, ConvertOptions(), DeriveJob())
    with pytest.raises(RefusedError, match="was changed after its scan"):
        compare(path, [], JudgeJob.of(checkpoint=checkpoint))
    assert list(out.iterdir()) == []
