"""The programs themselves, run: a sound artifact agrees, a broken one does not, and the exit code says so."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from exporter.bundle import verify
from exporter.manifest.reader import load

from ...tools import npm_package, program

HERE = Path(__file__).parent
ONNX, TFLITE = "nasty.float32.onnx", "nasty.float32.tflite"

_BREAK_ONNX = """
import sys, numpy as np, onnx
from onnx import numpy_helper
path = sys.argv[1]
model = onnx.load(path)
weights = max(model.graph.initializer, key=lambda t: (list(t.dims) == [6, 8], 0))
values = numpy_helper.to_array(weights).copy()
values.flat[np.abs(values).argmax()] *= 1.001
weights.CopyFrom(numpy_helper.from_array(values, weights.name))
onnx.save(model, path)
"""


def nudge(bundle: Path, artifact: str) -> None:
    """One weight of the first layer off by a thousandth."""
    path = bundle / artifact
    if path.suffix == ".onnx":
        subprocess.run([sys.executable, "-c", _BREAK_ONNX, str(path)], check=True)
        return
    weights = _weights(bundle)
    place = float(weights[np.abs(weights).argmax()])
    content, old = path.read_bytes(), np.float32(place).tobytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, np.float32(place * 1.001).tobytes()))


def _weights(bundle: Path) -> np.ndarray:
    code = (
        "import sys, onnx; from onnx import numpy_helper; "
        "print(next(numpy_helper.to_array(t).ravel().tolist() for t in onnx.load(sys.argv[1]).graph.initializer "
        "if list(t.dims) == [6, 8]))"
    )
    shown = subprocess.run([sys.executable, "-c", code, bundle / ONNX], capture_output=True, text=True, check=True)
    return np.array(json.loads(shown.stdout), np.float32)


def said(*command: str | Path, cwd: Path | None = None) -> tuple[int, list[str]]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def python(bundle: Path, *arguments: str) -> tuple[int, list[str]]:
    return said(sys.executable, "-I", bundle / "selfcheck" / "check.py", *arguments)


def test_the_self_check_is_part_of_the_bundle(nasty: Path) -> None:
    assert verify(nasty) == []
    listed = {row.path for row in load(nasty / "manifest.json").files}
    assert {"selfcheck/check.py", "selfcheck/check.html", "selfcheck/data/input0.bin"} <= listed
    document = json.loads((nasty / "selfcheck" / "selfcheck.json").read_text())
    assert {check["artifact"] for check in document["checks"]} == {ONNX, TFLITE}
    for path in (nasty / "selfcheck").iterdir():
        assert path.is_dir() or path.read_text().isascii() or path.name == "README.md", path.name


def test_python_agrees(nasty: Path) -> None:
    code, lines = python(nasty)
    assert code == 0, lines
    assert lines[-1] == "agree"
    assert sum(": agree, " in line for line in lines) == 6


@pytest.mark.parametrize("artifact", [ONNX, TFLITE])
def test_python_finds_one_weight_that_is_off_by_a_thousandth(copied: Path, artifact: str) -> None:
    nudge(copied, artifact)
    assert python(copied, artifact)[0] == 1
    code, lines = python(copied)
    assert (code, lines[-1]) == (1, "disagree")
    assert any(line.startswith(f"{artifact}: ") and ": disagree, " in line for line in lines)


def test_python_says_so_where_a_file_does_not_run_at_all(copied: Path) -> None:
    (copied / TFLITE).write_bytes(b"nothing")
    code, lines = python(copied, TFLITE)
    assert (code, lines[-1]) == (1, "disagree")
    assert "does not run here" in lines[0]


def test_python_checks_nothing_that_it_does_not_know(nasty: Path) -> None:
    assert python(nasty, "other.onnx")[0] == 2
    assert python(nasty, ONNX, "--provider", "NoSuchExecutionProvider")[0] == 2


def cxx(compiler: str, bundle: Path, name: str, *flags: str | Path) -> Path:
    """Compiles a program of the bundle beside it."""
    program = bundle.parent / name
    command = [compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"{name}.cc", "-o", program, *flags]
    done = subprocess.run(command, cwd=bundle / "selfcheck", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def library(package: str, pattern: str, folder: Path, name: str) -> Path:
    """A folder in which the linker finds the shared library that a wheel carries."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    found = sorted(Path(spec.submodule_search_locations[0]).glob(pattern))
    if not found:
        pytest.skip(f"the wheel of {package} carries no {pattern}")
    folder.mkdir()
    for alias in (name, f"{name}.1"):
        (folder / alias).symlink_to(found[0])
    return folder


