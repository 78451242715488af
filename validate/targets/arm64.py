"""A 64-bit Arm, emulated: our worker in an arm64 Python, its instructions emulated by QEMU one by one.

What runs are the very kernels that a phone or a board runs: LiteRT's and ONNX Runtime's for this processor, with NEON
and dot products. How long it takes says nothing of one.

Both runtimes ask the kernel what processor they run on, in /proc/cpuinfo and below /sys, and die where it answers with
another kind. So bubblewrap shows them an Arm's. It also keeps them from the network and from all files but their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converters.artifact import files_of
from converters.errors import UsageError
from converters.isolation import Message, sandbox
from validate.runtimes import DeviceUnavailableError
from validate.targets.environment import Environment, environment_of
from validate.targets.worker_by_pipe import WorkerByPipe

NAME = "arm64"
INSTALL = "edgeport target install arm64"
QEMU, ROOT, SITE = "qemu-aarch64", "root", "site"
"""Of an environment: the emulator, the file system with Python in it, and the packages beside it."""

_CODE = Path(__file__).parents[2]
_ROOMS = ("converters", "validate")
_SHARED = "/edgeport/shared"
_OWN = {"proc", "sys", "dev", "tmp", "run"}
_V8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_V8_2 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"  # dot products
)


@dataclass(frozen=True)
class Core:
    """A processor as the kernel describes it: Arm's number of the part, its variant and revision, its instructions."""

    part: int
    variant: int
    revision: int
    features: str


CORES: Mapping[str, Core] = {
    "cortex-a53": Core(0xD03, 0, 4, _V8_0),
    "cortex-a72": Core(0xD08, 0, 3, _V8_0),
    "cortex-a76": Core(0xD0B, 4, 1, _V8_2),
}
DEFAULT_CORE = "cortex-a76"


@dataclass(frozen=True)
class Arm64:
    """An emulated machine.

    Attributes:
        core: one of `CORES`; the default where it is empty.
        environment: what it is made of; None takes the installed one when it is connected to.
    """

    core: str = ""
    environment: Environment | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.core and self.core not in CORES:
            raise UsageError(
                f"There is no {NAME}:{self.core}.",
                next_step=f"Choose one of {', '.join(f'{NAME}:{core}' for core in CORES)}.",
            )

    @contextlib.contextmanager
    def connected(self, files: Iterable[Path], *, writable: bool = False) -> Iterator[Connection]:
        """Shows it the worker's code and the files.

        Args:
            writable: lets Python keep the bytecode of what it imports in the environment.

        Raises:
            DeviceUnavailableError: it is not installed, or cannot run here.
        """
        environment = self.environment or _installed()
        if why := sandbox.unavailable():
            raise DeviceUnavailableError(
                f"{NAME} needs bubblewrap: {why}.",
                next_step="Install bubblewrap (apt install bubblewrap) on a system that allows user namespaces.",
            )
        with tempfile.TemporaryDirectory(prefix="edgeport-arm64-") as folder:
            shown = _described(Path(folder), self.core or DEFAULT_CORE)
            shared = Path(folder) / "shared"
            shared.mkdir()
            shown += ["--ro-bind", str(shared), _SHARED]
            paths: dict[str, str] = {}
            for k, path in enumerate(dict.fromkeys(files)):
                paths[str(path.absolute())] = f"/edgeport/files/{k}/{path.name}"
                for file in files_of(path):
                    place = file.name if file == path else str(file.relative_to(path.parent))
                    shown += ["--ro-bind", str(file.resolve()), f"/edgeport/files/{k}/{place}"]
            layout = (*_system(environment, writable), *shown)
            yield Connection(environment, self.core or DEFAULT_CORE, layout, paths, (shared, _SHARED))


