"""Makes the environment of the target arm64: QEMU, an arm64 Python, and the two runtimes for it in our versions."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from pathlib import Path

from converters.artifact import digest_file
from converters.errors import StepError, UsageError
from converters.progress import Progress
from exporter.environments import debian
from exporter.environments.commands import STEP, carried_out
from exporter.environments.installing import Site
from exporter.environments.request import Request
from exporter.environments.trial import tried
from exporter.environments.wheels import Interpreter, installed, versions_here
from validate.targets.arm64 import CORES, QEMU, ROOT, SITE, Arm64
from validate.targets.environment import Environment

DISTRIBUTIONS = {
    "numpy": ("numpy",),
    "flatbuffers": ("flatbuffers",),
    "ai-edge-litert": ("ai-edge-litert",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}
_HOSTS = {"x86_64": "amd64"}
_EMULATOR, _PROGRAM = "qemu-user-static", "./usr/bin/qemu-aarch64-static"
_PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")
_UNUSED = ("usr/share", "usr/sbin", "sbin", "var", "etc/init.d", "usr/lib/python3")
_INTERPRETER = re.compile(r"python3\.(1[1-9]|[2-9]\d)")
_ASK = (
    "import json, platform, sys; print(json.dumps([sys.version.split()[0], platform.libc_ver(), platform.machine()]))"
)
_TREE_HINT = "Give a whole arm64 file system, for example an unpacked image of a container with Python 3.11."


def made(site: Site, request: Request, progress: Progress) -> Environment:
    """Makes it in an empty folder. Raises StepError, and UsageError for what the user gave."""
    files = _system(site, request, _part(progress, 0.0, 0.55))
    python = _python_of(site.folder / ROOT)
    version = _qemu_version(site.folder / QEMU)
    bare = Environment(site.folder, python, {})
    (site.folder / SITE).mkdir()
    progress("asking the emulated Python", 0.55)
    number, interpreter = _asked(bare)
    packages = versions_here(DISTRIBUTIONS)
    progress("fetching wheels", 0.6)
    files += installed(packages, interpreter, site.folder / SITE, request.wheels)
    environment = Environment(
        site.folder,
        python,
        {"qemu": version, "python": number, **packages},
        tuple(files),
        _trust(request),
    )
    progress("trying both runtimes", 0.8)
    # The bytecode of what is imported stays in the environment.
    tried(lambda path: Arm64(environment=environment).connected((path,), writable=True))
    progress("done", 1.0)
    return environment


def _system(site: Site, request: Request, progress: Progress) -> list[dict[str, str]]:
    """Puts the emulator and the file system into the folder: `{name, sha256}` of what they came from."""
    wanted = [] if request.tree else list(_PACKAGES)
    if request.qemu is None:
        wanted.append(f"{_EMULATOR}:{_host()}")
    packages: list[Path] = []
    if wanted:
        archive = debian.Archive(site.downloads, request.mirror, request.keyring or debian.KEYRING)
        packages = archive.fetched(wanted, ("arm64", _host()), _part(progress, 0.0, 0.7))
    tree = site.folder / ROOT
    if request.tree:
        progress("copying the file system", 0.7)
        _copied(request.tree, tree)
    for k, package in enumerate(packages):
        progress("unpacking Debian's packages", 0.7 + 0.3 * k / len(packages))
        if package.name.startswith(f"{_EMULATOR}_"):
            _emulator_from(package, site.folder / QEMU)
        else:
            debian.unpacked(package, tree)
    if not request.tree:
        for name in _UNUSED:
            shutil.rmtree(tree / name, ignore_errors=True)
    if request.qemu:
        shutil.copy(request.qemu, site.folder / QEMU)
    (site.folder / QEMU).chmod(0o755)
    own = [request.qemu] if request.qemu else []
    return [{"name": path.name, "sha256": digest_file(path)} for path in (*packages, *own)]


def _host() -> str:
    """This machine's processor in Debian's words. Raises StepError where no emulator is known for it."""
    try:
        return _HOSTS[platform.machine()]
    except KeyError:
        raise StepError(
            f"The target arm64 is emulated on x86-64 alone, and this is {platform.machine()}.",
            next_step="On a 64-bit Arm, run edgeport itself: the target host is one there.",
            step=STEP,
        ) from None


def _copied(tree: Path, place: Path) -> None:
    if not tree.is_dir():
        raise UsageError(f"{tree} is no folder.", next_step=_TREE_HINT, file=tree)
    unused = shutil.ignore_patterns("proc", "sys", "dev", "tmp", "run")
    shutil.copytree(tree, place, symlinks=True, ignore=lambda at, names: unused(at, names) if at == str(tree) else [])


def _emulator_from(package: Path, place: Path) -> None:
    """The one program of a package that has forty of 5 to 20 MB."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as opened,
        place.open("wb") as file,
    ):
        extracted = subprocess.run(["tar", "-xO", _PROGRAM], stdin=opened.stdout, stdout=file, check=False)
    if extracted.returncode != 0 or place.stat().st_size == 0:
        raise StepError(
            f"{package.name} holds no {Path(_PROGRAM).name}.", next_step="Give one with --qemu PROGRAM.", step=STEP
        )


