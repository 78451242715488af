"""The command line's words on how a source is opened -> an LoadOptions. Nothing of the user's is imported here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.checkpoints.load_options import LoadOptions, parse_code, parse_replacement
from converters.checkpoints.pairs import is_architecture, pair_of
from converters.common import Common
from converters.errors import UsageError


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


@contextmanager
def reference_of(path: Path, common: Common, chosen: dict[str, Any]) -> Iterator[Path]:
    """The checkpoint to judge by: with `--bake-preprocess` one that takes uint8, while the context lasts.

    Takes the options of `baking_options` out of `chosen`.

    Raises:
        UsageError: `--preprocess` without `--bake-preprocess`, where it would change nothing.
        RefusedError: what `exporter.shipping.baking.baked` raises.
    """
    bake, preprocess = chosen.pop("bake_preprocess"), tuple(chosen.pop("preprocess"))
    if preprocess and not bake:
        raise UsageError(
            "--preprocess says what --bake-preprocess puts into the checkpoint, and that is not given.",
            next_step="Add --bake-preprocess, or leave --preprocess out.",
        )
    if not bake and is_architecture(path):
        with tempfile.TemporaryDirectory(prefix="edgeport-pair-") as folder:
            yield pair_of(path).written(Path(folder))
        return
    if not bake:
        yield path
        return
    from converters.checkpoints.identify import identify
    from exporter.shipping.baking import baked

    with tempfile.TemporaryDirectory(prefix="edgeport-baked-") as folder:
        logging = replace(common, log=Path(folder) / "bake.log")
        yield baked(identify(path, common.opening), preprocess, logging, Path(folder)).path
