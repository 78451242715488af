"""What is sent to another machine: files as they lie beside each other, arrays bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from validate.runtimes import open_artifact
from validate.targets.remote import _put, _sent
from validate.targets.serving import _file_of
from validate.targets.tensors import packed, unpacked


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A model whose weights lie in a folder of their own."""
    weights = numpy_helper.from_array(np.arange(512, dtype=np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 512]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "data").mkdir()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="data/weights.bin", size_threshold=0)
    return tmp_path / "m.onnx"


def test_weights_beside_a_model_arrive_where_it_looks_for_them(beside: Path, tmp_path: Path) -> None:
    feeds = {"x": np.ones((2, 512), np.float32)}
    expected = open_artifact(beside).run(feeds)["y"]
    there = _file_of({"files": _sent(beside, None)}, tmp_path / "there")
    shared = _put(beside, None, tmp_path / "shared")
    for path in (there, shared):
        assert path.parent != beside.parent
        np.testing.assert_array_equal(open_artifact(path).run(feeds)["y"], expected)


@given(hnp.arrays(hnp.scalar_dtypes().filter(lambda d: d.kind in "fiub"), hnp.array_shapes(min_dims=0, min_side=0)))
def test_arrays_travel_bit_for_bit(array: np.ndarray) -> None:  # type: ignore[type-arg]
    (back,) = unpacked(packed({"a": array})).values()
    assert (back.dtype.name, back.shape) == (array.dtype.name, array.shape)
    assert back.tobytes() == np.ascontiguousarray(array, array.dtype.newbyteorder("=")).tobytes()


@given(st.lists(st.text(max_size=5), max_size=4))
def test_texts_travel_as_utf_8(words: list[str]) -> None:
    (back,) = unpacked(packed({"a": np.array(words, object).reshape(len(words), 1)})).values()
    assert [text.decode() for text in back.ravel()] == words
    assert back.shape == (len(words), 1)
