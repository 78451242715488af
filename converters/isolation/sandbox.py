"""A sandbox around workers where bubblewrap can make one: no network, and of the files only what the step was granted.

Without it a worker is only *crash isolation*: its death harms nobody, its code may do what the user may. The policy is
of the whole process (`using`), so that no step can forget it; a worker is inside already and starts none of its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.errors import StepError, UsageError

MODES = ("auto", "require", "off")
BUBBLEWRAP, CRASH_ISOLATION = "bubblewrap", "crash isolation"

NAMESPACES = (
    "--unshare-user-try",
    "--unshare-net",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/sys", "/nix", "/gnu")
"""The system's own folders: programs, shared libraries, drivers, and what describes the machine."""

_active = False
_PLACES = "import json, sys; print(json.dumps([*sys.path, sys.prefix, sys.base_prefix]))"


@contextlib.contextmanager
def using(mode: str) -> Iterator[str]:
    """Puts the workers of this process into a sandbox within the block; yields what they run in.

    Args:
        mode: `auto` (where it works), `require` or `off`.

    Raises:
        UsageError: another word.
        StepError: `require`, and bubblewrap is missing or cannot work here.
    """
    global _active
    if mode not in MODES:
        raise UsageError(f"There is no sandbox mode `{mode}`.", next_step=f"Choose from: {', '.join(MODES)}.")
    why = "" if mode == "off" else unavailable()
    if mode == "require" and why:
        raise StepError(
            f"--sandbox require cannot be kept: {why}.",
            next_step="Install bubblewrap (apt install bubblewrap) on a system that allows user namespaces, or run "
            "with --sandbox off.",
            step="sandbox",
        )
    before, _active = _active, mode != "off" and not why
    try:
        yield current()
    finally:
        _active = before


def current() -> str:
    """The isolation that a worker started now would run in."""
    return BUBBLEWRAP if _active else CRASH_ISOLATION


@functools.cache
def unavailable() -> str:
    """Why there can be no sandbox here; empty where a worker's interpreter starts in one."""
    bwrap = shutil.which("bwrap")
    if sys.platform != "linux" or bwrap is None:
        return "the command bwrap (bubblewrap) is not installed"
    try:
        probe = wrapped([sys.executable, "-I", "-c", ""], {"CUDA_VISIBLE_DEVICES": "-1"}, Grants())
        result = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError) as cause:
        return f"bwrap does not run ({cause})"
    output = " ".join(result.stderr.split())[:200] or f"exit status {result.returncode}"
    return "" if result.returncode == 0 else f"bwrap cannot make namespaces here ({output})"


@dataclass(frozen=True)
class Grants:
    """Paths that a worker is shown besides the system, its interpreter and its libraries.

    Attributes:
        reads: files, and folders with everything in them; what is not there is left out.
        writes: the same, to read and to write.
    """

    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()

    def and_also(self, reads: Iterable[Path], writes: Iterable[Path]) -> Grants:
        """These grants and more."""
        return Grants((*self.reads, *reads), (*self.writes, *writes))


def wrapped(command: Sequence[str], environment: Mapping[str, str], grants: Grants) -> list[str]:
    """The command line inside bubblewrap.

    There are the system's folders, the worker's interpreter and the libraries of `LD_LIBRARY_PATH` to read, an empty
    home, temporary folder and `/run`, and what is granted: at the place where it lies, and at the place that a link to
    it gives. Nothing else. GPUs are there where the environment lets them be seen.
    """
    gpu = environment.get("CUDA_VISIBLE_DEVICES") != "-1"
    layout = {Path("/proc"): ["--proc"], Path("/dev"): ["--dev-bind", "/dev"] if gpu else ["--dev"]}
    layout |= {folder: _system(folder) for folder in map(Path, _SYSTEM) if folder.exists()}
    layout |= {folder: ["--tmpfs"] for folder in _emptied() if folder.is_dir() and folder != Path("/")}
    libraries = [Path(p) for p in environment.get("LD_LIBRARY_PATH", "").split(":") if p.startswith("/")]
    for option, paths in (("--ro-bind", (*_interpreter(), *libraries, *grants.reads)), ("--bind", grants.writes)):
        for place in (place for path in paths if path.exists() for place in (path.absolute(), path.resolve())):
            layout[place] = [option, str(place)]
    arguments = [shutil.which("bwrap") or "bwrap", *NAMESPACES]
    for place in sorted(layout):  # a folder before what lies in it
        if not _shown_already(place, layout):
            arguments += [*layout[place], str(place)]
    return [*arguments, "--remount-ro", "/", "--", *command]


@dataclass(frozen=True)
class Shown:
    """A path that a worker was shown, and the number of the file that lay there then."""

    path: Path
    inode: int


@dataclass(frozen=True)
class View:
    """Paths that a worker started with certain grants sees and may write to for as long as it lives.

    Attributes:
        readable, writable: what replaced a file since is not shown.
    """

    sandboxed: bool
    readable: frozenset[Shown]
    writable: frozenset[Shown]

    @classmethod
    def of(cls, grants: Grants) -> View:
        """The view of a worker that is started now."""
        return cls(_active, _numbered(grants.reads), _numbered(grants.writes))

    def holds(self, view: View) -> bool:
        """Whether a worker with this view can do what one with `view` could."""
        if not self.sandboxed or not view.sandboxed:
            return self.sandboxed == view.sandboxed
        return _within(view.writable, self.writable) and _within(view.readable, self.readable | self.writable)


def _numbered(paths: Iterable[Path]) -> frozenset[Shown]:
    return frozenset(Shown(path.resolve(), path.stat().st_ino) for path in paths if path.exists())


def _within(entries: frozenset[Shown], shown: frozenset[Shown]) -> bool:
    paths = {one.path for one in shown}
    return all(one in shown or any(folder in paths for folder in one.path.parents) for one in entries)


def _emptied() -> set[Path]:
    return {Path.home().resolve(), Path(tempfile.gettempdir()).resolve(), Path("/run")}


def _system(folder: Path) -> list[str]:
    """A folder of the system as it is: often a link into another one (`/bin` to `usr/bin`)."""
    if folder.is_symlink() and any(folder.resolve().is_relative_to(other) for other in _SYSTEM):
        return ["--symlink", str(folder.readlink())]
    return ["--ro-bind", str(folder)]


@functools.cache
def _interpreter() -> tuple[Path, ...]:
    """Where a worker's Python and its packages lie. Not our own path, which may start with the user's folder."""
    output = subprocess.run([sys.executable, "-I", "-c", _PLACES], capture_output=True, check=True, timeout=20).stdout
    packages = Path(__file__).parents[2]  # an editable install is on no path that Python tells
    return (*(Path(place) for place in json.loads(output) if place), packages)


def _shown_already(place: Path, layout: Mapping[Path, Sequence[str]]) -> bool:
    """Whether the nearest folder around it shows it in the same way, or shows the link that leads to it."""
    mount = next((layout[folder] for folder in place.parents if folder in layout), None)
    if mount is None or mount[0] == "--tmpfs":
        return False
    return mount[0] == layout[place][0] or place.resolve() != place
