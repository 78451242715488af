"""scripts/setup_env in a small tree with small wheels: what stops it, what it says, and that the next try works."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASE = Path(sys.base_exec_prefix, "bin", "python{}.{}".format(*sys.version_info))

PYPROJECT = """
[build-system]
requires = []
build-backend = "tiny_backend"
[project]
name = "tiny"
version = "1"
"""
BACKEND = """
import zipfile
def build_editable(folder, settings=None, metadata=None):
    with zipfile.ZipFile(f"{folder}/tiny-1-py3-none-any.whl", "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
    return "tiny-1-py3-none-any.whl"
FILES = {
    "tiny.py": "",
    "tiny-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n",
    "tiny-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "tiny-1.dist-info/RECORD": "",
}
"""


def wheel(folder: Path, module: str, source: str) -> str:
    """Writes a wheel of one module. Returns its lines for a lock."""
    info = f"{module}-1.dist-info"
    files = {
        f"{module}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text.encode())}\n"
    path = folder / f"{module}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return f"{module.replace('_', '-')}==1 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Tree:
    """A clone with locks of three small packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wheels = folder, folder / "wheels"
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        self.wheels.mkdir()
        lines = wheel(self.wheels, "tiny_backend", BACKEND) + wheel(self.wheels, "tensorflow", "answer = 1")
        self.lock, self.venv = folder / "requirements.lock", folder / ".venv"
        self.lock.write_text(f"# made by a test\n{lines}    # via tiny\n")
        (folder / "requirements-dev.lock").write_text(wheel(self.wheels, "judge", "answer = 2"))
        (folder / "pyproject.toml").write_text(PYPROJECT)
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "EDGEPORT_"))}
        local = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": str(self.wheels)}
        self.environment = {**ours, **local, "PIP_NO_INDEX": "1", "EDGEPORT_PYTHON": str(BASE)}

    def set_up(self, what: str = "run", **environment: str) -> tuple[int, str]:
        """(exit code, what it said)"""
        command = [self.folder / "scripts" / "setup_env", what]
        ran = subprocess.run(
            command, env={**self.environment, **environment}, capture_output=True, text=True, check=False
        )
        assert not ran.stdout
        return ran.returncode, ran.stderr

    def remote(self, port: int) -> dict[str, str]:
        """Options that make pip ask that port of this machine for its packages."""
        return {
            "PIP_NO_INDEX": "",
            "PIP_FIND_LINKS": "",
            "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple",
            "PIP_RETRIES": "1",
        }

    def answers(self, module: str) -> str:
        command = [self.venv / "bin" / "python", "-c", f"import {module}; print({module}.answer)"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    deep = tmp_path / ("a_folder_" * 12)  # a socket's path has 107 bytes
    deep.mkdir()
    return Tree(deep)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def python_with(path: Path, change: str) -> Path:
    """This Python, under another name and with something about it changed."""
    return program(path, f"#!/bin/sh\nexec '{BASE}' -c 'import sys; {change}; exec(sys.stdin.read())'\n")


def found(tree: Tree, *folders: Path, named: str = "") -> subprocess.CompletedProcess[str]:
    """scripts/find_python with these folders before the system's shell on the PATH."""
    tools = tree.folder / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("bash", "dirname", "cat", "env"):
        if not (tools / tool).exists():
            (tools / tool).symlink_to(str(shutil.which(tool)))
    path = os.pathsep.join(map(str, [*folders, tools]))
    command = [tree.folder / "scripts" / "find_python"]
    environment = {"PATH": path, "EDGEPORT_PYTHON": named}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_shim_that_only_prints_an_error_is_passed_over(tree: Tree, tmp_path: Path) -> None:
    shims, real = tmp_path / "shims", tmp_path / "real"
    for name in ("python3.11", "python3.12", "python3.13"):
        program(shims / name, "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")
    real.mkdir()
    (real / "python3").symlink_to(BASE)
    ran = found(tree, shims, real)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert Path(ran.stdout.strip()).samefile(BASE)


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_another_python_is_named_with_those_that_work(tree: Tree, tmp_path: Path, version: str) -> None:
    number = version.replace(".", ", ")
    python_with(tmp_path / "bin" / "python3", f'sys.version_info = ({number}, 0, "final", 0)')
    for ran in (found(tree, tmp_path / "bin"), found(tree, named=str(tmp_path / "bin" / "python3"))):
        assert ran.returncode == 2
        assert not ran.stdout
        cause, next_step = ran.stderr.splitlines()
        assert f"only Python {version} was found" in cause
        assert "3.11, 3.12 or 3.13" in cause
        assert "EDGEPORT_PYTHON" in next_step


def test_a_python_without_venv_is_named_with_the_package_that_mends_it(tree: Tree, tmp_path: Path) -> None:
    python_with(tmp_path / "bin" / "python3", 'sys.modules["ensurepip"] = None')
    ran = found(tree, tmp_path / "bin")
    assert ran.returncode == 2
    cause, next_step = ran.stderr.splitlines()
    assert "cannot make environments" in cause
    assert "python3-venv" in next_step


def test_no_python_at_all(tree: Tree) -> None:
    for ran in (found(tree), found(tree, named="/nowhere/python3")):
        assert ran.returncode == 2
        assert len(ran.stderr.splitlines()) == 2
        assert "EDGEPORT_PYTHON" in ran.stderr


def test_no_disk_is_said_before_anything_is_made(tree: Tree) -> None:
    script = tree.folder / "scripts" / "setup_env.py"
    text = script.read_text()
    assert text.count('"run": 4.0') == 1
    script.write_text(text.replace('"run": 4.0', '"run": 4e9'))
    code, said = tree.set_up()
    assert code == 1
    assert not tree.venv.exists()
    assert "set-up needs 4000000000 GB of disk" in said
    assert "Free some space" in said


def test_two_locks_one_on_the_other(tree: Tree) -> None:
    """`run` brings its lock alone, `dev` only adds, and neither does anything twice."""
    # What `python -m venv` leaves when it is interrupted, or fails for want of ensurepip.
    subprocess.run([BASE, "-m", "venv", "--without-pip", tree.venv], check=True)
    code, said = tree.set_up()
    assert code == 0, said
    assert "made anew" in said
    assert "is ready" in said
    assert (tree.answers("tensorflow"), tree.answers("judge")) == ("1", "")
    assert not (tree.venv / "setup").exists()
    assert list(tree.venv.rglob("tiny_backend.*.pyc"))
    before = next(tree.venv.rglob("tensorflow.py")).stat()
    assert tree.set_up() == (0, "")
    code, said = tree.set_up("dev")
    assert code == 0, said
    assert "made anew" not in said
    assert tree.answers("judge") == "2"
    after = next(tree.venv.rglob("tensorflow.py")).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert tree.set_up() == tree.set_up("dev") == (0, "")


def test_an_environment_of_another_python_is_made_anew(tree: Tree) -> None:
    code, said = tree.set_up()
    assert code == 0, said
    program(tree.venv / "bin" / "python.other", "#!/bin/sh\necho 3 9\n").replace(tree.venv / "bin" / "python")
    code, said = tree.set_up()
    assert code == 0, said
    assert "another Python's; it is made anew" in said
    assert tree.answers("tensorflow") == "1"


def test_each_failure_is_one_sentence_and_leaves_what_runs(tree: Tree) -> None:
    code, said = tree.set_up()
    assert code == 0, said
    lock = tree.folder / "requirements-dev.lock"
    good = lock.read_text()
    lock.write_text(re.sub("sha256:.{64}", "sha256:" + "0" * 64, good))
    code, said = tree.set_up("dev")
    assert code == 1
    assert said.splitlines()[-2:] == [
        "edgeport: a package is not the one that the lock names: its hash differs.",
        "Undo the change to the lock (git checkout 'requirements*.lock'), or make it anew with scripts/relock.",
    ]
    lock.write_text(good)
    with socket.socket() as taken:  # bound and not listening: the connection is refused
        taken.bind(("127.0.0.1", 0))
        code, said = tree.set_up("dev", **tree.remote(taken.getsockname()[1]))
    assert code == 1
    assert said.splitlines()[-2] == "edgeport: the package registry cannot be reached."
    assert interrupted(tree, "dev", signal.SIGTERM) == (143, "")
    assert tree.set_up("run") == (0, "")
    code, said = tree.set_up("dev")
    assert code == 0, said
    assert "made anew" not in said
    assert tree.answers("judge") == "2"


def _heeds_interrupts() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(tree: Tree, what: str, number: signal.Signals) -> tuple[int, str]:
    """(exit code, what it said after its first line) of a set-up that gets a signal while it waits for a registry."""
    with socket.create_server(("127.0.0.1", 0)) as server:  # it accepts, and never answers
        server.settimeout(300)
        options = tree.remote(server.getsockname()[1])
        command = [tree.folder / "scripts" / "setup_env", what]
        environment = {**tree.environment, **options}
        running = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=_heeds_interrupts
        )
        with server.accept()[0]:
            running.send_signal(number)
            said = running.communicate(timeout=60)[1]
    return running.returncode, "\n".join(line for line in said.splitlines()[1:] if not line.startswith("  "))


def test_an_interrupted_set_up_is_made_anew(tree: Tree) -> None:
    code, said = interrupted(tree, "run", signal.SIGINT)
    assert code == 130
    assert said.startswith("edgeport: set-up was interrupted.\nRun the same command again")
    code, said = tree.set_up()
    assert code == 0, said
    assert "left half-way" in said
    assert tree.answers("tensorflow") == "1"
