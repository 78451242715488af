"""Installs, lists and removes the environments of targets. One is made beside its place and renamed when it works."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from filelock import FileLock, Timeout

from converters.artifact import size_of
from converters.errors import EdgeportError, LockedError, ResourceError, StepError
from converters.progress import Progress
from exporter.environments.commands import STEP
from exporter.environments.request import Request
from validate.targets.environment import RECORD, Environment, environment_at, environments_folder

INSTALLERS = {name: f"exporter.environments.{name}:made" for name in ("arm64", "browser", "qnn")}
"""By target that can be installed, `module:function` that makes its environment."""

Maker = Callable[["Site", Request, Progress], Environment]


@dataclass(frozen=True)
class Site:
    """Where an environment is made.

    Attributes:
        folder: an empty folder beside the one that it will be.
        downloads: kept where making it fails, so that the next time begins there; gone once it is made.
    """

    folder: Path
    downloads: Path


def install(name: str, request: Request = Request(), progress: Progress = lambda _label, _share: None) -> Environment:
    """Makes the environment of a target; one that is there is replaced once the new one works.

    Raises:
        StepError: it could not be fetched, or does not work.
        LockedError: another process makes it.
        ResourceError: the disk is full.
    """
    module, _, function = INSTALLERS[name].partition(":")
    make: Maker = getattr(import_module(module), function)
    home = environments_folder()
    place, site = home / name, Site(home / f".{name}.new", home / f".{name}.downloads")
    with _translated(home), _locked(name, home):
        for folder in (site.folder, site.downloads):
            folder.mkdir(parents=True, exist_ok=folder == site.downloads)
        try:
            environment = make(site, request, progress)
            environment = replace(environment, size_bytes=size_of(site.folder))
            (site.folder / RECORD).write_text(json.dumps(environment.to_json(), indent=2) + "\n")
            _renamed(site.folder, place)
        finally:
            _gone(site.folder)
        _gone(site.downloads)
    made = environment_at(place)
    assert made is not None
    return made


def remove(name: str) -> bool:
    """Removes the environment of a target and what an attempt left; False where nothing was there."""
    home = environments_folder()
    folders = [folder for folder in (home / name, home / f".{name}.downloads") if folder.exists()]
    if not folders:
        return False
    with _translated(home), _locked(name, home):
        for folder in folders:
            aside = home / f".{name}.old"
            _gone(aside)
            folder.rename(aside)  # at once, so that none is ever half there
            _gone(aside)
    return True


def _renamed(folder: Path, place: Path) -> None:
    """Puts a folder in another's place."""
    aside = place.with_name(f".{place.name}.old")
    _gone(aside)
    if place.exists():
        place.rename(aside)
    folder.rename(place)
    _gone(aside)


def _gone(folder: Path) -> None:
    """Removes a folder, also where a package made folders in it that nobody may write to."""

    def writable(remove: Callable[[str], object], path: str, _cause: object) -> None:
        os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120 - as rmtree hands it over
        remove(path)

    if folder.exists():
        shutil.rmtree(folder, onerror=writable)


@contextlib.contextmanager
def _locked(name: str, home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(home / f".{name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(
            f"Another process is installing or removing {name}.",
            next_step="Wait for it to end, then run the same command again.",
            step=STEP,
        ) from None
    try:
        _gone(home / f".{name}.new")
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _translated(home: Path) -> Iterator[None]:
    """What the file system refuses, as our errors."""
    try:
        yield
    except OSError as cause:
        kind: type[EdgeportError] = ResourceError if cause.errno in {errno.ENOSPC, errno.EDQUOT} else StepError
        raise kind(
            f"{cause.filename or home} cannot be written: {cause.strerror or cause}.",
            next_step="Make room there, or name another folder with EDGEPORT_TARGETS.",
            step=STEP,
        ) from cause
