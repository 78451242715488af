"""The command line's words on how a source is opened -> an Opening. Nothing of the user's is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.checkpoints.opening import Opening, parse_code, parse_replacement


def opening_of(chosen: dict[str, Any]) -> Opening:
    """Takes the options of `opening_options` out of `chosen`. Raises UsageError."""
    custom, code = chosen.pop("custom_objects"), chosen.pop("model_code")
    runs = bool(custom or code)
    return Opening(
        signature=chosen.pop("signature"),
        custom_objects=tuple(parse_code(text, "--custom-objects") for text in custom),
        model_code=parse_code(code, "--model-code", named=True) if code else None,
        replaced=tuple(parse_replacement(text) for text in chosen.pop("replacements")),
        allow_unsafe=chosen.pop("allow_unsafe"),
        inputs=tuple(chosen.pop("graph_inputs")), outputs=tuple(chosen.pop("graph_outputs")),
        folder=str(Path.cwd()) if runs else "",
    )  # fmt: skip
