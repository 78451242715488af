"""Every family of KerasHub that `scripts/try_keras_hub` converts."""

from __future__ import annotations

from .hub_images import IMAGES
from .hub_parts import PARTS
from .hub_text import TEXT, Build

MODELS: dict[str, Build] = TEXT | IMAGES | PARTS
