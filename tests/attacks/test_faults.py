"""What befalls a run: kill -9, a full disk, Ctrl-C, a crashing worker. Nothing half-made, lost or left over.

The runs are real ones of a small checkpoint. The long versions are marked slow.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.append(str(Path(__file__).parent))

from killed_run import STEPS
from reader_samples import facts, samples  # noqa: F401

from exporter.bundle import verify

EXPORT = ("export", "-f", "onnx")
RUN = ("run", "-f", "onnx", "--max-seconds", "0.5", "--samples", "4")
BARE = ("--sandbox", "off")
_MARK = "EDGEPORT_TEST_MARK"


def _hear() -> None:
    """CI may run us deaf to Ctrl-C, and a process started so would be too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Process:
    """An edgeport process that can be killed, and whose workers can be told by their environment."""

    def __init__(self, arguments: list[Any], script: str | None = None, **options: Any) -> None:
        self.mark = uuid.uuid4().hex
        runner = [str(Path(__file__).with_name(script))] if script else ["-m", "exporter.cli.main"]
        env = {**os.environ, _MARK: self.mark, **options.pop("env", {})}
        self.popen = subprocess.Popen(
            [sys.executable, *runner, *map(str, arguments)],
            env=env,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **{"preexec_fn": _hear, **options},
        )

    def workers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get(_MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE
                if ours and process.pid != self.popen.pid:
                    found.append(process)
        return found

    def wait_for(self, word: str) -> None:
        """Reads the progress on stderr until it tells of `word`."""
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            if word in line:
                return
        pytest.fail(f"it ended before {word!r}")

    def end(self) -> tuple[int, str]:
        _, said = self.popen.communicate(timeout=200)
        return self.popen.returncode, said

    def leaves_nothing_running(self) -> None:
        for _ in range(300):
            if not self.workers():
                return
            time.sleep(0.1)
        pytest.fail(f"left running: {[p.cmdline() for p in self.workers()]}")


def ran(*arguments: Any, **options: Any) -> tuple[int, str]:
    return Process(list(arguments), **options).end()


def content(bundle: Path) -> dict[str, Any]:
    """What must be the same every time: the content digest, and the bytes of every artifact."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    rows = {row["path"]: row["sha256"] for row in manifest["artifacts"]}
    assert verify(bundle) == []
    return {"content": manifest["content_digest"], "artifacts": rows}


def siblings(output: Path) -> list[str]:
    return sorted(p.name for p in output.parent.iterdir() if p.name.startswith(f".{output.name}.staging"))


@pytest.fixture(scope="module")
def source(samples: Path) -> Path:  # noqa: F811
    return samples / "picture.keras"


@pytest.fixture(scope="module")
def exported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed export, with temporary files on another file system than the bundle where there is one."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    env = {"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {}
    assert ran(*EXPORT, source, "-o", output, env=env)[0] == 0
    return output


def killed(step: str, when: str, arguments: tuple[Any, ...]) -> None:
    process = Process([step, when, *arguments], script="killed_run.py")
    assert process.end()[0] == -signal.SIGKILL
    process.leaves_nothing_running()


def test_a_killed_run_leaves_no_half_bundle_and_the_next_one_takes_what_was_finished(
    source: Path, exported: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = (*EXPORT, source, "-o", output)
    for step, when in (("convert", "after"), ("finish", "before"), ("finish", "after")):
        killed(step, when, command)
        assert not output.exists(), (step, when)
        assert siblings(output)
    assert ran(*command)[0] == 0
    assert content(output) == content(exported)
    assert siblings(output) == []
    document = json.loads((output / "manifest.json").read_text())
    assert [row["reused"] for row in document["artifacts"]] == [True]
    killed("publish", "after", command)  # the old bundle still lies in staging
    assert content(output) == content(exported)
    assert ran(*command)[0] == 0
    assert siblings(output) == []


@pytest.mark.slow
def test_a_file_that_was_whole_when_the_run_was_killed_is_taken(source: Path, tmp_path: Path) -> None:
    """Killed while files were still being made: each is noted by itself, as soon as it lies whole on disk."""
    command = ("export", source, "-o", tmp_path / "out", "-f", "savedmodel", "-f", "onnx")
    killed("note", "after", command)
    assert ran(*command)[0] == 0
    rows = json.loads((tmp_path / "out" / "manifest.json").read_text())["artifacts"]
    assert {row["format"]: row["reused"] for row in rows} == {"savedmodel": True, "onnx": False}


@pytest.mark.slow
def test_a_damaged_leftover_is_made_afresh(source: Path, exported: Path, tmp_path: Path) -> None:
    """What a killed run left is believed by its digest alone."""
    output = tmp_path / "out"
    killed("convert", "after", (*EXPORT, source, "-o", output))
    (staging,) = tmp_path.glob(".out.staging-*")
    (artifact,) = staging.glob("*.onnx")
    data = bytearray(artifact.read_bytes())
    data[len(data) // 2] ^= 1
    artifact.write_bytes(data)
    assert ran(*EXPORT, source, "-o", output)[0] == 0
    assert content(output) == content(exported)
    assert [row["reused"] for row in json.loads((output / "manifest.json").read_text())["artifacts"]] == [False]


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An undisturbed whole run, and the seconds that it took."""
    output = tmp_path_factory.mktemp("whole") / "out"
    started = time.monotonic()
    assert ran(*RUN, source, "-o", output)[0] == 0
    return output, time.monotonic() - started


@pytest.fixture(scope="module")
def conversion(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The same of the conversion alone."""
    output = tmp_path_factory.mktemp("converted") / "out"
    started = time.monotonic()
    assert ran(*EXPORT, source, "-o", output)[0] == 0
    return output, time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_every_step(
    step: str, when: str, source: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    """Before each in a sandbox, where there can be one; after each without."""
    output = tmp_path / "out"
    killed(step, when, (*RUN, source, "-o", output, *(() if when == "before" else BARE)))
    assert output.exists() == ((step, when) == ("publish", "after"))
    assert ran(*RUN, source, "-o", output)[0] == 0
    assert content(output) == content(undisturbed[0])
    assert siblings(output) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_killed_at_a_random_time(
    seed: int, source: Path, undisturbed: tuple[Path, float], conversion: tuple[Path, float], tmp_path: Path
) -> None:
    """With an older bundle in place every other time, which must be there whole or be replaced whole.

    Every third time the whole run, else the conversion, in which files are made and a killed run leaves something. Two
    of four times in a sandbox, where there can be one.
    """
    output, (whole, seconds) = tmp_path / "out", undisturbed if seed % 3 == 0 else conversion
    if seed % 2:
        shutil.copytree(whole, output)
    command = [*(RUN if seed % 3 == 0 else EXPORT), source, "-o", output, *(["--no-cache"] if seed % 2 else [])]
    command += BARE if seed % 4 > 1 else []
    process = Process(command)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.popen.wait(random.Random(seed).uniform(0, seconds))
    process.popen.kill()
    process.end()
    process.leaves_nothing_running()
    if output.exists():
        assert verify(output) == []
    assert ran(*command)[0] == 0
    assert content(output) == content(whole)
    assert siblings(output) == []


@contextlib.contextmanager
def small_disk(folder: Path, options: str = "size=1m") -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small tmpfs: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 4096, 30_000])
def test_a_full_disk_is_exit_7_and_the_old_bundle_stays(
    free: int, source: Path, exported: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        output = disk / "out"
        shutil.copytree(exported, output)
        before = content(output)
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        os.truncate(disk / "ballast", max(0, (disk / "ballast").stat().st_size - free))
        code, said = ran(*EXPORT, source, "-o", output)
        assert code == 7, said
        assert content(output) == before
        assert siblings(output) == []


@pytest.mark.parametrize("size", [2_000, 8_000])
def test_a_limit_on_file_sizes_is_exit_7(size: int, source: Path, exported: Path, tmp_path: Path) -> None:
    """The same error without a mount: RLIMIT_FSIZE gives EFBIG."""
    output = tmp_path / "out"
    shutil.copytree(exported, output)
    code, said = ran(
        *EXPORT, source, "-o", output, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    )
    assert code == 7, said
    assert content(output) == content(exported)
    assert siblings(output) == []


@pytest.mark.slow
def test_a_disk_that_is_full_for_the_worker_is_exit_7(source: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=40k") as disk:
        code, said = ran("export", source, "-o", disk / "out", "-f", "savedmodel", "--no-cache")
        assert code == 7, said
        assert sorted(p.name for p in disk.iterdir()) in ([], [".out.lock"])


def test_a_read_only_place_is_exit_2(source: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,ro") as disk:
        code, said = ran(*EXPORT, source, "-o", disk / "out")
        assert (code, "cannot be written" in said) == (2, True)


def test_ctrl_c_leaves_nothing(source: Path, tmp_path: Path) -> None:
    process = Process([*EXPORT, source, "-o", tmp_path / "out"])
    process.wait_for("tracing")
    process.popen.send_signal(signal.SIGINT)
    assert process.end()[0] == 130
    process.leaves_nothing_running()
    assert [p.name for p in tmp_path.iterdir()] in ([], [".out.lock"])


@pytest.mark.slow
@pytest.mark.parametrize("word", ["loading", "converting", "validate", "bench"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_each_step(word: str, number: signal.Signals, source: Path, tmp_path: Path) -> None:
    process = Process([*RUN, source, "-o", tmp_path / "out"])
    process.wait_for(word)
    process.popen.send_signal(number)
    process.popen.send_signal(number)
    assert process.end()[0] == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    process.leaves_nothing_running()
    assert siblings(tmp_path / "out") == []


@pytest.mark.slow
def test_a_crash_of_the_converter_is_a_row_and_the_rest_is_made(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = Process(["export", source, "-o", output, "-f", "tflite", "-f", "onnx"])
    process.wait_for("converting to tflite")
    worker = max(process.workers(), key=lambda p: p.create_time())
    worker.send_signal(signal.SIGSEGV)
    assert process.end()[0] == 10
    document = json.loads((output / "manifest.json").read_text())
    assert [row["format"] for row in document["artifacts"]] == ["onnx"]
    (failure,) = document["failures"]
    assert (failure["status"], failure["exit_code"]) == ("crashed", 5)
    assert "SIGSEGV" in failure["reason"]


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_where_the_killer_looks(step: str) -> None:
    """Otherwise it would kill nothing."""
    module, name = STEPS[step].split(":")
    assert callable(attrgetter(name)(importlib.import_module(module)))
