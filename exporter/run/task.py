"""One run: what the user asked for, settled before anything is opened; then the checkpoint and the place to work in."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from converters.checkpoints.checkpoint import Checkpoint
from converters.errors import EdgeportError
from converters.progress import Progress
from converters.routes import Target
from exporter.bundle import check_output, staged
from exporter.options import RunOptions
from exporter.run.adopt import targets_from
from exporter.run.plan import targets_of
from exporter.run.sources import Source, find_source, open_source
from exporter.run.workspace import Place, awaiting_judgement, shares
from exporter.shipping.baking import baked
from exporter.shipping.profiles import settled
from exporter.shipping.terms import Terms


@dataclass(frozen=True)
class Plan:
    """The source and targets of a run: nothing was opened yet, and what can be refused by now was."""

    source: Source
    targets: tuple[Target, ...]
    output: Path
    options: RunOptions


@dataclass(frozen=True)
class Task:
    """The settings and folders that every step of a run uses.

    Attributes:
        source: what the user named.
        origin: the checkpoint that it is, or that was built of it.
        checkpoint: what is converted; another than `origin` where preprocessing was baked in.
        targets: what is to be made.
    """

    source: Source
    origin: Checkpoint
    checkpoint: Checkpoint
    targets: tuple[Target, ...]
    options: RunOptions
    place: Place


def planned(name_or_path: str, output: Path, options: RunOptions) -> Plan:
    """Settles what the source, the output and the options leave open.

    Raises:
        UsageError: options that contradict each other, the source or the output.
        RefusedError: the source or a file of labels is damaged or unsafe.
    """
    options = settled(options)
    targets = targets_of(options)
    Terms.of(options).check()
    source = find_source(name_or_path, options.build, options.common)
    source = replace(source, given=options.workspace.source_name or name_or_path)
    targets = targets_from(source.kind, targets, options)
    check_output(output, force=options.workspace.force)
    return Plan(source, targets, output, options)


@contextlib.contextmanager
def working(plan: Plan, progress: Progress) -> Iterator[Task]:
    """The run's folders and its checkpoint, built where it has to be. Leaving the block well publishes the bundle.

    Raises:
        EdgeportError: the output is locked or cannot be written, or the checkpoint cannot be built.
    """
    output, force = plan.output, plan.options.workspace.force
    with (
        tempfile.TemporaryDirectory(prefix="edgeport-") as scratch,
        staged(output, force=force) as staging,
        contextlib.ExitStack() as workers,
    ):
        place = Place(output, staging, Path(scratch), shares(plan.options, progress))
        place.log.touch()  # it is in every bundle, also where the frameworks say nothing
        options = replace(plan.options, common=replace(plan.options.common, log=place.log))
        origin = open_source(plan.source, place.scratch, place.log, place.share("build"))
        baking = options.ship.bake_preprocess
        checkpoint = baked(origin, options.ship.preprocess, options.common, place.scratch) if baking else origin
        place = workers.enter_context(awaiting_judgement(checkpoint, options, place))
        workers.enter_context(_as_given(plan, place))
        yield Task(plan.source, origin, checkpoint, plan.targets, options, place)


@contextlib.contextmanager
def _as_given(plan: Plan, place: Place) -> Iterator[None]:
    """Errors name what the user gave: the source instead of what was made of it, the bundle instead of its staging."""
    try:
        yield
    except EdgeportError as error:
        made = re.compile(rf"{re.escape(str(place.scratch))}/[^\s'\",:;)]*[^\s'\",:;).]")
        for name in ("message", "next_step", "file"):
            text = getattr(error, name)
            if text is not None:
                text = made.sub(lambda _: plan.source.given, text)
                setattr(error, name, text.replace(str(place.staging), str(place.output)))
        raise
