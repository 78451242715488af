"""Workers: what they return, how they fail, and that nothing of them outlives the step. Targets are real functions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from converters.errors import CrashError, ResourceError, StepError, StepTimeoutError
from converters.isolation import Limits, Worker, run_step, worker_environment

TARGETS = """
import os, signal, sys, time, subprocess
from converters.errors import RefusedError

def echo(request, channel):
    channel.event(step=1)
    print("a word for the log")
    return {"got": request, "env": {k: os.environ.get(k) for k in request.get("env", ())}}

def refuse(request, channel):
    raise RefusedError("It is bad.", next_step="Mend it.", file="x")

def stumble(request, channel):
    raise ValueError("odd\\nsecond line")

def abort(request, channel):
    os.kill(os.getpid(), signal.SIGSEGV)

def leave(request, channel):
    os._exit(3)

def killed(request, channel):
    os.kill(os.getpid(), signal.SIGKILL)

def hang(request, channel):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    channel.event(child=child.pid)
    time.sleep(600)

def hoard(request, channel):
    hoard = [bytearray(os.urandom(1 << 20)) for _ in range(600)]
    time.sleep(600)

def babble(request, channel):
    os.write(channel._write_fd, b"no json\\n")
    time.sleep(600)

def full(request, channel):
    raise OSError(28, "No space left on device")
"""


@pytest.fixture(scope="session", autouse=True)
def _targets() -> object:
    """Workers run isolated from PYTHONPATH, so the targets go where installed packages are."""
    import sysconfig

    path = Path(sysconfig.get_paths()["purelib"]) / f"edgeport_test_targets_{os.getpid()}.py"
    path.write_text(TARGETS)
    yield path.stem
    path.unlink()


@pytest.fixture
def target(_targets: str) -> object:
    return lambda name: f"{_targets}:{name}"


def test_a_worker_answers_and_its_words_go_to_the_log(target, tmp_path: Path) -> None:
    events: list[dict[str, object]] = []
    log = tmp_path / "log"
    result = run_step(target("echo"), {"a": [1, None]}, step="echo", log=log, on_event=events.append)
    assert result["got"] == {"a": [1, None]}
    assert events == [{"step": 1}]
    assert log.read_text() == "a word for the log\n"


def test_a_worker_starts_in_a_clean_environment(target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("KERAS_HOME", "/home/of/keras")
    names = ["TF_USE_LEGACY_KERAS", "KERAS_BACKEND", "KERAS_HOME", "CUDA_VISIBLE_DEVICES"]
    env = run_step(target("echo"), {"env": names}, step="echo")["env"]
    assert env["TF_USE_LEGACY_KERAS"] is None
    assert env["KERAS_BACKEND"] == "tensorflow"
    assert env["KERAS_HOME"] != "/home/of/keras"
    assert env["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment(gpu=True) or "CUDA_VISIBLE_DEVICES" in os.environ


def test_what_a_worker_raises_is_raised_here(target) -> None:
    with pytest.raises(Exception, match=r"It is bad\.") as caught:
        run_step(target("refuse"), {}, step="load")
    assert caught.value.to_json() == {
        "code": 3,
        "message": "It is bad.",
        "next": "Mend it.",
        "file": "x",
        "step": "load",
    }


def test_a_foreign_exception_is_a_step_error_in_one_line(target) -> None:
    with pytest.raises(StepError, match="ValueError: odd") as caught:
        run_step(target("stumble"), {}, step="convert")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("name", "how"), [("abort", "SIGSEGV"), ("leave", "exit status 3")])
def test_a_crash_is_told_by_its_signal(target, name: str, how: str) -> None:
    with pytest.raises(CrashError, match=how):
        run_step(target(name), {}, step="convert")


def test_sigkill_is_taken_for_lack_of_memory(target) -> None:
    with pytest.raises(ResourceError, match="killed"):
        run_step(target("killed"), {}, step="convert")


def test_a_full_disk_is_a_resource_error(target) -> None:
    with pytest.raises(ResourceError, match="disk"):
        run_step(target("full"), {}, step="convert")


def test_garbage_is_a_crash(target) -> None:
    with pytest.raises(CrashError, match="not JSON"):
        run_step(target("babble"), {}, step="convert")


def test_a_hanging_worker_goes_with_its_children(target) -> None:
    events: list[dict[str, int]] = []
    for seconds in (1, 4, 16, 64):  # until the worker gets as far as its child within it
        with pytest.raises(StepTimeoutError, match=f"limit of {seconds} s"):
            run_step(target("hang"), {}, step="convert", limits=Limits(timeout_s=seconds), on_event=events.append)
        if events:
            break
    assert _ends(events[0]["child"])


def test_too_much_memory_is_told_with_the_limit(target) -> None:
    with pytest.raises(ResourceError, match="limit of 200 MiB"):
        run_step(target("hoard"), {}, step="convert", limits=Limits(timeout_s=60, memory_bytes=200 << 20))


def test_leaving_the_block_ends_the_worker(target) -> None:
    with Worker(target("hang"), {}, step="x") as worker:
        child = worker.receive()["event"]["child"]
    assert not psutil.pid_exists(worker.pid)
    assert _ends(child)


def test_what_a_worker_started_dies_with_its_parent_too(target) -> None:
    script = (
        "import sys; from converters.isolation import Worker\n"
        f"w = Worker({target('hang')!r}, {{}}, step='x'); child = w.receive()['event']['child']\n"
        "print(w.pid, child, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker, child = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
    ours = [worker, child, *(p for p in psutil.Process(parent.pid).children() if p != worker)]
    assert len(ours) == 3, "the guard is missing"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert all(_ends(process.pid) for process in ours), "something outlived the parent"


def test_the_guard_ends_with_a_parent_that_ends_well_and_harms_nobody(target) -> None:
    script = (
        "import psutil; from converters.isolation import run_step\n"
        f"run_step({target('echo')!r}, {{'a': 1}}, step='x'); print(*(p.pid for p in psutil.Process().children()))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (guard,) = (int(pid) for pid in ran.stdout.split())
    assert not psutil.pid_exists(guard)


def test_a_fork_of_ours_does_not_keep_us_from_ending(target) -> None:
    script = (
        "import os, time; from converters.isolation import run_step\n"
        f"run_step({target('echo')!r}, {{'a': 1}}, step='x'); pid = os.fork()\n"
        "time.sleep(600) if pid == 0 else print(pid, flush=True)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    fork = int(parent.stdout.readline())
    try:
        assert parent.wait(300) == 0
    finally:
        os.kill(fork, signal.SIGKILL)


def _ends(pid: int) -> bool:
    """Whether nothing of the process runs any more, or soon: what was killed needs a core for its last steps."""
    for _ in range(600):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False
