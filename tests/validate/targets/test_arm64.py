"""The emulated Arm: what it is shown, what it refuses, and that the real kernels run in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import psutil
import pytest

from converters.errors import CrashError, UsageError
from validate.runtimes import DeviceUnavailableError, RuntimeOptions, RuntimeRow, open_artifact
from validate.targets import Device, Kind, device_of, target_of
from validate.targets.arm64 import CORES, QEMU, ROOT, SITE, Arm64
from validate.targets.environment import RECORD, SCHEMA, Environment, environment_at
from validate.targets.machine import host_facts_of

from ...tools import needs_sandbox

CORTEX_A76 = Device("arm64:cortex-a76")


def test_the_table_and_the_processors_name_the_same_ones() -> None:
    target = target_of(CORTEX_A76)
    assert set(target.choices) == set(CORES)
    assert (target.numbers, target.time) == (Kind.EMULATED, Kind.NEVER)
    assert device_of("arm64") == CORTEX_A76
    assert device_of("arm64:cortex-a53").detail == "cortex-a53"
    for word in ("arm64:cortex-m4", "arm64:"):
        with pytest.raises(UsageError, match=f"There is no target `{word}`"):
            device_of(word)
    with pytest.raises(UsageError, match="arm64:cortex-m4"):
        Arm64("cortex-m4")


def test_only_the_newest_has_dot_products() -> None:
    assert {name for name, core in CORES.items() if "asimddp" in core.features.split()} == {"cortex-a76"}


@pytest.fixture
def half(own_targets: Path) -> Environment:
    """An environment with all its parts and nothing in them."""
    folder = own_targets / "arm64"
    (folder / ROOT / "usr" / "bin").mkdir(parents=True)
    (folder / ROOT / "proc").mkdir()
    (folder / ROOT / "lib").symlink_to("usr/lib")
    (folder / SITE).mkdir()
    for name in (QEMU, f"{ROOT}/usr/bin/python3.11"):
        (folder / name).write_text("")
    environment = Environment(folder, "/usr/bin/python3.11", {"python": "3.11"})
    (folder / RECORD).write_text(json.dumps(environment.to_json()))
    return environment


@needs_sandbox
def test_it_is_shown_its_own_files_and_no_others(half: Environment, tmp_path: Path) -> None:
    artifact = tmp_path / "m.float32.savedmodel"
    (artifact / "variables").mkdir(parents=True)
    (artifact / "variables" / "v").write_text("")
    with Arm64("cortex-a72").connected((artifact,)) as connected:
        command = connected.command("-c", "pass", threads=2)
        cpuinfo = Path(command[command.index("/proc/cpuinfo") - 1])
        assert "CPU part\t: 0xd08" in cpuinfo.read_text()
    assert not cpuinfo.exists()
    assert command[-6:] == ["/edgeport/qemu", "-cpu", "cortex-a72", "/usr/bin/python3.11", "-c", "pass"]
    assert connected.paths == {str(artifact): "/edgeport/files/0/m.float32.savedmodel"}
    assert "/edgeport/files/0/m.float32.savedmodel/variables/v" in command
    assert "--unshare-net" in command
    assert "--clearenv" in command
    assert "--bind" not in command
    assert str(half.folder / ROOT / "proc") not in command
    assert command[command.index("/usr") - 2 : command.index("/usr")] == ["--ro-bind", str(half.folder / ROOT / "usr")]
    assert [command[k + 1 : k + 3] for k, word in enumerate(command) if word == "--symlink"] == [["usr/lib", "/lib"]]


@needs_sandbox
def test_a_system_without_a_link_at_lib_is_given_one(half: Environment) -> None:
    (half.folder / ROOT / "lib").unlink()
    with Arm64().connected(()) as connected:
        command = connected.command("-c", "pass")
    assert [command[k + 1 : k + 3] for k, word in enumerate(command) if word == "--symlink"] == [["usr/lib", "/lib"]]


def test_it_says_what_installs_it(own_targets: Path) -> None:
    with pytest.raises(DeviceUnavailableError, match="arm64 is not installed") as error, Arm64().connected(()):
        pass
    assert "edgeport target install arm64" in error.value.next_step


def test_a_damaged_environment_names_the_part_that_is_gone(half: Environment) -> None:
    shutil.rmtree(half.folder / SITE)
    with pytest.raises(DeviceUnavailableError, match="damaged: site is gone"), Arm64().connected(()):
        pass


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "another/1"}', f'{{"schema": "{SCHEMA}"}}'])
def test_a_record_that_is_none_is_no_environment(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    assert environment_at(tmp_path) is None


@needs_sandbox
def test_an_emulator_that_dies_is_named(half: Environment) -> None:
    (half.folder / QEMU).chmod(0o755)
    dies = pytest.raises(CrashError, match="The worker on arm64:cortex-a76 is gone")
    with Arm64().connected(()) as connected, dies as error:
        connected.worker({"do": "host"}, 1).receive(30)
    assert "edgeport doctor" in error.value.next_step


@pytest.mark.parametrize("core", sorted(CORES))
def test_the_runtimes_run_on_each_processor(
    arm64: Environment, onnx_folder: Path, tensorflow_folder: Path, core: str
) -> None:
    x = np.random.default_rng(1).normal(size=(3, 256)).astype(np.float32)
    for path in (onnx_folder / "dense.float32.onnx", tensorflow_folder / "dense.float32.tflite"):
        there = open_artifact(path, RuntimeOptions(device=Device(f"arm64:{core}")))
        here = open_artifact(path)
        assert there.signature == here.signature
        assert there.version == arm64.versions["onnxruntime" if path.suffix == ".onnx" else "ai-edge-litert"]
        assert np.allclose(there.run({"x": x})["y"], here.run({"x": x})["y"], rtol=1e-5, atol=1e-5)


def test_another_version_there_is_noted(arm64: Environment, onnx_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_folder / "dense.float32.onnx"
    assert open_artifact(path, RuntimeOptions(device=CORTEX_A76)).notes == ()
    monkeypatch.setattr(RuntimeRow, "version", "1.0.0")
    (note,) = open_artifact(path, RuntimeOptions(device=CORTEX_A76)).notes
    there = arm64.versions["onnxruntime"]
    assert note.startswith(f"onnxruntime is {there} on arm64:cortex-a76 and 1.0.0 here")
    assert "edgeport target install arm64 --force" in note


def test_a_worker_that_is_killed_is_one_file_s_failure(arm64: Environment, onnx_folder: Path) -> None:
    path = onnx_folder / "dense.float32.onnx"
    opened = open_artifact(path, RuntimeOptions(device=CORTEX_A76))
    feeds = {"x": np.zeros((1, 256), np.float32)}
    emulators = [p for p in psutil.Process().children(recursive=True) if p.cmdline()[:1] == ["/edgeport/qemu"]]
    assert emulators
    for process in emulators:
        process.kill()
    with pytest.raises(CrashError, match="The worker on arm64:cortex-a76 is gone"):
        opened.run(feeds)
    again = open_artifact(path, RuntimeOptions(device=CORTEX_A76))
    assert again.run(feeds)["y"].shape == (1, 256)


def test_its_processor_is_an_arm(arm64: Environment) -> None:
    with Arm64("cortex-a53").connected(()) as connected:
        assert host_facts_of(connected)["machine"] == "aarch64"
        told = subprocess.run(connected.command("-c", _LOOK), capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == {"part": ["0xd03"], "network": ["lo"], "home": [], "left": []}


_LOOK = """
import json, os, socket
lines = open("/proc/cpuinfo").read().splitlines()
part = sorted({line.split(": ")[1] for line in lines if line.startswith("CPU part")})
left = [name for name in ("/root", "/home", "/work") if os.path.exists(name)]
network = [name for _, name in socket.if_nameindex()]
print(json.dumps({"part": part, "network": network, "home": os.listdir("/tmp"), "left": left}))
"""
