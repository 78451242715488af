"""Where a bundle grows: a sibling of OUT, under a lock, renamed onto OUT when it is whole.

Siblings of `OUT`:
    .OUT.lock           the kernel's lock; the file stays, and is free as soon as its holder ends, however it ends
    .OUT.staging-<id>   the bundle in the making; whoever holds the lock may take from those of killed runs
                        (`abandoned`) and sweeps them when it ends
    .OUT.previous       the old bundle for the two renames that replace it where the kernel cannot swap; put back by
                        the next run if the machine died between them
    OUT.old-<n>         with `force`: what lay at OUT and was not a bundle of ours: only what we wrote is ever deleted
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from converters.errors import EdgeportError, IntegrityError, LockedError, StepError, UsageError
from exporter.bundle.checking import foreign_files
from exporter.bundle.disk import disk_full, exchange, sync, translated
from exporter.manifest.reader import load
from exporter.manifest.schema import MANIFEST

_LOOP = "a loop of symbolic links"


def check_output(output: Path, *, force: bool = False) -> Path:
    """Refuses, before any work, an output that is not ours; returns its absolute path.

    OUT may be absent, an empty folder, or a bundle that holds only what its manifest lists. With `force` it may be any
    folder: what lies there is then kept as `OUT.old-<n>`.

    Raises:
        UsageError: OUT is a file, a mount point, or a folder with files that edgeport did not write.
    """
    try:
        path = output.resolve()
        if path.is_symlink():  # Python 3.13 gives a loop of symbolic links back, where others raise RuntimeError
            raise OSError(errno.ELOOP, _LOOP)
        if not path.exists():
            return path
        if not path.is_dir():
            raise _refused(path, "is a file, not a folder", "Name a folder with -o.")
        if path.is_mount():
            raise _refused(path, "is a mount point, which cannot be replaced", f"Name a folder inside it: {path}/out.")
        if not force and (why := _why_foreign(path)):
            raise _refused(
                path, why, "Choose another folder, or use --force: it keeps this one as a sibling named .old-1."
            )
    except (OSError, RuntimeError) as cause:
        raise translated(_as_os_error(cause), output) from cause
    return path


@contextlib.contextmanager
def locked(output: Path) -> Iterator[None]:
    """Holds OUT's lock. Raises LockedError at once where another process holds it."""
    path = _sibling(output.resolve(), "lock")
    lock = FileLock(str(path), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        if not path.exists():  # a file system that makes no files, which the lock takes for a passing state
            raise translated(OSError(errno.EACCES, os.strerror(errno.EACCES)), output) from None
        raise LockedError(
            f"{output} is in use by another edgeport run.",
            next_step="Wait for that run to end, or choose another output folder.",
            file=output,
            step="bundle",
        ) from None
    except OSError as cause:
        raise translated(cause, output) from cause
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def staged(output: Path, *, force: bool = False) -> Iterator[Path]:
    """A folder to make a bundle in; leaving the block publishes it as `output`, an error leaves `output` as it was.

    The block must end with `finish(staging, manifest)`. The staging folder is gone on every way out.

    Raises:
        UsageError: `output` is not ours or cannot be written.
        LockedError: another run holds it.
        ResourceError: the disk is full, here or in the block.
    """
    path = check_output(output, force=force)
    parents = _make_parents(path)
    try:
        with locked(path):
            _restore(path)
            check_output(path, force=force)  # another run may have ended since
            leftovers = _stagings(path)
            staging = _sibling(path, f"staging-{secrets.token_hex(4)}")
            try:
                _make_folder(staging, path)
                yield staging
                _publish(staging, path)
            except OSError as cause:
                if disk_full(cause):
                    raise translated(cause, path) from cause
                raise
            finally:
                for folder in (staging, *leftovers):
                    shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        _remove_parents(path, parents)
        raise


def _why_foreign(path: Path) -> str | None:
    with os.scandir(path) as entries:
        if next(entries, None) is None:
            return None
    if not (path / MANIFEST).exists():
        return "is neither empty nor an edgeport bundle"
    try:
        extra = foreign_files(path, load(path / MANIFEST))
    except IntegrityError:
        return f"holds a {MANIFEST} that is damaged or not edgeport's, so its files may not be replaced"
    shown = ", ".join(extra[:3]) + (f" and {len(extra) - 3} more" if len(extra) > 3 else "")
    return f"is a bundle that also holds files edgeport did not write: {shown}" if extra else None


def _publish(staging: Path, path: Path) -> None:
    """Renames the finished bundle onto OUT: readers see the old bundle or the new one."""
    if not (staging / MANIFEST).is_file():
        raise StepError(
            f"No bundle was finished for {path}.", next_step="Run again with --debug and report this.", step="bundle"
        )
    try:
        if not path.exists():
            staging.rename(path)
        elif _why_foreign(path):  # forced, or the user put files there while we worked
            _replace_by_renames(staging, path, _free_name(path))
        elif exchange(staging, path):
            pass  # the old bundle lies in `staging` now and goes with it
        else:
            previous = _sibling(path, "previous")
            _replace_by_renames(staging, path, previous)
            shutil.rmtree(previous, ignore_errors=True)
        sync(path.parent)
    except OSError as cause:
        raise translated(cause, path) from cause


def _replace_by_renames(staging: Path, path: Path, aside: Path) -> None:
    path.rename(aside)
    try:
        staging.rename(path)
    except BaseException:
        aside.rename(path)
        raise


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return aside


def abandoned(output: Path, staging: Path) -> tuple[Path, ...]:
    """The staging folders that our killed runs left, newest first; ask while `staging` is held.

    Only folders of this user: in a shared place anyone may make one of that name.
    """
    others = [(folder.stat(), folder) for folder in _stagings(output.resolve()) if folder != staging]
    folders = [(status.st_mtime, folder) for status, folder in others if status.st_uid == os.getuid()]
    return tuple(folder for _, folder in sorted(folders, reverse=True))


def _restore(path: Path) -> None:
    """Under the lock: puts back a bundle that a dying run had moved aside, or removes it where the new one is there."""
    previous = _sibling(path, "previous")
    try:
        if previous.is_dir() and not path.exists():
            previous.rename(path)
    except OSError as cause:
        raise translated(cause, path) from cause
    if previous.is_dir() and not previous.is_symlink():
        shutil.rmtree(previous, ignore_errors=True)


def _stagings(path: Path) -> list[Path]:
    """The staging folders beside `path`."""
    ours = re.compile(re.escape(_sibling(path, "staging-").name) + "[0-9a-f]{8}")
    try:
        entries = [entry for entry in path.parent.iterdir() if ours.fullmatch(entry.name)]
        return [folder for folder in entries if folder.is_dir() and not folder.is_symlink()]
    except OSError as cause:
        raise translated(cause, path) from cause


def _sibling(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _make_folder(staging: Path, path: Path) -> None:
    try:
        staging.mkdir()
    except OSError as cause:
        raise translated(cause, path) from cause


def _make_parents(path: Path) -> list[Path]:
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        _remove_parents(path, missing)
        raise translated(cause, path) from cause
    return missing


def _remove_parents(path: Path, parents: list[Path]) -> None:
    """Removes the folders that were made for OUT, as far as they are empty but for our lock."""
    if not parents:
        return
    with contextlib.suppress(OSError):
        if {entry.name for entry in path.parent.iterdir()} <= {_sibling(path, "lock").name}:
            _sibling(path, "lock").unlink(missing_ok=True)
        for folder in parents:
            folder.rmdir()


def _refused(path: Path, why: str, next_step: str) -> EdgeportError:
    return UsageError(f"The output {path} {why}.", next_step=next_step, file=path, step="bundle")


def _as_os_error(cause: OSError | RuntimeError) -> OSError:
    return cause if isinstance(cause, OSError) else OSError(errno.ELOOP, _LOOP)
