"""The target browser, with a real Chromium and onnxruntime-web: its numbers against the host's, and what may fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest

from converters.common import Common
from converters.errors import CrashError, RefusedError, StepError
from converters.isolation import Limits
from converters.signature import BATCH
from validate.latency import BenchJob, Status, measure
from validate.runtimes import DeviceUnavailableError, RuntimeOptions, open_artifact
from validate.runtimes.base import Runtime
from validate.runtimes.browser import chromium, library
from validate.runtimes.browser.runtime import OnnxRuntimeWeb, the_browser
from validate.runtimes.browser.server import Server
from validate.targets import Device
from validate.targets.browser import PACKAGE, BrowserMachine
from validate.targets.environment import RECORD, Environment

PAGE, BROWSER = RuntimeOptions(Device("page")), RuntimeOptions(Device("browser"))

_MODELS = """
import sys
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n

folder = sys.argv[1]


def save(name, nodes, inputs, outputs, initializers=(), domain=""):
    opsets = [h.make_opsetid("", 21)] + ([h.make_opsetid(domain, 1)] if domain else [])
    model = h.make_model(h.make_graph(nodes, "g", inputs, outputs, list(initializers)), ir_version=10,
                         opset_imports=opsets)
    onnx.save(model, f"{folder}/{name}")
    return model


def info(name, kind, shape):
    return h.make_tensor_value_info(name, kind, shape)


kinds = {"float32": T.FLOAT, "float64": T.DOUBLE, "float16": T.FLOAT16, "bool": T.BOOL, "int8": T.INT8,
         "uint8": T.UINT8, "int16": T.INT16, "uint16": T.UINT16, "int32": T.INT32, "uint32": T.UINT32,
         "int64": T.INT64, "uint64": T.UINT64, "string": T.STRING}
nodes = [h.make_node("Reshape", [f"{k}_in", "two"], [f"{k}_out"]) for k in kinds]
save("kinds.onnx", nodes, [info(f"{k}_in", t, ["batch", 2, 3]) for k, t in kinds.items()],
     [info(f"{k}_out", t, ["batch", 6]) for k, t in kinds.items()], [n.from_array(np.int64([0, 6]), "two")])
save("sizes.onnx", [h.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0), h.make_node("Mul", ["y", "s"], ["z"])],
     [info("x", T.FLOAT, ["batch", None, "width"]), info("s", T.FLOAT, [])], [info("z", T.FLOAT, ["batch", "width"])],
     [n.from_array(np.int64([1]), "axes")])
save("unknown.onnx", [h.make_node("Nonsense", ["x"], ["y"], domain="ours")], [info("x", T.FLOAT, ["batch", 4])],
     [info("y", T.FLOAT, ["batch", 4])], domain="ours")
save("bfloat16.onnx", [h.make_node("Identity", ["x"], ["y"])], [info("x", T.BFLOAT16, ["batch", 4])],
     [info("y", T.BFLOAT16, ["batch", 4])])
big = save("parts.onnx", [h.make_node("MatMul", ["x", "w"], ["y"])], [info("x", T.FLOAT, [1, 64])],
           [info("y", T.FLOAT, [1, 64])], [n.from_array(np.eye(64, dtype="f") * 3 + 1, "w")])
onnx.save(big, f"{folder}/parts.onnx", save_as_external_data=True, location="parts.data", size_threshold=0)
"""


@pytest.fixture(autouse=True)
def installed(with_browser: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the worker's side too, which is told by its machine."""
    monkeypatch.setenv(library.VARIABLE, str(with_browser))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", _MODELS, folder], check=True)
    return folder


def web(path: Path) -> OnnxRuntimeWeb:
    runtime = open_artifact(path, PAGE)
    assert isinstance(runtime, OnnxRuntimeWeb)
    return runtime


def browsers() -> list[psutil.Process]:
    """Those that run below us."""
    running = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in running if "--remote-debugging-pipe" in p.cmdline()]


