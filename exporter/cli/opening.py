"""The command line's words on how a source is opened and built. Nothing of the user's is imported here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.checkpoints.load_options import LoadOptions, parse_code, parse_replacement
from converters.checkpoints.pairs import is_architecture, pair_of
from converters.checkpoints.scan_file import check
from converters.common import Common
from converters.errors import EdgeportError, UsageError
from converters.formats import Format, format_of
from exporter.models.settings import split_assignments
from exporter.options import BuildChoices


def opening_of(chosen: dict[str, Any]) -> LoadOptions:
    """Takes the options of `opening_options` out of `chosen`. Raises UsageError."""
    custom, code = chosen.pop("custom_objects"), chosen.pop("model_code")
    runs = bool(custom or code)
    return LoadOptions(
        signature=chosen.pop("signature"),
        custom_objects=tuple(parse_code(text, "--custom-objects") for text in custom),
        model_code=parse_code(code, "--model-code", named=True) if code else None,
        replaced=tuple(parse_replacement(text) for text in chosen.pop("replacements")),
        allow_unsafe=chosen.pop("allow_unsafe"),
        inputs=tuple(chosen.pop("graph_inputs")),
        outputs=tuple(chosen.pop("graph_outputs")),
        folder=str(Path.cwd()) if runs else "",
    )


def choices_of(chosen: dict[str, Any]) -> BuildChoices:
    """Takes the options of `building_options` out of `chosen`. Raises UsageError."""
    settings = split_assignments(chosen.pop("assignments"))
    return BuildChoices(
        **{name: chosen.pop(name) for name in ("architecture", "input_shape", "classes", "weights")}, settings=settings
    )


@contextmanager
def reference_of(path: Path, common: Common, chosen: dict[str, Any]) -> Iterator[Path]:
    """The checkpoint to judge by, found and built as `run` does; with `--bake-preprocess` one that takes uint8.

    What was made of several parts is there while the context lasts, and errors name what the user gave.

    Takes the options of `building_options` and `baking_options` out of `chosen`.

    Raises:
        UsageError: `--preprocess` without `--bake-preprocess`, where it would change nothing; what `find_source`
            raises.
        RefusedError: what `exporter.shipping.baking.baked` raises.
    """
    bake, preprocess = chosen.pop("bake_preprocess"), tuple(chosen.pop("preprocess"))
    choices = choices_of(chosen)
    if preprocess and not bake:
        raise UsageError(
            "--preprocess says what --bake-preprocess puts into the checkpoint, and that is not given.",
            next_step="Add --bake-preprocess, or leave --preprocess out.",
        )
    if format_of(path) not in {None, Format.SAVEDMODEL} and not bake and choices == BuildChoices():
        check(path)
        yield path
        return
    from exporter.run.sources import find_source, open_source
    from exporter.shipping.baking import baked

    with tempfile.TemporaryDirectory(prefix="edgeport-reference-") as folder:
        logging = replace(common, log=Path(folder) / "source.log")
        source = find_source(str(path), choices, common)
        checkpoint = open_source(source, Path(folder), Path(folder) / "source.log", lambda _label, _share: None)
        if bake:
            checkpoint = baked(checkpoint, preprocess, logging, Path(folder))
        try:
            yield checkpoint.path
        except EdgeportError as error:
            if checkpoint.path.is_relative_to(folder):
                _rename(error, checkpoint.path, path)
            raise


@contextmanager
def whole_file(path: Path, weights: str | None) -> Iterator[Path]:
    """The file to look into: of `model.json` the archive of it and its weights, while the context lasts.

    Raises:
        UsageError: weights for another file, or none that can be told.
        RefusedError: the JSON is no Keras model.
    """
    if not is_architecture(path):
        if weights is not None:
            raise UsageError(
                f"--weights is for an architecture in JSON, and {path} is none.",
                next_step="Leave it out, or give the model.json that the weights belong to.",
                file=path,
            )
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="edgeport-pair-") as folder:
        joined = pair_of(path, weights).written(Path(folder))
        try:
            yield joined
        except EdgeportError as error:
            _rename(error, joined, path)
            raise


def _rename(error: EdgeportError, made: Path, given: Path) -> None:
    """Errors name what the user gave."""
    error.message, error.file = error.message.replace(str(made), str(given)), str(given)
