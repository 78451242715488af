"""The sandbox: what a worker in it can reach, how it dies, and that `require` is kept or refused."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from converters.errors import CrashError, ResourceError, StepTimeoutError, UsageError
from converters.isolation import Limits, Worker, run_step, sandbox

from ...tools import needs_sandbox

TARGETS = """
import os, signal, socket, time
from pathlib import Path

def attempt(action):
    try:
        return action() or "done"
    except OSError as cause:
        return type(cause).__name__

def reach(request, channel):
    def connect():
        with socket.create_connection(("127.0.0.1", request["port"]), timeout=5): pass
    return {
        "network": attempt(connect),
        "input": attempt(lambda: Path(request["source"]).read_text()),
        "change the input": attempt(lambda: Path(request["source"]).write_text("x")),
        "beside the input": attempt(lambda: Path(request["source"]).with_name("new").write_text("x")),
        "staging": attempt(lambda: (Path(request["folder"]) / "made").write_text("x") and None),
        "canary": attempt(lambda: Path(request["canary"]).read_text()),
        "alone": attempt(lambda: Path(request["alone"]).read_text()),
        "beside alone": sorted(os.listdir(Path(request["alone"]).parent)),
        "var": Path("/var").exists(),
        "root": attempt(lambda: Path("/planted").write_text("x")),
        "home": sorted(os.listdir(os.environ.get("HOME", "/"))),
        "usr": attempt(lambda: Path("/usr/planted").write_text("x")),
        "temporary": attempt(lambda: Path(os.environ["TMPDIR"], "t").write_text("x") and None),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    }

def read(request, channel):
    return {path: attempt(Path(path).read_text) for path in request["paths"]}

def crash(request, channel):
    os.kill(os.getpid(), signal.SIGSEGV)

def hang(request, channel):
    channel.event(up=True)
    time.sleep(600)

def hoard(request, channel):
    kept = [bytearray(os.urandom(1 << 20)) for _ in range(600)]
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def targets() -> Iterator[str]:
    path = Path(sysconfig.get_paths()["purelib"]) / f"edgeport_sandbox_targets_{os.getpid()}.py"
    path.write_text(TARGETS)
    yield path.stem
    path.unlink()


@needs_sandbox
def test_a_worker_in_it_reaches_its_input_and_our_folders_and_nothing_else(targets: str, tmp_path: Path) -> None:
    source, canary = tmp_path / "given" / "model.keras", tmp_path / "elsewhere" / "secret"
    staging, alone = tmp_path / "out" / "staging", tmp_path / "inputs" / "a.npz"
    for folder in (source.parent, canary.parent, staging, alone.parent):
        folder.mkdir(parents=True)
    source.write_text("model")
    canary.write_text("secret")
    alone.write_text("arrays")
    alone.with_name("b.npz").write_text("others")
    with socket.create_server(("127.0.0.1", 0)) as listener, sandbox.using("require") as ran_in:
        request: dict[str, Any] = {
            "port": listener.getsockname()[1],
            "source": str(source),
            "folder": str(staging),
            "canary": str(canary),  # named, and not granted
            "alone": str(alone),
        }
        found = run_step(f"{targets}:reach", request, step="test", reads=[source.parent, alone], writes=[staging])
    assert ran_in == sandbox.BUBBLEWRAP
    assert found["network"] in {"ConnectionRefusedError", "OSError"}
    assert (found["input"], found["staging"], found["temporary"]) == ("model", "done", "done")
    assert found["change the input"] == found["beside the input"] == found["usr"] == "OSError"  # a read-only place
    assert found["root"] == "OSError"
    assert not found["var"], "it is shown folders that are neither the system's nor granted"
    assert found["canary"] == "FileNotFoundError"
    assert (found["alone"], found["beside alone"]) == ("arrays", ["a.npz"])
    python = (*sys.path, sys.prefix, sys.base_prefix)  # which may live in the home
    assert set(found["home"]) <= {name for place in python for name in Path(place).parts}
    assert found["processes"] <= 3
    assert (staging / "made").read_text() == "x"
    assert source.read_text() == "model"
    assert [p.name for p in source.parent.iterdir()] == ["model.keras"]