def litert_headers(bundle: Path, folder: Path) -> Path:
    """The SDK's own headers where somebody has them, else declarations of our own under the same names."""
    if given := os.environ.get("EDGEPORT_LITERT_INCLUDE"):
        return Path(given)
    (folder / "litert" / "c").mkdir(parents=True)
    for header in re.findall(r"#include <(litert/.*)>", (bundle / "selfcheck" / "check_litert.cc").read_text()):
        (folder / header).write_text(f'#include "{HERE / "litert_declarations.h"}"\n')
    return folder


def test_litert_in_cxx(copied: Path, tmp_path: Path) -> None:
    lib = library("ai_edge_litert", "libLiteRt.so", tmp_path / "lib", "libLiteRt.so")
    include = litert_headers(copied, tmp_path / "include")
    flags = ("-isystem", include, f"-L{lib}", "-lLiteRt", f"-Wl,-rpath,{lib}")
    built = cxx(program("g++"), copied, "check_litert", *flags)
    code, lines = said(built, copied / "selfcheck")
    assert (code, lines[-1], len(lines)) == (0, "agree", 4), lines
    nudge(copied, TFLITE)
    assert said(built, copied / "selfcheck", TFLITE)[0] == 1
    (copied / TFLITE).write_bytes(b"nothing")
    assert said(built, copied / "selfcheck")[0] == 1
    assert said(built, copied / "selfcheck", "other.tflite")[0] == 2


def test_cmake_builds_the_same(copied: Path, tmp_path: Path) -> None:
    cmake, build = program("cmake"), tmp_path / "build"
    program("g++")
    lib = library("ai_edge_litert", "libLiteRt.so", tmp_path / "lib", "libLiteRt.so")
    include = litert_headers(copied, tmp_path / "include")
    chosen = (f"-DLITERT_INCLUDE={include}", f"-DLITERT_LIB={lib}")
    assert said(cmake, "-S", copied / "selfcheck", "-B", build, *chosen)[0] == 0
    assert said(cmake, "--build", build)[0] == 0
    assert said(build / "check_litert", copied / "selfcheck")[0] == 0


def onnxruntime_headers(folder: Path) -> Path:
    """ONNX Runtime's own header where somebody has it, else declarations of our own under the same name."""
    places = [os.environ.get("EDGEPORT_ORT_INCLUDE", ""), "/usr/include/onnxruntime", "/usr/local/include/onnxruntime"]
    for place in places:
        if place and (Path(place) / "onnxruntime_c_api.h").is_file():
            return Path(place)
    folder.mkdir()
    shutil.copy(HERE / "onnxruntime_declarations.h", folder / "onnxruntime_c_api.h")
    return folder


def test_onnxruntime_in_cxx(copied: Path, tmp_path: Path) -> None:
    include = onnxruntime_headers(tmp_path / "include")
    lib = library("onnxruntime", "capi/libonnxruntime.so.1.*", tmp_path / "lib", "libonnxruntime.so")
    flags = ("-isystem", include, f"-L{lib}", "-lonnxruntime", f"-Wl,-rpath,{lib}")
    built = cxx(program("g++"), copied, "check_onnxruntime", *flags)
    code, lines = said(built, copied / "selfcheck")
    assert (code, lines[-1], len(lines)) == (0, "agree", 4), lines
    nudge(copied, ONNX)
    assert said(built, copied / "selfcheck", ONNX)[0] == 1
    (copied / ONNX).write_bytes(b"nothing")
    assert said(built, copied / "selfcheck")[0] == 1


