"""Localisation: the first layer, by its Keras name, at which a candidate parts from its checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.faces import face

if TYPE_CHECKING:
    from validate.localize.locate import localize, localize_each
    from validate.localize.options import Localized, LocalizeOptions
    from validate.localize.results import LayerRow, Localization, LocalizeJob

__all__ = [
    "LayerRow",
    "Localization",
    "LocalizeJob",
    "LocalizeOptions",
    "Localized",
    "localize",
    "localize_each",
]

__getattr__, __dir__ = face(
    __name__,
    {
        "validate.localize.locate": ("localize", "localize_each"),
        "validate.localize.options": ("LocalizeOptions", "Localized"),
        "validate.localize.results": ("LayerRow", "Localization", "LocalizeJob"),
    },
)
