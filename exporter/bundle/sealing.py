"""The last steps of a bundle: reports, digests of every file, and `manifest.json` after all else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from converters.artifact import digest_file
from converters.errors import IntegrityError, UsageError
from exporter.bundle.checking import EXEMPT, artifact_mismatch, is_safe, require_folder
from exporter.bundle.disk import irregular, sync_tree, translated, walk, write_file
from exporter.bundle.golden import read_answers, read_golden
from exporter.bundle.reading import open_bundle
from exporter.bundle.staging import locked
from exporter.manifest.rows import FileRow
from exporter.manifest.schema import ANSWERS, GOLDEN, MANIFEST, Manifest
from exporter.report import MODEL_CARD, render
from exporter.report.evidence import Evidence


def finish(staging: Path, manifest: Manifest) -> Manifest:
    """Completes the bundle in `staging` and returns the manifest as written.

    Writes the reports and the model card, lists every file with its size and SHA-256, computes both digests, brings
    everything to the disk and writes `manifest.json` last.

    Raises:
        IntegrityError: `staging` holds a link or a device, or an artifact's row is not what lies there.
        ResourceError: the disk is full.
    """
    try:
        with ThreadPoolExecutor() as pool:  # digests use every core
            rows = {row.path: row for row in pool.map(partial(_row, staging), _plain_files(staging))}
        for artifact in manifest.artifacts:
            if problem := artifact_mismatch(artifact, list(rows.values())):
                raise _unfit(staging / artifact.path, problem.problem)
        sealed = _with_reports(staging, manifest, rows)
        sync_tree(staging)
    except OSError as cause:
        raise translated(cause, staging) from cause
    write_file(staging / MANIFEST, sealed.to_bytes())
    return sealed


def rewrite_reports(folder: Path) -> Manifest:
    """Writes a bundle's reports again from its manifest; of `files[]` only the reports' own rows change.

    The manifest is replaced last. A crash before that leaves reports that `verify` names, and the same call fixes it.

    Raises:
        IntegrityError: the manifest was edited or damaged, or lists what lies outside the bundle.
        LockedError: a run is about to replace the bundle.
        UsageError: the folder is not there or cannot be written, or its model card was changed.
    """
    require_folder(folder)
    with locked(folder):
        manifest = open_bundle(folder, whole=False).manifest
        rewritten = _with_reports(folder, manifest, {row.path: row for row in manifest.files})
        write_file(folder / MANIFEST, rewritten.to_bytes())
    return rewritten


def _with_reports(folder: Path, manifest: Manifest, rows: dict[str, FileRow]) -> Manifest:
    golden = tuple(row for name, row in rows.items() if name == GOLDEN)
    texts = render(manifest.with_files(golden), gather(folder, manifest, rows))
    _card_untouched(folder / MODEL_CARD, rows.get(MODEL_CARD), texts[MODEL_CARD])
    for name, text in texts.items():
        write_file(folder / name, text.encode())
        rows[name] = _row(folder, name)
    return manifest.with_files(tuple(rows.values()))


def _card_untouched(path: Path, row: FileRow | None, text: str) -> None:
    """A model card is made to be added to: one that somebody changed is not written over.

    Raises:
        UsageError: it is neither as it was listed nor what would be written.
    """
    if row is None or not path.is_file():
        return
    if digest_file(path) not in {row.sha256, hashlib.sha256(text.encode()).hexdigest()}:
        raise UsageError(
            f"{path} was changed since the bundle was made, and would be written over.",
            next_step="Move it out of the bundle, where a card of your own belongs, then run this again.",
            file=path,
            step="bundle",
        )


def _row(folder: Path, name: str) -> FileRow:
    path = folder / name
    return FileRow(path=name, size_bytes=path.stat().st_size, sha256=digest_file(path))


def _plain_files(staging: Path) -> list[str]:
    names = []
    for name, status in walk(staging):
        problem = irregular(status) or (None if is_safe(name) and name.isprintable() else "has an unfit name")
        if problem:
            raise _unfit(staging / name, problem)
        if name not in EXEMPT:
            names.append(name)
    return names


def _unfit(path: Path, problem: str) -> IntegrityError:
    return IntegrityError(
        f"{path.name!r} cannot go into the bundle: {problem}.",
        next_step="Run again with --no-cache.",
        file=path,
        step="bundle",
    )


Read = TypeVar("Read")

_MAX_BYTES = 256 << 20


def gather(folder: Path, manifest: Manifest, rows: Mapping[str, FileRow]) -> Evidence:
    """Reads what there is of it in the bundle `folder`, whose files are `rows`; omits what is missing or damaged."""
    golden = _trusted(folder, GOLDEN, rows, read_golden)
    inputs, outputs = golden if golden else ({}, {})
    samples = {}
    for index, row in enumerate(manifest.timings):
        raw = _trusted(folder, row.samples_file, rows, _read_samples) if row.samples_file else None
        if raw is not None:
            samples[index] = raw
    return Evidence(inputs, outputs, _trusted(folder, ANSWERS, rows, read_answers) or {}, samples)


def _trusted(folder: Path, name: str, rows: Mapping[str, FileRow], read: Callable[[Path], Read]) -> Read | None:
    row, path = rows.get(name), folder / name
    try:
        if row is None or row.size_bytes > _MAX_BYTES or path.is_symlink() or digest_file(path) != row.sha256:
            return None
        return read(path)
    except (OSError, IntegrityError, ValueError, MemoryError):
        return None


def _read_samples(path: Path) -> npt.NDArray[np.float64] | None:
    """Milliseconds from int64 (n, 2) rows of round and nanoseconds."""
    raw = np.load(path, allow_pickle=False)
    fits = raw.ndim == 2 and raw.shape[1] == 2 and len(raw) > 0 and np.issubdtype(raw.dtype, np.integer)
    return raw[:, 1].astype(np.float64) / 1e6 if fits else None