@needs_sandbox
def test_a_path_with_dots_is_there_as_it_was_typed(
    targets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, file, far = tmp_path / "a", tmp_path / "b" / "m.keras", tmp_path / "far" / "b" / "m.keras"
    for made in (here, file.parent, far.parent, tmp_path / "far" / "inner"):
        made.mkdir(parents=True)
    file.write_text("near")
    far.write_text("far")
    (here / "link").symlink_to(tmp_path / "far" / "inner")
    monkeypatch.chdir(here)
    typed = [Path("../b/m.keras"), Path("link/../b/m.keras"), Path("../a/../b/m.keras"), Path("./link/../../b/m.keras")]
    paths = [str(path.absolute()) for path in typed]
    with sandbox.using("require"):
        found = run_step(f"{targets}:read", {"paths": paths}, step="test", reads=typed)
        beside = run_step(f"{targets}:read", {"paths": paths[:2]}, step="test", reads=[*typed[:2], here, here / "link"])
    assert list(found.values()) == ["near", "far", "near", "near"]
    assert list(beside.values()) == ["near", "far"]


@needs_sandbox
def test_deaths_are_told_as_outside_of_it(targets: str) -> None:
    with sandbox.using("require"):
        with pytest.raises(CrashError, match="SIGSEGV"):
            run_step(f"{targets}:crash", {}, step="test")
        with pytest.raises(StepTimeoutError):
            run_step(f"{targets}:hang", {}, step="test", limits=Limits(timeout_s=1))
        with pytest.raises(ResourceError, match="200 MiB"):
            run_step(f"{targets}:hoard", {}, step="test", limits=Limits(timeout_s=60, memory_bytes=200 << 20))


@needs_sandbox
def test_closing_it_ends_everything_in_it(targets: str) -> None:
    with sandbox.using("require"), Worker(f"{targets}:hang", {}, step="test") as worker:
        worker.receive()
        inside = psutil.Process(worker.pid).children(recursive=True)
        assert inside
    assert _end(inside)


@needs_sandbox
def test_it_dies_with_its_parent(targets: str) -> None:
    script = (
        "import sys; from converters.isolation import Worker, sandbox\n"
        "with sandbox.using('require'):\n"
        f"    w = Worker('{targets}:hang', {{}}, step='x'); w.receive(); print(w.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    outer = psutil.Process(int(parent.stdout.readline()))
    everything = [outer, *outer.children(recursive=True)]
    assert len(everything) > 1
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _end(everything), "the worker outlived its parent"


def _end(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs any more, or soon: what was killed needs a core for its last steps."""
    for _ in range(600):
        running = []
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                running += [process] if process.status() != psutil.STATUS_ZOMBIE else []
        if not running:
            return True
        time.sleep(0.05)
    return False


def laid_out(*, reads: tuple[Path, ...] = (), writes: tuple[Path, ...] = (), **environment: str) -> list[list[str]]:
    """The places of a sandbox as bubblewrap is told of them: option, source where there is one, place."""
    arguments = sandbox.wrapped(["python"], environment, sandbox.Grants(reads, writes))
    end = arguments.index("--remount-ro")
    assert arguments[end:] == ["--remount-ro", "/", "--", "python"]
    starts = [k for k, word in enumerate(arguments[:end]) if word.startswith("--")]
    places = [arguments[a:b] for a, b in zip(starts, [*starts[1:], end], strict=True)]
    return [place for place in places if len(place) > 1 and place[1].startswith("/")]


def test_the_arguments_show_what_was_granted_and_nothing_of_the_users_besides(tmp_path: Path) -> None:
    folder, file, work = tmp_path / "saved", tmp_path / "models" / "m.onnx", tmp_path / "work"
    for made in (folder, file.parent, work):
        made.mkdir()
    file.write_text("model")
    (tmp_path / "link.onnx").symlink_to(file)
    nothing = laid_out(CUDA_VISIBLE_DEVICES="-1")
    granted = laid_out(
        reads=(folder, folder / "inside", tmp_path / "link.onnx", tmp_path / "none"),
        writes=(work,),
        CUDA_VISIBLE_DEVICES="-1",
    )
    new = [place for place in granted if place not in nothing]
    assert new == [
        ["--ro-bind", str(tmp_path / "link.onnx"), str(tmp_path / "link.onnx")],
        ["--ro-bind", str(file), str(file)],
        ["--ro-bind", str(folder), str(folder)],
        ["--bind", str(work), str(work)],
    ]
    shown = {place[-1] for place in nothing if place[0] != "--tmpfs"}
    users = [place for place in shown if Path(place).is_relative_to(tmp_path) or place in {"/", str(Path.home())}]
    assert not users


def test_a_file_inside_a_folder_to_write_stays_read_only_where_it_is_granted_so(tmp_path: Path) -> None:
    file = tmp_path / "work" / "in.npz"
    file.parent.mkdir()
    file.write_text("x")
    places = laid_out(reads=(file,), writes=(file.parent,))
    assert places.index(["--bind", str(file.parent), str(file.parent)]) < places.index(["--ro-bind", *[str(file)] * 2])


def test_libraries_on_the_loaders_path_are_shown_and_gpus_only_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    places = laid_out(LD_LIBRARY_PATH=f"{tmp_path / 'lib'}:relative")
    assert ["--ro-bind", str(tmp_path / "lib"), str(tmp_path / "lib")] in places
    assert ["--dev-bind", "/dev", "/dev"] in places
    assert ["--dev", "/dev"] in laid_out(CUDA_VISIBLE_DEVICES="-1")


def test_the_folder_that_the_command_was_called_in_is_not_on_a_workers_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert all(Path(place[-1]) != tmp_path for place in laid_out())


def test_without_bubblewrap_require_is_exit_4_with_the_mend_and_auto_goes_on(
    edgeport: Any, examples: Path, tmp_path: Path
) -> None:
    checkpoint = examples / "digits_se_inception.keras"
    ran = edgeport("export", checkpoint, "-o", tmp_path / "o", "--sandbox", "require", "--json", PATH=str(tmp_path))
    assert ran.code == 4
    assert "bwrap" in ran.document["error"]["message"]
    assert "apt install bubblewrap" in ran.document["error"]["next"]
    missing = edgeport("export", tmp_path / "none.keras", "-o", tmp_path / "o", "--sandbox", "auto", PATH=str(tmp_path))
    assert missing.code == 2  # it came as far as the source


def test_off_is_crash_isolation() -> None:
    with sandbox.using("off") as ran_in:
        assert ran_in == sandbox.CRASH_ISOLATION
    with pytest.raises(UsageError, match="always"), sandbox.using("always"):
        pytest.fail("the block must not run")
