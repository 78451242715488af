"""Boards over ssh as judges and for timing, against a real sshd on the loopback where there is one."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from validate.agreement import JudgeJob
from validate.agreement.compare import compare
from validate.latency import BenchJob, Status, measure
from validate.targets import Device
from validate.targets.ssh import Board, _archive

from ...tools import needs, program

needs_sshd = needs("ssh", "ssh-keygen", "sshd")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """An sshd of our own, on a free port, with keys of our own."""
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile {folder / 'pid'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = (folder / "log").open("wb")
    process = subprocess.Popen([program("sshd"), "-D", "-e", "-f", str(config)], stderr=log)
    options = (
        "-p",
        str(port),
        "-i",
        str(folder / "user"),
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        f"UserKnownHostsFile={folder / 'known'}",
        "-o",
        "IdentitiesOnly=yes",
        "-F",
        "none",
    )
    found = Board("127.0.0.1", sys.executable, options)
    for _ in range(100):
        if subprocess.run(found.command("true"), capture_output=True, check=False).returncode == 0:
            break
        if process.poll() is not None:
            pytest.fail(f"this sshd does not start: {(folder / 'log').read_text()[-300:]}")
        time.sleep(0.1)
    else:
        process.kill()
        pytest.fail(f"this sshd lets nobody in: {(folder / 'log').read_text()[-300:]}")
    yield found
    process.terminate()
    process.wait()
    log.close()


def imported(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run: what stands under `if TYPE_CHECKING` is for mypy alone."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from imported(node)


def test_what_is_sent_is_whole(tmp_path: Path) -> None:
    """Whatever the code that goes to a board imports of ours goes there too."""
    with tarfile.open(fileobj=io.BytesIO(_archive({}))) as tar:
        tar.extractall(tmp_path, filter="data")
    code = tmp_path / "code"
    for path in code.rglob("*.py"):
        for node in imported(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in {"converters", "validate"}:
                needed = code.joinpath(*str(node.module).split("."))
                assert needed.with_suffix(".py").is_file() or needed.is_dir(), f"{path.name} imports {node.module}"


def on(board: Board) -> dict[str, Any]:
    """The fields of Places that name the board."""
    return {
        "devices": (Device(f"ssh:{board.host}"),),
        "ssh_python": board.python,
        "ssh_options": board.ssh_options,
    }


@needs_sshd
def test_our_own_worker_measures_there(board: Board, onnx_folder: Path, tensorflow_folder: Path) -> None:
    """The same document as here: figures, checked answers, phases, the A/A control, the board's own facts."""
    files = [
        onnx_folder / "dense.float32.onnx",
        tensorflow_folder / "dense.float32.tflite",
        onnx_folder / "wrong.float32.onnx",
    ]
    options = BenchJob.of(threads=(1,), max_seconds=8, golden=onnx_folder / "golden.npz", **on(board))
    latency = measure(files, options)
    onnx, tflite, wrong = latency.timings
    for timing in (onnx, tflite):
        assert timing.status is Status.OK, timing.reason
        assert timing.entry().target == "ssh:127.0.0.1"
        assert timing.p50_ms is not None
        assert (timing.p50_ms.low is None) == ("p50_too_few_samples" in timing.flags)
        assert timing.phases is not None
        assert timing.phases.cold_ms > timing.phases.load_ms
        assert "unchecked" not in timing.flags
    assert onnx.phases is not None
    assert not {"tensorflow", "keras", "ai-edge-litert"} & set(onnx.phases.libraries)
    assert wrong.status is Status.ERROR
    assert "wrong answer" in wrong.reason
    assert latency.host["python"]
    assert len(latency.controls) == 1


