"""Files' tensors told by value, whatever their layout, and by structure where the values are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from validate.localize.align import Correspondence, File, align, as_layer, match_by_value

RNG = np.random.default_rng(1)
A, B, C = (RNG.normal(0, 1, (2, 5, 6, 3)) for _ in range(3))


def file_of(folder: Path, stem: str, nodes: list[Any], values: dict[str, Any]) -> File:
    for k, value in enumerate(values.values()):
        np.save(folder / f"{stem}.{k}.npy", value)
    tensors = {name: k for k, name in enumerate(values)}
    return File.of(folder, stem, {"nodes": nodes, "tensors": tensors, "inputs": ["x"]})


NODES = [["Conv", ["x", "w"], ["a"]], ["Relu", ["a"], ["b"]], ["Conv", ["b", "w"], ["c"]]]


def test_a_tensor_is_found_by_value_in_either_layout(tmp_path: Path) -> None:
    values = {"x": A * 0, "a": np.moveaxis(A, -1, 1), "b": B + 1e-6, "c": C}
    file = file_of(tmp_path, "twin", NODES, values)
    assert match_by_value(file, {"first": A, "second": B, "none": A + B}, 1e-3) == {"first": "a", "second": "b"}
    np.testing.assert_array_equal(as_layer(np.moveaxis(A, -1, 1), A)[0], A)


def test_inserted_and_missing_operations_do_not_shift_the_rest(tmp_path: Path) -> None:
    twin = file_of(tmp_path, "twin", NODES, {"x": A, "a": A, "b": B, "c": C})
    more = [NODES[0], NODES[1], ["Mul", ["b", "m"], ["d"]], ["Conv", ["d", "w"], ["c"]]]
    broken = file_of(tmp_path, "cand", more, {"x": A, "a": A, "b": B, "d": 2 * B, "c": C})
    assert align(twin, broken) == [(0, 0), (1, 1), (2, 3)]
    links = Correspondence.of(twin, broken)
    assert links.made["b"] == "b"
    assert links.read["b"] == ["d"]  # the convolution reads something else than the ReLU gave
