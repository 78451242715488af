"""Rescue: a precision that missed its gate keeps the layers that hurt it in float, as few as do."""