@needs_sshd
def test_it_judges_there_what_is_judged_here(board: Board, onnx_folder: Path, tensorflow_folder: Path) -> None:
    """The same verdicts as here, in rows that name the board; the wrong file is found there too."""
    onnx, wrong = onnx_folder / "dense.float32.onnx", onnx_folder / "wrong.float32.onnx"
    tflite = tensorflow_folder / "dense.float32.tflite"
    agreement = compare(tensorflow_folder / "dense.float32.savedmodel", [onnx, tflite, wrong], JudgeJob.of(**on(board)))
    rows = {(v.artifact.name, v.target): v for v in agreement.verdicts}
    assert not agreement.unavailable
    for path, status in ((onnx, "agree"), (tflite, "agree"), (wrong, "disagree")):
        here, there = rows[path.name, "host"], rows[path.name, "ssh:127.0.0.1"]
        assert (here.status, there.status) == (status, status), there.reason
        assert there.row.runtime == here.row.runtime
        assert there.row.runtime_version == here.row.runtime_version
        assert not there.row.emulated
        if path.suffix == ".onnx":
            assert there.same_as == "host, default", "the same machine gives the same bits"


@needs_sshd
def test_a_worker_that_dies_there_is_that_file_s_verdict(board: Board, onnx_folder: Path, tmp_path: Path) -> None:
    """The first file kills its worker; the next is judged by a fresh one, and the host's verdicts stand."""
    python, dense = tmp_path / "python", onnx_folder / "dense.float32.onnx"
    python.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; echo boom >&2; exit 9; }}\n"
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    dying = Board(board.host, str(python), board.ssh_options)
    agreement = compare(dense, [dense, onnx_folder / "wrong.float32.onnx"], JudgeJob.of(**on(dying)))
    statuses = [(v.target, v.status) for v in agreement.verdicts]
    assert statuses == [
        ("host", "agree"),
        ("ssh:127.0.0.1", "error"),
        ("host", "disagree"),
        ("ssh:127.0.0.1", "disagree"),
    ]
    assert "The worker on 127.0.0.1 is gone: boom" in agreement.verdicts[1].reason


@needs_sshd
def test_nothing_is_left_on_the_board(board: Board, onnx_folder: Path, tmp_path: Path) -> None:
    """Its folder and its processes, told from a neighbour's by a Python that marks them."""
    python, mark = tmp_path / "python", uuid.uuid4().hex
    python.write_text(f'#!/bin/sh\npwd > {tmp_path / "folder"}\nexport BOARD_MARK={mark}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    marking = Board(board.host, str(python), board.ssh_options)
    measure([onnx_folder / "dense.float32.onnx"], BenchJob.of(threads=(1,), max_seconds=2, **on(marking)))
    folder = Path((tmp_path / "folder").read_text().strip())
    assert folder.name.startswith("edgeport-bench.")
    assert not folder.exists()
    for _ in range(300):
        if not _marked(mark):
            return
        time.sleep(0.1)
    pytest.fail(f"workers outlive the measurement: {_marked(mark)}")


def _marked(mark: str) -> list[list[str]]:
    """The command lines of processes that were started with the mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("BOARD_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
    return found


@needs_sshd
def test_a_board_without_the_python_is_a_row_or_an_error_that_names_it(board: Board, onnx_folder: Path) -> None:
    broken = Board(board.host, "/no/such/python", board.ssh_options)
    latency = measure([onnx_folder / "dense.float32.onnx"], BenchJob.of(threads=(1,), max_seconds=2, **on(broken)))
    assert "/no/such/python" in latency.errors[0].reason


@needs("ssh")
def test_a_board_that_cannot_be_reached_is_a_row_that_says_so(onnx_folder: Path) -> None:
    """The host's own row is whole."""
    places = on(Board("127.0.0.1", ssh_options=("-p", "1", "-F", "none")))
    devices = (Device.CPU, *places.pop("devices"))
    dense = onnx_folder / "dense.float32.onnx"
    here, there = measure([dense], BenchJob.of(threads=(1,), max_seconds=2, devices=devices, **places)).timings
    assert here.status is Status.OK
    assert there.status is Status.ERROR
    assert "board 127.0.0.1 cannot be used" in there.reason
    judged = compare(dense, [dense], JudgeJob.of(devices=devices, **places)).verdicts
    assert [verdict.status for verdict in judged] == ["agree", "error"]
    assert "board 127.0.0.1 cannot be used" in judged[1].reason