@dataclass(frozen=True)
class Connection:
    """The emulated machine. `paths` are local path -> path there; `layout` is what bubblewrap shows."""

    environment: Environment
    core: str
    layout: tuple[str, ...]
    paths: Mapping[str, str]
    shared: tuple[Path, str]

    def worker(self, request: Message, threads: int) -> WorkerByPipe:
        program = self.command("-m", "validate.targets.remote_worker", threads=threads)
        hint = f"Run `edgeport doctor`, and `{INSTALL} --force` where it says that {NAME} is broken."
        return WorkerByPipe(f"The worker on {NAME}:{self.core}", program, request, hint)

    def command(self, *arguments: str, threads: int = 1) -> list[str]:
        """The argument vector of its Python with these arguments."""
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/tmp",
            "PYTHONPATH": "/edgeport/site:/edgeport/code",
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(threads),
        }
        environment = [word for name, value in variables.items() for word in ("--setenv", name, value)]
        bwrap = [shutil.which("bwrap") or "bwrap", *sandbox.NAMESPACES, "--clearenv", *environment, *self.layout]
        return [*bwrap, "--", "/edgeport/qemu", "-cpu", self.core, self.environment.python, *arguments]


def _installed() -> Environment:
    """The environment of this target. Raises DeviceUnavailableError."""
    environment = environment_of(NAME)
    if environment is None:
        raise DeviceUnavailableError(f"{NAME} is not installed here.", next_step=f"Run `{INSTALL}`.")
    if part := environment.lacks(parts_of(environment)):
        raise DeviceUnavailableError(
            f"The environment of {NAME} is damaged: {part} is gone from {environment.folder}.",
            next_step=f"Run `{INSTALL} --force`.",
        )
    return environment


def parts_of(environment: Environment) -> tuple[str, ...]:
    """What it cannot do without."""
    return QEMU, SITE, f"{ROOT}/{environment.python.lstrip('/')}"


def _system(environment: Environment, writable: bool) -> list[str]:
    """Its file system: the tree of the environment, the packages, the emulator and our code."""
    bind = "--bind" if writable else "--ro-bind"
    layout = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    root = environment.folder / ROOT
    for entry in sorted(root.iterdir()):
        if entry.name in _OWN:
            continue
        if entry.is_symlink():
            layout += ["--symlink", str(entry.readlink()), f"/{entry.name}"]
        else:
            layout += [bind, str(entry), f"/{entry.name}"]
    if not os.path.lexists(root / "lib"):  # packages of a system that has it as a link into /usr
        layout += ["--symlink", "usr/lib", "/lib"]
    layout += [bind, str(environment.folder / SITE), "/edgeport/site"]
    layout += ["--ro-bind", str(environment.folder / QEMU), "/edgeport/qemu"]
    return layout + [word for room in _ROOMS for word in ("--ro-bind", str(_CODE / room), f"/edgeport/code/{room}")]


def _described(folder: Path, core: str) -> list[str]:
    """Files in which a kernel describes this core, and where they are shown."""
    count = os.cpu_count() or 1
    (folder / "cpuinfo").write_text("\n".join(_processor(k, CORES[core]) for k in range(count)))
    cpus = folder / "sys" / "devices" / "system" / "cpu"
    cpus.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (cpus / name).write_text(f"0-{count - 1}\n" if count > 1 else "0\n")
    (cpus / "kernel_max").write_text(f"{count - 1}\n")
    return ["--ro-bind", str(folder / "cpuinfo"), "/proc/cpuinfo", "--ro-bind", str(folder / "sys"), "/sys"]


def _processor(number: int, core: Core) -> str:
    fields = {
        "processor": number,
        "BogoMIPS": "100.00",
        "Features": core.features,
        "CPU implementer": "0x41",  # Arm Limited
        "CPU architecture": 8,
        "CPU variant": f"{core.variant:#x}",
        "CPU part": f"{core.part:#x}",
        "CPU revision": core.revision,
    }
    return "".join(f"{name}\t: {value}\n" for name, value in fields.items())