def feeds(runtime: Runtime, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    made = {}
    for spec in runtime.signature.inputs:
        shape = spec.concrete(batch, 3)
        if spec.is_text:
            made[spec.name] = np.array([f"é{k}" for k in range(int(np.prod(shape)))], object).reshape(shape)
        elif spec.dtype == "bool":
            made[spec.name] = rng.integers(0, 2, shape).astype(bool)
        elif "int" in spec.dtype:
            limits = np.iinfo(spec.dtype)
            made[spec.name] = rng.integers(limits.min, limits.max, shape, dtype=spec.dtype, endpoint=True)
        else:
            made[spec.name] = rng.normal(size=shape).astype(spec.dtype)
    return made


@pytest.mark.parametrize("name", ["kinds.onnx", "sizes.onnx", "parts.onnx"])
def test_every_type_size_and_part_is_the_hosts(models: Path, name: str) -> None:
    """Several inputs, an unknown batch and other unknown sizes, a scalar, all types, texts, external data."""
    here, there = open_artifact(models / name), web(models / name)
    assert [(s.name, s.dtype, len(s.shape)) for s in there.signature.inputs] == [
        (s.name, s.dtype, len(s.shape)) for s in here.signature.inputs
    ]
    for batch in (1,) if name == "parts.onnx" else (1, 5):
        given = feeds(here, batch)
        expected, found = here.run(given), there.run(given)
        assert list(found) == list(expected)
        for key, value in expected.items():
            if value.dtype == object:
                assert found[key].tolist() == [[text.encode() for text in row] for row in value.tolist()]
                continue
            assert (found[key].dtype, found[key].shape) == (value.dtype, value.shape)
            np.testing.assert_allclose(found[key], value, rtol=3e-6 if name == "parts.onnx" else 1e-6)


def test_sizes_are_known_as_far_as_they_are(models: Path) -> None:
    runtime = web(models / "sizes.onnx")
    assert [spec.shape[0] for spec in runtime.signature.inputs if spec.shape] == [BATCH]
    assert [isinstance(size, str) for size in runtime.signature.inputs[0].shape] == [True, True, True]
    assert runtime.signature.inputs[1].shape == ()
    assert not runtime.refuses({"x": np.zeros((2, 5, 7), np.float32), "s": np.float32(1).reshape(())})
    fixed = web(models / "parts.onnx")
    assert fixed.signature.inputs[0].shape == (1, 64)
    assert fixed.refuses({"x": np.zeros((1, 65), np.float32)})


def test_what_a_page_does_not_read_is_refused_in_its_own_words(models: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"unknown\.onnx is not read by onnxruntime-web: .*Nonsense"):
        web(models / "unknown.onnx")
    with pytest.raises(RefusedError, match=r"bfloat16\.onnx .*bfloat16"):
        web(models / "bfloat16.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes((models / "kinds.onnx").read_bytes()[:-100])
    with pytest.raises(RefusedError, match=r"damaged\.onnx is not read by onnxruntime-web: .*protobuf"):
        web(damaged)


def test_other_types_than_the_files_fail_in_its_own_words(onnx_folder: Path) -> None:
    with pytest.raises(StepError, match="Unexpected input data type"):
        web(onnx_folder / "dense.float32.onnx").run({"x": np.zeros((1, 256), np.int8)})


def test_it_speaks_to_the_loopback_alone(onnx_folder: Path) -> None:
    """Of every process of the browser, and of ours: no socket reaches or waits for anything but 127.0.0.1."""
    runtime = web(onnx_folder / "dense.float32.onnx")
    runtime.run({"x": np.zeros((1, 256), np.float32)})
    tree = [psutil.Process(), *psutil.Process(the_browser().pid).children(recursive=True)]
    sockets = [one for process in tree for one in process.net_connections("inet")]
    assert sockets
    assert {end.ip for one in sockets for end in (one.laddr, one.raddr) if end} <= {"127.0.0.1"}


def test_the_server_gives_nothing_to_others() -> None:
    server = Server()
    server.content["page.html"] = b"ours"
    try:
        with urllib.request.urlopen(f"{server.url}page.html") as answer:
            assert answer.read() == b"ours"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        for request in (
            urllib.request.Request(f"http://{server.host}/page.html"),
            urllib.request.Request(f"{server.url}../page.html"),
            urllib.request.Request(f"{server.url}other"),
            urllib.request.Request(f"{server.url}page.html", headers={"Host": "evil.example"}),
            urllib.request.Request(f"http://{server.host}/wrong/left/0", b"x", method="POST"),
        ):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(request)
        assert not server.left
    finally:
        server.close()


def test_a_page_that_is_killed_is_named_and_others_go_on(onnx_folder: Path) -> None:
    first, second = (web(onnx_folder / name) for name in ("dense.float32.onnx", "fixed.float32.onnx"))
    feed = {"x": np.ones((2, 256), np.float32)}
    psutil.Process(first.stopwatch.process).kill()
    with pytest.raises(CrashError, match="page crashed"):
        first.run(feed)
    assert second.run(feed)["y"].shape == (2, 256)


def test_a_browser_that_is_killed_is_named_and_the_next_file_has_another(onnx_folder: Path) -> None:
    path, feed = onnx_folder / "dense.float32.onnx", {"x": np.ones((2, 256), np.float32)}
    runtime = open_artifact(path, BROWSER)
    expected = open_artifact(path).run(feed)
    np.testing.assert_allclose(runtime.run(feed)["y"], expected["y"], atol=1e-5)
    assert (runtime.version, runtime.device) == (web(path).version, "browser")
    for process in browsers():
        process.kill()
    with pytest.raises(CrashError, match="browser is gone"):
        runtime.run(feed)
    again = open_artifact(path, BROWSER)
    np.testing.assert_allclose(again.run(feed)["y"], expected["y"], atol=1e-5)


def test_files_are_timed_by_the_pages_own_clock(onnx_folder: Path) -> None:
    files = [onnx_folder / "dense.float32.onnx", onnx_folder / "wrong.float32.onnx"]
    job = BenchJob.of(devices=(Device("browser"),), threads=(1,), max_seconds=4, golden=onnx_folder / "golden.npz")
    right, wrong = measure(files, job).timings
    assert right.status is Status.OK, right.reason
    facts = right.facts
    assert facts["browser"].startswith("Chrome/")
    assert (facts["wasm_threads"], facts["wasm_simd"], facts["cross_origin_isolated"]) == (1, True, True)
    assert facts["browser_sandbox"] == (os.geteuid() != 0) or not facts["browser_sandbox"]
    assert right.runtime == "onnxruntime-web"
    assert right.runtime_version == facts["onnxruntime-web"]
    assert facts["clock_resolution_ns"] <= 100_000
    assert right.p50_ms is not None
    assert right.p50_ms.value * 1e6 * facts["runs_per_sample"] > 20 * facts["clock_resolution_ns"]
    assert "unchecked" not in right.flags
    assert right.phases is not None
    assert right.phases.cpu_seconds > right.p50_ms.value / 4e3
    assert min(right.phases.load_ms, right.phases.first_ms, right.phases.idle_rss_bytes) > 0
    assert wrong.status is Status.ERROR
    assert "differs from the golden one" in wrong.reason


def test_a_page_that_hangs_is_stopped(onnx_folder: Path) -> None:
    job = BenchJob.of(
        devices=(Device("browser"),), threads=(1,), max_seconds=4, common=Common(limits=Limits(timeout_s=5))
    )
    before = browsers()
    (row,) = measure([onnx_folder / "endless.onnx"], job).timings
    assert row.status is Status.ERROR
    assert "limit of 5 s" in row.reason
    assert browsers() == before


@pytest.mark.parametrize(
    ("variable", "said"), [(chromium.VARIABLE, "which is no program"), ("EDGEPORT_TARGETS", "is not")]
)
def test_what_is_missing_is_named(
    onnx_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, said: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    job = BenchJob.of(devices=(Device("browser"),), threads=(1,), max_seconds=4)
    (row,) = measure([onnx_folder / "dense.float32.onnx"], job).timings
    assert row.status is Status.UNAVAILABLE
    assert said in row.reason
    assert row.next_step


def test_webgpu_is_a_gpu_or_unavailable(onnx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the browser's words; one that it emulates in software counts as none."""
    script = tmp_path / "chrome"
    emulated = "--use-webgpu-adapter=swiftshader --enable-unsafe-webgpu --enable-unsafe-swiftshader"
    script.write_text(f'#!/bin/sh\nexec {chromium.browser_path()} {emulated} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv(chromium.VARIABLE, str(script))
    job = BenchJob.of(devices=(Device("browser:webgpu"),), threads=(1,), max_seconds=4)
    (row,) = measure([onnx_folder / "dense.float32.onnx"], job).timings
    assert row.status is Status.UNAVAILABLE
    assert row.reason.startswith("webgpu is not available to dense.float32.onnx: ")
    assert "adapter" in row.reason


def test_a_damaged_environment_is_told(own_targets: Path) -> None:
    folder = own_targets / "browser"
    (folder / PACKAGE).mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(Environment(folder, "", {PACKAGE: "1"}).to_json()))
    damaged = pytest.raises(DeviceUnavailableError, match=f"damaged: {PACKAGE}/dist/")
    with damaged as error, BrowserMachine().connected(()):
        pass
    assert "edgeport target install browser --force" in error.value.next_step


def test_a_program_that_is_no_browser_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "chrome"
    script.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv(chromium.VARIABLE, str(script))
    with pytest.raises(DeviceUnavailableError, match=r"does not start .*it is broken"):
        chromium.Chromium()


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a profile nor a process, also where the process that drives it dies without a word."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(chromium, "_LONGEST", len(str(tmp_path)))
    with pytest.raises(DeviceUnavailableError, match="Socket path too long"):
        chromium.Chromium()
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    browser = chromium.Chromium()
    processes = [psutil.Process(browser.pid), *psutil.Process(browser.pid).children(recursive=True)]
    folder = next(Path(word.partition("=")[2]) for word in processes[0].cmdline() if "--user-data-dir" in word).parent
    assert folder.is_dir()
    browser.close()
    assert not folder.exists()
    script = (
        "import os, time; from validate.runtimes.browser.chromium import Chromium; "
        "b = Chromium(); print(b.pid, flush=True); time.sleep(600)"
    )
    with tempfile.TemporaryDirectory(prefix="e", dir="/tmp", ignore_cleanup_errors=True) as short:
        processes += killed_driver(script, short)
    _, alive = psutil.wait_procs(processes, 20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def killed_driver(script: str, folder: str) -> list[psutil.Process]:
    """The processes of a browser whose driver was killed; they have ended when this returns, or never will."""
    env = {**os.environ, "TMPDIR": folder}
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env)
    assert other.stdout is not None
    pid = int(other.stdout.readline())
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    other.kill()
    other.wait()
    psutil.wait_procs(processes, 20)
    return processes
