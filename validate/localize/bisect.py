"""Bisection: the first layer to part in a file as it really runs, found by cutting it in ever shorter pieces.

Error need not grow from layer to layer, and branches know nothing of one another. So the search goes on among those
layers alone that the parting one is computed from, and ends at one that parts while nothing that it reads does. Where
an error dies out on the way (a ReLU hides it) an earlier layer may part too: only reading them all would tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from converters.arrays import Array
from validate.localize.tensor_match import Layers, in_layout

Cut = Callable[[Sequence[str]], list[Array] | None]
"""Values of a file's tensors, of the file cut at them; None where it cannot be cut there."""


Parts = Callable[[str, Array], bool]


class Bisection:
    """The search in one file.

    Args:
        places: by layer, the file's tensor that stands for it.
        parts: whether such a value of such a layer parts from the checkpoint.

    Attributes:
        values: by layer, of each one that the file was cut at.
        cuts: number of pieces that were run.
        failed: layers at which the file could not be cut, or did not run.
    """

    def __init__(self, layers: Layers, places: Mapping[str, str], parts: Parts, cut: Cut) -> None:
        self._layers, self._places, self._judge, self._cut = layers, places, parts, cut
        self._order = [name for name in layers.names if name in places]
        self.values: dict[str, Array] = {}
        self.cuts = 0
        self.failed: list[str] = []

    def search(self) -> str | None:
        """The layer; None where no end of the file parts."""
        inner = {earlier for name in self._order for earlier in self._layers.ancestors(name)}
        ends = [name for name in self._order if name not in inner]
        self._measure(ends)
        parting = next((name for name in ends if self._diverges(name)), None)
        while parting is not None:
            earlier = self._earlier(parting)
            if earlier is None:
                return parting
            parting = earlier
        return None

    def _earlier(self, parting: str) -> str | None:
        """An earlier layer that parts, of those that this one is computed from: by halves, then what it reads."""
        ancestors = self._layers.ancestors(parting)
        before = [name for name in self._order if name in ancestors]
        good, bad = -1, len(before)
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._diverges(before[middle]):
                bad = middle
            else:
                good = middle
        if bad < len(before):
            return before[bad]
        return next((name for name in self._read_by(parting) if self._diverges(name)), None)

    def _read_by(self, name: str) -> list[str]:
        """The nearest layers before this one that the file can be cut at."""
        layers: dict[str, None] = {}
        queue, visited = [name], {name}
        while queue:
            for earlier in self._layers.before[queue.pop()]:
                if earlier in self._places:
                    layers[earlier] = None
                elif earlier not in visited:
                    visited.add(earlier)
                    queue.append(earlier)
        return list(layers)

    def _diverges(self, name: str) -> bool:
        if name not in self.values and name not in self.failed:
            self._measure([name])
        value = self.values.get(name)
        return value is not None and self._judge(name, value)

    def _measure(self, names: Sequence[str]) -> None:
        self.cuts += 1
        values = self._cut([self._places[name] for name in names])
        if values is None:
            self.failed += names if len(names) == 1 else []
            return
        for name, value in zip(names, values, strict=True):
            self.values[name] = in_layout(value, self._layers.truths[name])
