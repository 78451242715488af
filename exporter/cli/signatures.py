"""`--signature NAME` where files are judged or timed: which of them have it, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from converters.common import Common
from converters.errors import EdgeportError, UsageError
from converters.formats import Format, format_of


def settled(common: Common, reference: Path, candidates: Sequence[Path]) -> Common:
    """`opening.signature` is the reference's and `signature` the candidates'; a file that has one takes that.

    Raises:
        UsageError: no file has such a signature, or a candidate has several and not this one.
    """
    key = common.opening.signature
    check_signature(key, candidates, also=(reference,))
    if key is None or key in keys_of(reference) or not any(key in keys_of(path) for path in candidates):
        return replace(common, signature=key)
    return replace(common, signature=key, opening=replace(common.opening, signature=None))


def check_signature(key: str | None, candidates: Sequence[Path], also: Sequence[Path] = ()) -> None:
    """Holds the name against what is judged or timed. Raises UsageError as `settled`."""
    from converters.readers.tflite_file import read_tflite

    known = {path: keys_of(path) for path in (*candidates, *also)}
    if key is not None and any(known.values()) and not any(key in keys for keys in known.values()):
        names = ", ".join(sorted({name for keys in known.values() for name in keys}))
        raise UsageError(f"No file here has a signature `{key}`.", next_step=f"Choose from: {names}.")
    for path in candidates:
        if len(known[path]) > 1 and format_of(path) is Format.TFLITE:
            read_tflite(path).chosen(path, key)


def keys_of(path: Path) -> tuple[str, ...]:
    """The signatures of a `.tflite` file or a SavedModel; none where it is neither, or cannot be read."""
    from converters.readers.saved_model_file import read_saved_model
    from converters.readers.tflite_file import read_tflite

    try:
        match format_of(path) if path.exists() else None:
            case Format.TFLITE:
                return tuple(signature.key for signature in read_tflite(path).signatures)
            case Format.SAVEDMODEL:
                return tuple(signature.key for signature in read_saved_model(path).signatures)
    except EdgeportError:
        return ()
    return ()
