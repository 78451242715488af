"""A sandbox around workers where bubblewrap can make one: no network, no home, inputs to read, our folders to write.

Without it a worker is only *crash isolation*: its death harms nobody, its code may do what the user may. The policy is
of the whole process (`using`), so that no step can forget it; a worker is inside already and starts none of its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import StepError, UsageError

MODES = ("auto", "require", "off")
BUBBLEWRAP, CRASH_ISOLATION = "bubblewrap", "crash isolation"

_OURS = re.compile(r"edgeport-.*|\..*\.staging-[0-9a-f]{8}")
_NAMESPACES = (
    "--unshare-user-try",
    "--unshare-net",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
    "--proc",
    "/proc",
)

_active = False


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
    """What a worker that is started now would run in."""
    return BUBBLEWRAP if _active else CRASH_ISOLATION


@functools.cache
def unavailable() -> str:
    """Why there can be no sandbox here; empty where there can."""
    found = shutil.which("bwrap")
    if sys.platform != "linux" or found is None:
        return "the command bwrap (bubblewrap) is not installed"
    probe = [found, "--ro-bind", "/", "/", *_NAMESPACES, "--dev", "/dev", "true"]
    try:
        ran = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as cause:
        return f"bwrap does not run ({cause})"
    said = " ".join(ran.stderr.split())[:200] or f"exit status {ran.returncode}"
    return "" if ran.returncode == 0 else f"bwrap cannot make namespaces here ({said})"


def wrapped(
    command: Sequence[str], environment: Mapping[str, str], request: Mapping[str, Any], writable: Sequence[Path]
) -> list[str]:
    """The command line inside bubblewrap.

    The root is there to read; the home, the temporary folder and `/run` are empty but for what the request names (a
    file with its folder: external data lies beside a model). To write there is `writable`, and such folders of the
    request as edgeport itself makes: temporary ones and the staging folder. GPUs are there where the environment lets
    them be seen.
    """
    gpu = environment.get("CUDA_VISIBLE_DEVICES") != "-1"
    inputs, ours = _folders(request)
    hidden = _hidden()
    packages = str(Path(__file__).parents[1])  # an editable install is on no path that Python tells
    places = [Path(p) for p in (*sys.path, sys.prefix, sys.base_prefix, packages) if p]
    arguments = [shutil.which("bwrap") or "bwrap", "--ro-bind", "/", "/", *_NAMESPACES]
    arguments += ["--dev-bind", "/dev", "/dev"] if gpu else ["--dev", "/dev"]
    for folder in sorted(hidden):
        if folder.is_dir() and folder != Path("/"):
            arguments += ["--tmpfs", str(folder)]
    for folder in sorted({p.resolve() for p in places if p.is_dir()} | inputs):
        if any(folder.is_relative_to(place) for place in hidden):
            arguments += ["--ro-bind", str(folder), str(folder)]
    for folder in sorted({p.resolve() for p in writable if p.is_dir()} | ours):
        arguments += ["--bind", str(folder), str(folder)]
    return [*arguments, "--", *command]


@dataclass(frozen=True)
class View:
    """What a worker that is started now, with a certain request, will see and may write to for as long as it lives."""

    sandboxed: bool
    readable: frozenset[Path]
    writable: frozenset[Path]

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> View:
        inputs, ours = _folders(request)
        return cls(_active, frozenset(inputs), frozenset(ours))

    def holds(self, request: Mapping[str, Any]) -> bool:
        """Whether this is as much as a worker of its own would get for `request`, in a sandbox where that would be."""
        if not self.sandboxed:
            return not _active
        wanted = View.of(request)
        seen = self.readable | self.writable
        unseen = (f for f in wanted.readable if any(f.is_relative_to(place) for place in _hidden()))
        return wanted.writable <= self.writable and all(any(f.is_relative_to(p) for p in seen) for f in unseen)


def _hidden() -> set[Path]:
    return {Path.home().resolve(), Path(tempfile.gettempdir()).resolve(), Path("/run")}


def _folders(request: Mapping[str, Any]) -> tuple[set[Path], set[Path]]:
    """What a request makes readable, and which folders of ours it makes writable; all there, all resolved."""
    named = list(_paths(request))
    ours = {folder.resolve() for path in named if (folder := _own_folder(path)) is not None}
    return {found for p in named if (found := (p if p.is_dir() else p.parent).resolve()).is_dir()}, ours


def _paths(document: Any) -> Iterator[Path]:
    """Every text of a request that is an absolute path to something."""
    if isinstance(document, Mapping):
        document = list(document.values())
    if isinstance(document, list | tuple):
        for item in document:
            yield from _paths(item)
    elif isinstance(document, str) and document.startswith("/") and "\0" not in document:
        path = Path(document)
        with contextlib.suppress(OSError):
            if path.exists() or path.parent.is_dir():
                yield path


def _own_folder(path: Path) -> Path | None:
    """The outermost folder of ours that a path lies in; None for what is the user's."""
    chain = [path, *path.parents]
    return next((p for p in reversed(chain) if _OURS.fullmatch(p.name) and p.is_dir() and os.access(p, os.W_OK)), None)
