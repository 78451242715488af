"""Localisation: the first layer, by its Keras name, at which a candidate parts from its checkpoint."""

from validate.localize.locate import LayerRow, Localization, LocalizeOptions, localize, localize_each

__all__ = ["LayerRow", "Localization", "LocalizeOptions", "localize", "localize_each"]
