"""The plot of error by depth: one dot a layer that is seen, well-formed whatever the numbers and names."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from exporter.report.depth import depth_plot


def row(name: str, ratio: float | None, *, observed: bool = True, local: float | None = None) -> dict[str, Any]:
    diverges = observed and (ratio is None or ratio > 12)
    return {
        "name": name,
        "kind": "Conv2D",
        "noise_ratio": ratio,
        "limit": 12.0 if observed else None,
        "diverges": diverges,
        "observed": observed,
        "local_ratio": local,
    }


LAYERS = [
    row("stem", 0.0),
    row("conv", None, observed=False),
    row("norm", 1.1),
    row("<relu>", 4e6, local=3e6),
    row("last", None),
]


def test_a_dot_for_each_layer_that_is_seen_and_a_name_for_the_first_to_part() -> None:
    drawn = depth_plot(LAYERS, "<relu>")
    assert drawn is not None
    tree = ElementTree.fromstring(str(drawn))
    dots = [c for c in tree.iter("circle") if c.attrib["class"].startswith("dot")]
    assert [c.attrib["class"] for c in dots] == ["dot beaten", "dot beaten", "dot", "dot"]
    heights = [float(c.attrib["cy"]) for c in dots]
    assert heights == sorted(heights, reverse=True)
    assert len([c for c in tree.iter("circle") if c.attrib["class"] == "local"]) == 1
    assert "<relu>" in [t.text for t in tree.iter("text")]
    assert "<relu>" in tree.attrib["aria-label"]


def test_nothing_is_drawn_of_one_layer() -> None:
    assert depth_plot(LAYERS[:2]) is None