def with_package(bundle: Path, package: str) -> None:
    """Puts an npm package where programs in the bundle find it, and no other."""
    modules = bundle.parent / "node_modules"
    modules.mkdir()
    (modules / package).symlink_to(npm_package(package))


@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_node(copied: Path, package: str) -> None:
    with_package(copied, package)
    script = copied / "selfcheck" / "check.mjs"
    code, lines = said(program("node"), script)
    assert (code, lines[0], lines[-1], len(lines)) == (0, f"runtime: {package}", "agree", 5), lines
    nudge(copied, ONNX)
    assert said(program("node"), script, ONNX)[0] == 1
    (copied / ONNX).write_bytes(b"nothing")
    assert said(program("node"), script)[0] == 1
    assert said(program("node"), script, "other.onnx")[0] == 2


def test_node_without_a_runtime_says_what_to_install(nasty: Path) -> None:
    command = [program("node"), str(nasty / "selfcheck" / "check.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "npm install --ignore-scripts onnxruntime-node" in done.stderr


@pytest.mark.slow
def test_kotlin_compiles_and_judges(nasty: Path, tmp_path: Path) -> None:
    """With declared runtimes that give the reference's answers: no registry that the tests use has the real ones."""
    java, compiler = program("java"), npm_package("kotlin-compiler") / "bin" / "kotlinc"
    sources = [*sorted((nasty / "selfcheck").glob("*.kt")), *sorted((HERE / "kotlin").glob("*.kt"))]
    jar = tmp_path / "check.jar"
    command = ["bash", compiler, "-include-runtime", "-nowarn", *sources, "-d", jar]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for factor, code, word in (("1", 0, "agree"), ("1.0001", 1, "disagree")):
        said_code, lines = said(java, "-cp", jar, "selfcheck.MainKt", nasty / "selfcheck", factor)
        assert (said_code, lines[-1]) == (code, word), lines


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def page(chromium: str, url: str, profile: Path) -> str:
    """The page's document once its scripts have come to an end."""
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=60000",
        "--dump-dom",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_web_page(copied: Path) -> None:
    chromium = program("chromium", "chromium-browser")
    with_package(copied, "onnxruntime-web")
    with served(copied.parent) as url:
        address = f"{url}/{copied.name}/selfcheck/check.html"
        shown = page(chromium, address, copied.parent / "one")
        assert "<title>Self-check: agree</title>" in shown, shown
        assert shown.count("<td>agree</td>") == 3
        assert "reg]]&gt; %s {{ 1 }} `" in shown
        nudge(copied, ONNX)
        assert "<title>Self-check: disagree</title>" in page(chromium, address, copied.parent / "two")
        missing = page(chromium, f"{address}?ort=/nowhere.mjs", copied.parent / "three")
        assert "<title>Self-check: not checked</title>" in missing


@pytest.mark.slow
@pytest.mark.parametrize(("runtime", "artifact"), [("ai-edge-litert", TFLITE), ("onnxruntime", ONNX)])
def test_python_in_an_environment_that_has_numpy_and_the_runtime_alone(
    copied: Path, tmp_path: Path, runtime: str, artifact: str
) -> None:
    own = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", own], check=True)
    done = subprocess.run(
        [own / "bin" / "pip", "install", "-q", "numpy", runtime], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"pip could not install {runtime}: {done.stderr.strip()[-200:]}")
    installed = said(own / "bin" / "pip", "list")[1]
    assert not any(line.startswith(("tensorflow ", "keras ", "edgeport ")) for line in installed)
    code, lines = said(own / "bin" / "python", "-I", copied / "selfcheck" / "check.py")
    assert (code, lines[-1]) == (0, "agree"), lines
    assert all(line.startswith(artifact) for line in lines[:-1])
    nudge(copied, artifact)
    assert said(own / "bin" / "python", "-I", copied / "selfcheck" / "check.py", artifact)[0] == 1
