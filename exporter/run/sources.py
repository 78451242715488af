"""SOURCE on the command line -> a checkpoint on disk: a path, a name in the table, or weights with an architecture."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from converters.checkpoints.checkpoint import WEIGHTS, Checkpoint, SourceKind
from converters.checkpoints.identify import checkpoint_index, identify
from converters.checkpoints.pairs import Pair, is_architecture, pair_of
from converters.checks.values import did_you_mean
from converters.common import Common
from converters.errors import EdgeportError, RefusedError, UsageError
from converters.progress import Progress
from exporter.models.build import BuildOptions, build_in_worker
from exporter.models.table import ARCHITECTURES
from exporter.options import BuildChoices


@dataclass(frozen=True)
class Source:
    """The source that the user named, known well enough to refuse it before any work.

    Attributes:
        given: as on the command line; it stands in the manifest.
        checkpoint: the file that was given; None for an architecture's name.
        build: how to make the checkpoint that is converted; None where `checkpoint` is it.
        pair: an architecture and its weights, of which `checkpoint` is made.
    """

    given: str
    kind: str
    checkpoint: Checkpoint | None
    build: BuildOptions | None
    pair: Pair | None = None


def find_source(name_or_path: str, choices: BuildChoices, common: Common = Common()) -> Source:
    """Tells what SOURCE is, without a framework.

    Raises:
        UsageError: neither a path nor a name, or options that do not fit it.
        RefusedError: a file that is damaged, unsafe, or weights without an architecture.
    """
    path = Path(name_or_path)
    if name_or_path in ARCHITECTURES and not path.exists():
        if choices.architecture:
            raise UsageError(f"`{name_or_path}` is an architecture already.", next_step="Leave --architecture out.")
        return Source(name_or_path, "architecture", None, _build(name_or_path, choices, choices.weights, common.seed))
    exists = path.exists() or path.is_symlink() or checkpoint_index(path) is not None
    if not exists and path.name == name_or_path and not path.suffix:
        raise _no_such(name_or_path)
    if is_architecture(path):
        return _pair(name_or_path, choices, common)
    checkpoint = identify(path, common.opening)
    _check_choices(name_or_path, checkpoint, choices)
    if checkpoint.kind not in WEIGHTS or common.opening.model_code:
        return Source(name_or_path, checkpoint.kind.value, checkpoint, None)
    if not choices.architecture:
        raise RefusedError(
            f"{name_or_path} holds weights only, no architecture.",
            next_step="Say what they belong to: --architecture NAME (see `edgeport models`), or --model-code "
            "MODULE:FUNCTION, a function of yours that builds the model.",
            file=name_or_path,
            step="load",
        )
    build = _build(choices.architecture, choices, str(checkpoint.path), common.seed)
    return Source(name_or_path, checkpoint.kind.value, checkpoint, build)


def _pair(given: str, choices: BuildChoices, common: Common) -> Source:
    """`model.json` with the weights that `--weights` names or that lie beside it. Raises as `find_source`."""
    pair = pair_of(Path(given), choices.weights)
    with tempfile.TemporaryDirectory(prefix="edgeport-pair-") as folder:
        joined = pair.written(Path(folder))
        try:
            checkpoint = identify(joined, common.opening)
        except EdgeportError as error:
            error.message, error.file = error.message.replace(str(joined), given), given
            raise
    _check_choices(given, checkpoint, replace(choices, weights=None))
    return Source(given, "keras", checkpoint, None, pair)


def _check_choices(name_or_path: str, checkpoint: Checkpoint, choices: BuildChoices) -> None:
    """Raises UsageError where an option is for another kind of source."""
    opening, weights = checkpoint.opening, checkpoint.kind in WEIGHTS
    if choices != BuildChoices() and (not weights or opening.model_code):
        what = "is a whole model" if not weights else "gets its model from --model-code"
        raise UsageError(
            f"{name_or_path} {what}: --architecture, --classes, --input-shape, --weights and --set do not apply.",
            next_step="Leave them out, or name an architecture of `edgeport models` instead.",
            file=name_or_path,
        )
    keras = {SourceKind.KERAS, SourceKind.H5}
    fits = {
        "--signature": (opening.signature, {SourceKind.SAVEDMODEL, SourceKind.TFLITE}),
        "--model-code": (opening.model_code, WEIGHTS),
        "--custom-objects": (opening.custom_objects, keras | WEIGHTS),
        "--replace": (opening.replaced, keras),
        "--allow-unsafe": (opening.allow_unsafe, keras | {SourceKind.SAVEDMODEL, SourceKind.FROZEN_GRAPH}),
        "--graph-input": (opening.inputs, {SourceKind.FROZEN_GRAPH}),
        "--graph-output": (opening.outputs, {SourceKind.FROZEN_GRAPH}),
    }
    for option, (value, kinds) in fits.items():
        if value and checkpoint.kind not in kinds:
            raise UsageError(
                f"{option} does not apply to {name_or_path}, which is of the kind {checkpoint.kind.value}.",
                next_step="Leave it out; docs/sources.md says what each kind of source takes.",
                file=name_or_path,
            )


def open_source(source: Source, folder: Path, log: Path, progress: Progress) -> Checkpoint:
    """The checkpoint to convert; one that has to be built is written to `folder`. Raises what building raises."""
    if source.pair is not None:
        assert source.checkpoint is not None
        return identify(source.pair.written(folder), source.checkpoint.opening)
    if source.build is None:
        assert source.checkpoint is not None
        return source.checkpoint
    name = source.checkpoint.name if source.checkpoint else source.build.name
    path = folder / f"{name}.keras"
    build_in_worker(source.build, path, progress=progress, log=log)
    built = identify(path)
    return replace(built, sha256=source.checkpoint.sha256, scanned=built.sha256) if source.checkpoint else built


def _build(name: str, choices: BuildChoices, weights: str | None, seed: int) -> BuildOptions:
    options = BuildOptions(name, choices.input_shape, choices.classes, choices.settings, weights, seed)
    options.plan()
    return options


def _no_such(name_or_path: str) -> UsageError:
    return UsageError(
        f"There is no file and no architecture `{name_or_path}`.",
        next_step=f"{did_you_mean(name_or_path, ARCHITECTURES)}`edgeport models` lists the names; a checkpoint is "
        "given by its path.",
        file=name_or_path,
    )
