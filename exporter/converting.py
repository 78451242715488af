"""All targets of a run: one conversion for each batch size, their results as one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from converters.artifact import Artifact
from converters.checkpoints.checkpoint import Checkpoint
from converters.derive import Derived, Makers, convert_all
from converters.formats import Format
from converters.routes import Conversion, ConvertJob, Progress, Target
from exporter.reuse import FINISHED, HIDDEN


@dataclass(frozen=True)
class Finishing:
    """What is done with files that are whole.

    Attributes:
        batch_of: the batch size of a format's files.
        stamp: writes the contract into an artifact.
        note: told of a batch size's conversion once its artifacts are stamped.
    """

    batch_of: Callable[[Format], int | None]
    stamp: Callable[[Artifact], Artifact]
    note: Callable[[Checkpoint, ConvertJob, Conversion], None]


def convert_batches(
    checkpoint: Checkpoint, staging: Path, how: ConvertJob, steps: tuple[Makers, Finishing], progress: Progress
) -> Derived:
    """Makes every target; those of a dynamic batch first, so that the conversion's signature is theirs.

    Raises:
        EdgeportError: see `converters.derive.convert_all`.
    """
    makers, finishing = steps
    groups: dict[int | None, list[Target]] = {}
    for target in how.targets:
        groups.setdefault(finishing.batch_of(target.format), []).append(target)
    conversion, bases = Conversion(), dict[Format, Artifact]()
    for k, batch in enumerate(sorted(groups, key=lambda size: size or 0)):
        targets = tuple(groups[batch])
        own = replace(how, targets=targets, options=replace(how.options, batch=batch))
        share = _part(progress, k, len(groups))
        derived = convert_all(checkpoint, staging, own, makers, share)
        bases |= {target.format: derived.bases[target.format] for target in targets if target.format in derived.bases}
        with ThreadPoolExecutor() as pool:
            derived.conversion.artifacts = list(pool.map(finishing.stamp, derived.conversion.artifacts))
        finishing.note(checkpoint, own, derived.conversion)
        bases = _set_aside(bases, staging, k) if k + 1 < len(groups) else bases
        conversion = derived.conversion if k == 0 else _joined(conversion, derived.conversion)
    return Derived(conversion, bases)


def remove_hidden(staging: Path) -> None:
    """Removes the float32 files that were made for the sake of others, and the notes for a run after a killed one."""
    for folder in (*staging.glob(f"{HIDDEN}*"), staging / FINISHED):
        shutil.rmtree(folder, ignore_errors=True)


def _part(progress: Progress, k: int, count: int) -> Progress:
    return lambda label, share: progress(label, (k + share) / count)


def _joined(first: Conversion, second: Conversion) -> Conversion:
    """Both conversions' files; what is said of the source is the first's, for it is the same source."""
    known = first if first.signature is not None else second
    return replace(known, artifacts=[*first.artifacts, *second.artifacts], failures=[*first.failures, *second.failures])


def _set_aside(bases: dict[Format, Artifact], staging: Path, k: int) -> dict[Format, Artifact]:
    """Renames the hidden folder, whose file names another batch size would take again."""
    hidden = staging / HIDDEN
    if not hidden.is_dir():
        return bases
    aside = hidden.rename(staging / f"{HIDDEN}-{k}")
    return {
        fmt: replace(base, path=aside / base.path.name) if base.path.parent == hidden else base
        for fmt, base in bases.items()
    }
