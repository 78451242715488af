"""`edgeport diff`: what changed between two bundles, and what of it is worse than allowed."""

from exporter.difference.comparing import diff
from exporter.difference.values import Allowed, ArtifactChange, Difference, Side

__all__ = ["Allowed", "ArtifactChange", "Difference", "Side", "diff"]