def _python_of(tree: Path) -> str:
    """The newest interpreter of a file system, as a path in it."""
    found = [
        path
        for folder in ("usr/local/bin", "usr/bin", "bin")
        for path in (tree / folder).glob("python3.*")
        if _INTERPRETER.fullmatch(path.name)
    ]
    if not found:
        raise UsageError(f"{tree} holds no Python 3.11 or newer.", next_step=_TREE_HINT, file=tree)
    return f"/{max(found, key=lambda path: int(path.name.partition('.')[2])).relative_to(tree)}"


def _qemu_version(program: Path) -> str:
    """The emulator's version. Raises UsageError where it does not run, or knows none of our processors."""
    asked = "Asking the emulator for its version"
    hint = "Give a qemu-aarch64 of version 7.2 or newer with --qemu PROGRAM, or leave that option out."
    told = carried_out([str(program), "--version"], asked, hint)
    listed = subprocess.run([program, "-cpu", "help"], capture_output=True, text=True, check=False)  # ends with 1
    if lacking := [core for core in CORES if core not in listed.stdout.split()]:
        raise UsageError(f"{program} does not know {', '.join(lacking)}.", next_step=hint, file=program)
    match = re.search(r"version (\S+)", told)
    return match[1] if match else told.strip()[:40]


def _asked(environment: Environment) -> tuple[str, Interpreter]:
    """The version of the Python in an environment, and what wheels it takes."""
    with Arm64(environment=environment).connected(()) as connected:
        told = carried_out(connected.command("-c", _ASK), "Running the arm64 Python", _TREE_HINT)
    try:
        version, (_libc, libc), machine = json.loads(told.splitlines()[-1])
        python, minor = _pair(version), _pair(libc)
    except (ValueError, IndexError) as cause:
        raise StepError(f"The arm64 Python answered {told[:100]!r}.", next_step=_TREE_HINT, step=STEP) from cause
    if machine != "aarch64":
        raise UsageError(f"The Python of that file system runs on {machine}.", next_step=_TREE_HINT)
    return str(version), Interpreter(python, minor, machine)


def _pair(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def _trust(request: Request) -> str:
    """Who vouches for the files, in words."""
    keyring = (request.keyring or debian.KEYRING).name
    given = [name for name, value in (("--python-tree", request.tree), ("--qemu", request.qemu)) if value]
    parts = [] if len(given) == 2 else [f"Debian {debian.SUITE}, its index signed by {keyring}"]
    parts += [f"given by {name}" for name in given]
    return "; ".join([*parts, "wheels given by --wheels" if request.wheels else "wheels by the digests of pip's index"])


def _part(progress: Progress, start: float, end: float) -> Progress:
    return lambda label, share: progress(label, start + (end - start) * share)
