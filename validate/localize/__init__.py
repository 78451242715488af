"""Localisation: the first layer, by its Keras name, at which a candidate parts from its checkpoint."""

from validate.localize.locate import localize, localize_each
from validate.localize.results import LayerRow, Localization, LocalizeOptions

__all__ = ["LayerRow", "Localization", "LocalizeOptions", "localize", "localize_each"]
