"""All targets of a run: the source is opened and says what it is; then its files are made, batch size by batch size.

shelf or worker -> facts -> (agree, calibrate) -> float32 artifacts -> reduced ones -> stamped
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from converters.artifact import Artifact
from converters.checkpoints.checkpoint import FINISHED as FINISHED_KINDS
from converters.convert import Converter, Failure
from converters.facts import Facts
from converters.options import ConvertOptions
from converters.progress import Progress
from converters.reduced_precisions import HIDDEN, Conversion, DeriveJob, Orders, completed, float32_share
from converters.routes import Target
from converters.stamping import stamped
from exporter.bundle import abandoned
from exporter.run.adopt import Adopted
from exporter.run.artifact_cache import FINISHED, Shelf
from exporter.run.task import Task
from exporter.shipping.profiles import batch_of


@dataclass(frozen=True)
class Group:
    """Targets of one batch size.

    Attributes:
        options: with that batch size.
        progress: the group's share of the conversion's.
    """

    orders: Orders
    options: ConvertOptions
    progress: Progress


@dataclass(frozen=True)
class Opened:
    """A group whose source has said what it is.

    Attributes:
        taken: float32 files from the shelf.
        converter: makes the others; None where all are there, and then nothing was loaded.
    """

    group: Group
    facts: Facts
    taken: tuple[Artifact, ...]
    converter: Converter | Adopted | None


@dataclass(frozen=True)
class OpenSource:
    """A run's source: what it says of itself, and what has to be done to convert it.

    Attributes:
        first: the group that is made first, of a dynamic batch where there is one: the facts are its.
        others: groups of other batch sizes, which are opened in their turn.
    """

    first: Opened
    others: tuple[Group, ...]
    shelf: Shelf

    @property
    def facts(self) -> Facts:
        return self.first.facts


@contextlib.contextmanager
def open_targets(task: Task) -> Iterator[OpenSource]:
    """The source of a run, from the shelf where every float32 file is there, else in a worker that loads it.

    Raises:
        EdgeportError: the source cannot be loaded or traced: nothing can be made of it.
    """
    shelf = _shelf(task)
    first, *others = _groups(task)
    with _open_group(task, shelf, first) as opened:
        yield OpenSource(opened, tuple(others), shelf)


def convert(task: Task, source: OpenSource, job: DeriveJob) -> Conversion:
    """Makes every target in staging. With no artifact there is no bundle: the first failure is the run's.

    Raises:
        EdgeportError: the source cannot be opened again, or nothing could be made.
    """
    parts = [_make_group(task, source.shelf, source.first, job)]
    for group in source.others:
        with _open_group(task, source.shelf, group) as opened:
            parts.append(_make_group(task, source.shelf, opened, job))
    conversion = Conversion(
        tuple(artifact for part in parts for artifact in part.artifacts),
        tuple(failure for part in parts for failure in part.failures),
        {fmt: base for part in parts for fmt, base in part.bases.items()},
        frozenset(name for part in parts for name in part.reused),
    )
    if not conversion.artifacts:
        raise conversion.failures[0].error
    return conversion


def remove_hidden(staging: Path) -> None:
    """Removes the float32 files that were made for the sake of others, and the notes for a run after a killed one."""
    for folder in (*staging.glob(f"{HIDDEN}*"), staging / FINISHED):
        shutil.rmtree(folder, ignore_errors=True)


def _groups(task: Task) -> list[Group]:
    """The groups by batch size, a dynamic one first, so that the facts come from it."""
    by_batch: dict[int | None, list[Target]] = {}
    for target in task.targets:
        by_batch.setdefault(batch_of(target.format, task.options), []).append(target)
    place, name = task.place, task.checkpoint.name
    return [
        Group(
            Orders.of(by_batch[batch], name, place.staging, f"{HIDDEN}-{k}" if k else HIDDEN),
            replace(task.options.convert, batch=batch),
            _part(place.share("convert"), k, len(by_batch)),
        )
        for k, batch in enumerate(sorted(by_batch, key=lambda size: size or 0))
    ]


def _part(progress: Progress, k: int, count: int) -> Progress:
    return lambda label, share: progress(label, (k + share) / count)


def _shelf(task: Task) -> Shelf:
    """Where finished artifacts may be taken from."""
    place, workspace, checkpoint = task.place, task.options.workspace, task.checkpoint
    runs_code = task.options.common.opening.runs_code  # what such code depends on has no digest
    if workspace.no_cache or runs_code or checkpoint.kind in FINISHED_KINDS:
        return Shelf(checkpoint)
    leftovers = abandoned(place.output, place.staging)
    check = task.options.common.check
    return Shelf(checkpoint, place.output, workspace.cache, leftovers, place.staging / FINISHED, check)


@contextlib.contextmanager
def _open_group(task: Task, shelf: Shelf, group: Group) -> Iterator[Opened]:
    taken = shelf.take(group.orders.float32, group.options)
    targets = {Target.of(artifact) for artifact in taken.artifacts}
    missing = [order for order in group.orders.float32 if order.target not in targets]
    if not missing and taken.facts is not None:
        yield Opened(group, taken.facts, taken.artifacts, None)
        return
    maker = Adopted if task.checkpoint.kind in FINISHED_KINDS else Converter
    progress = float32_share(group.orders, group.progress)
    with maker(task.checkpoint, missing, group.options, task.options.common, progress) as converter:
        yield Opened(group, converter.open(), taken.artifacts, converter)


def _make_group(task: Task, shelf: Shelf, opened: Opened, job: DeriveJob) -> Conversion:
    """Everything of a group. A float32 file is noted as soon as it is whole, for the run after one that is killed."""
    group, facts, results = opened.group, opened.facts, list[Artifact | Failure]()
    if opened.converter is not None:
        for result in opened.converter.float32():
            results.append(result)
            if isinstance(result, Artifact):
                shelf.note([result], facts, group.options)
        opened.converter.close()  # its memory is what the reduced precisions are made in
    shelf.keep([result for result in results if isinstance(result, Artifact)], facts, group.options)
    float32 = sorted([*opened.taken, *results], key=partial(_place_of, group.orders))
    conversion = completed(group.orders, float32, job, group.progress)
    assert job.contract is not None
    with ThreadPoolExecutor() as pool:
        artifacts = tuple(pool.map(partial(stamped, contract=job.contract), conversion.artifacts))
    shelf.note_stamped(artifacts, facts, group.options)
    reused = frozenset(artifact.path.name for artifact in opened.taken)
    return replace(conversion, artifacts=artifacts, reused=reused)


def _place_of(orders: Orders, result: Artifact | Failure) -> int:
    targets = [order.target for order in orders.float32]
    return targets.index(Target.of(result) if isinstance(result, Artifact) else result.target)
