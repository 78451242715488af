"""The oracle's outputs and float32's noise, kept from one comparison to the next; apart from what fills it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from converters.arrays import Arrays
from converters.artifact import digest

_LARGEST = 64 << 20
_SCHEME = 6
"""Raised when the oracle, its noise or the order of its samples changes: entries of another scheme are never found."""


def cache_key(checkpoint: Path, inputs: Arrays) -> str:
    """Names an entry by everything that its values depend on: the bytes of the checkpoint and of the inputs that the
    oracle runs, and the versions of the frameworks."""
    sha = hashlib.sha256(f"{_SCHEME} {digest(checkpoint)} {version('keras')} {version('tensorflow')}".encode())
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        sha.update(f"{name} {array.dtype} {array.shape} ".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def recall(cache: Path, key: str, folder: Path) -> bool:
    """Copies an entry to `folder`; False where there is none."""
    entry = cache / key
    if not entry.is_dir():
        return False
    shutil.copytree(entry, folder, dirs_exist_ok=True)
    return True


def remember(cache: Path, key: str, folder: Path) -> None:
    """Keeps what `folder` holds, unless it is large. Whole or not at all: the entry is renamed into place."""
    if sum(p.stat().st_size for p in folder.iterdir()) > _LARGEST:
        return
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=cache, prefix=".draft-"))
    shutil.copytree(folder, draft, dirs_exist_ok=True)
    try:
        os.rename(draft, cache / key)  # noqa: PTH104 - atomic
    except OSError:  # another comparison was first
        shutil.rmtree(draft, ignore_errors=True)
