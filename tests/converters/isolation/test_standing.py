"""A process for several steps: what it keeps, what ends it, and what a sandbox lets it see."""

from __future__ import annotations

import os
import signal
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from converters.errors import CrashError, EdgeportError, RefusedError, ResourceError, StepTimeoutError
from converters.isolation import Limits, Standing, sandbox

from ...tools import needs_sandbox

TARGETS = """
import os, signal, time
from pathlib import Path
from converters.errors import RefusedError

prepared = 0

def prepare():
    global prepared
    prepared += 1

def who(request, channel):
    channel.event(fraction=1.0)
    return {"pid": os.getpid(), "prepared": prepared}

def refuse(request, channel):
    raise RefusedError("It is bad.", next_step="Mend it.", file="x")

def crash(request, channel):
    os.kill(os.getpid(), signal.SIGSEGV)

def hang(request, channel):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)

def hoard(request, channel):
    hoard = [bytearray(os.urandom(1 << 20)) for _ in range(600)]
    time.sleep(600)

def read(request, channel):
    return {"pid": os.getpid(), "text": Path(request["path"]).read_text()}

def write(request, channel):
    Path(request["path"]).write_text("written")
    return {"pid": os.getpid()}
"""


@pytest.fixture(scope="module")
def module() -> Iterator[str]:
    path = Path(sysconfig.get_paths()["purelib"]) / f"edgeport_standing_targets_{os.getpid()}.py"
    path.write_text(TARGETS)
    yield path.stem
    path.unlink()


@pytest.fixture
def standing(module: str) -> Iterator[Callable[..., Standing]]:
    made: list[Standing] = []

    def make(**options: Any) -> Standing:
        made.append(Standing(f"{module}:prepare", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
        assert not one.folder.exists()


def test_steps_share_a_process_that_was_prepared_once(standing: Callable[..., Standing], module: str) -> None:
    events: list[dict[str, Any]] = []
    worker = standing()
    worker.start()
    first = worker.step(f"{module}:who", {}, step="one", on_event=events.append)
    second = worker.step(f"{module}:who", {}, step="two")
    assert first == second
    assert first["prepared"] == 1
    assert events == [{"fraction": 1.0}]
    worker.rest()
    assert not _alive(first["pid"])
    assert worker.step(f"{module}:who", {}, step="three")["pid"] != first["pid"]


def test_a_process_that_died_while_it_waited_is_replaced(standing: Callable[..., Standing], module: str) -> None:
    """Where memory is short the kernel ends the largest process, also one that only waits: no step was at fault."""
    worker = standing()
    first = worker.step(f"{module}:who", {}, step="one")
    os.kill(first["pid"], signal.SIGKILL)
    os.waitid(os.P_PID, first["pid"], os.WEXITED | os.WNOWAIT)  # dead, and not yet taken notice of
    assert worker.step(f"{module}:who", {}, step="two")["pid"] != first["pid"]


def test_what_ends_a_step_is_that_steps_error_alone(standing: Callable[..., Standing], module: str) -> None:
    worker = standing(limits=Limits(memory_bytes=300 << 20))
    before = worker.step(f"{module}:who", {}, step="one")
    for name, kind in (("crash", CrashError), ("refuse", RefusedError), ("hoard", ResourceError)):
        with pytest.raises(kind) as caught:
            worker.step(f"{module}:{name}", {}, step=name)
        assert caught.value.step == name
        after = worker.step(f"{module}:who", {}, step="next")
        assert after["pid"] != before["pid"], "it goes on in the process that failed"
        assert not _alive(before["pid"])
        before = after


def test_a_step_that_hangs_ends_at_its_limit_and_the_next_one_runs(
    standing: Callable[..., Standing], module: str
) -> None:
    for seconds in (1.0, 4.0, 16.0, 64.0):  # until a healthy step ends within it
        worker = standing(limits=Limits(timeout_s=seconds))
        try:
            before = worker.step(f"{module}:who", {}, step="one")
            with pytest.raises(StepTimeoutError) as caught:
                worker.step(f"{module}:hang", {}, step="hang")
            assert caught.value.step == "hang"
            assert not _alive(before["pid"])
            assert worker.step(f"{module}:who", {}, step="next")["pid"] != before["pid"]
            return
        except StepTimeoutError:
            continue
    pytest.fail("no healthy step ends within a minute")


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@needs_sandbox
def test_in_a_sandbox_a_step_sees_what_a_worker_of_its_own_would(
    standing: Callable[..., Standing], module: str, tmp_path: Path
) -> None:
    (tmp_path / "told").mkdir()
    (tmp_path / "late").mkdir()
    (tmp_path / "told" / "a").write_text("a")
    (tmp_path / "late" / "b").write_text("b")
    with sandbox.using("require"):
        worker = standing(reads=(tmp_path / "told",))
        worker.start()
        worker.step(f"{module}:write", {"path": str(worker.folder / "x")}, step="write")
        assert (worker.folder / "x").read_text() == "written"
        assert worker.step(f"{module}:read", {"path": str(tmp_path / "told" / "a")}, step="read")["text"] == "a"
        b, c, late = tmp_path / "late" / "b", tmp_path / "late" / "c", (tmp_path / "late",)
        with pytest.raises(EdgeportError, match="No such file"):
            worker.step(f"{module}:read", {"path": str(b)}, step="read")
        found = worker.step(f"{module}:read", {"path": str(b)}, step="read", reads=[b])
        assert found["text"] == "b", "a file granted later was not shown"
        with pytest.raises(EdgeportError, match=r"[Rr]ead-only"):
            worker.step(f"{module}:write", {"path": str(c)}, step="write", reads=late)
        worker.step(f"{module}:write", {"path": str(c)}, step="write", writes=late)
        assert c.read_text() == "written"


@needs_sandbox
def test_in_a_sandbox_a_file_that_was_replaced_since_is_read_anew(
    standing: Callable[..., Standing], module: str, tmp_path: Path
) -> None:
    file = tmp_path / "model"
    file.write_text("first")
    with sandbox.using("require"):
        worker = standing()
        first = worker.step(f"{module}:read", {"path": str(file)}, step="read", reads=[file])
        again = worker.step(f"{module}:read", {"path": str(file)}, step="read", reads=[file])
        assert (first["text"], again) == ("first", first), "the same grants need no other process"
        (tmp_path / "new").write_text("second")
        (tmp_path / "new").replace(file)
        assert worker.step(f"{module}:read", {"path": str(file)}, step="read", reads=[file])["text"] == "second"


@needs_sandbox
def test_a_process_from_outside_the_sandbox_serves_nothing_inside(
    standing: Callable[..., Standing], module: str
) -> None:
    worker = standing()
    outside = worker.step(f"{module}:who", {}, step="one")
    with sandbox.using("require"):
        inside = worker.step(f"{module}:who", {}, step="two")
    assert not Path(f"/proc/{outside['pid']}").exists()
    assert inside["pid"] < 10, "processes have numbers of their own in a sandbox"
