"""Bytes to disk that stay there, and the operating system's errors as ours."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from converters.errors import EdgeportError, ResourceError, StepError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_WRITABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
    errno.ENOENT,
    errno.EEXIST,
}
_AT_FDCWD = -100  # linux/fcntl.h
_RENAME_EXCHANGE = 1 << 1  # linux/fs.h


def translated(cause: OSError, path: Path) -> EdgeportError:
    """The operating system's error about `path` as ours: 7 where the disk is full, 2 where it cannot be written."""
    why = cause.strerror or str(cause)
    if cause.errno in _FULL:
        return ResourceError(
            f"There is no room left to write {path} ({why}).",
            next_step="Free some disk space, or choose an output folder on another disk.",
            file=path,
            step="bundle",
        )
    if cause.errno in _NOT_WRITABLE:
        return UsageError(
            f"The output {path} cannot be written ({why}).",
            next_step="Choose a folder that you may write to.",
            file=path,
            step="bundle",
        )
    return StepError(
        f"Writing {path} failed ({why}).", next_step="Check the disk, then run again.", file=path, step="bundle"
    )


def disk_full(cause: OSError) -> bool:
    return cause.errno in _FULL


def write_file(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all: a sibling temporary file, fsync, rename.

    Raises:
        ResourceError, UsageError, StepError: see `translated`.
    """
    part = path.with_name(f".{path.name[:200]}.part")
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as stream:  # x: never through a link that a stranger's bundle may hold
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as cause:
        with contextlib.suppress(OSError):
            part.unlink()
        raise translated(cause, path) from cause


def sync(path: Path) -> None:
    """fsync of one file or folder."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(folder: Path) -> None:
    """fsync of every file and folder below `folder` and of itself, children first."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below `folder` that is not a folder, as (relative POSIX path, lstat), sorted. Follows no link."""
    files: list[tuple[str, os.stat_result]] = []
    pending = [(folder, "")]
    while pending:
        parent, prefix = pending.pop()
        with os.scandir(parent) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append((Path(entry.path), name + "/"))
                else:
                    files.append((name, entry.stat(follow_symlinks=False)))
    yield from sorted(files, key=lambda item: item[0])


def irregular(status: os.stat_result) -> str | None:
    """Why a file may not be in a bundle; None for a plain file with one name."""
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_nlink > 1:
        return "is a hard link: another name can change it"
    return None


def exchange(one: Path, other: Path) -> bool:
    """Swaps two paths in one step of the kernel (Linux's renameat2). False where the system cannot do it."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.EINVAL, errno.ENOSYS}:
        return False
    raise OSError(code, os.strerror(code), str(one))
