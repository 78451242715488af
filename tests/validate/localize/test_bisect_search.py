"""The search for the first layer to part, on graphs of any shape; and what is cut out of a file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from validate.localize.bisect import Bisection
from validate.localize.subgraph_run import cut_onnx, needed
from validate.localize.tensor_match import Layers

Graph = dict[str, list[str]]


def search(before: Graph, parting: set[str], silent: set[str] = frozenset()) -> Bisection:  # type: ignore[assignment]
    """Bisects a graph whose layers in `parting` give ones and all others zeros; `silent` ones cannot be cut at."""
    truth = np.zeros(3)
    plain = SimpleNamespace(names=list(before), before=before, truths=dict.fromkeys(before, truth))
    plain.ancestors = lambda name: Layers.ancestors(cast(Layers, plain), name)
    values = {name: truth + 1 if name in parting else truth for name in before}
    places = {name: name for name in before if name not in silent}
    return Bisection(
        cast(Layers, plain), places, lambda _name, value: bool(value.any()), lambda names: [values[n] for n in names]
    )


@st.composite
def faults(draw: Any) -> tuple[Graph, str]:
    """A graph of up to 30 layers, each reading earlier ones, and the layer that is broken."""
    count = draw(st.integers(1, 30))
    before: Graph = {"0": []}
    for k in range(1, count):
        before[str(k)] = [str(n) for n in draw(st.sets(st.integers(0, k - 1), min_size=1, max_size=3))]
    return before, str(draw(st.integers(0, count - 1)))


@given(faults())
def test_a_fault_that_reaches_the_end_is_found_exactly(case: tuple[Graph, str]) -> None:
    before, broken = case
    parting = {broken}
    for name, read in before.items():
        parting |= {name} if parting.intersection(read) else set()
    assert search(before, parting).search() == broken


@given(faults())
def test_nothing_is_found_where_nothing_parts(case: tuple[Graph, str]) -> None:
    assert search(case[0], set()).search() is None


def test_a_long_chain_takes_few_cuts() -> None:
    before: Graph = {str(k): [str(k - 1)] if k else [] for k in range(300)}
    bisection = search(before, {str(k) for k in range(123, 300)})
    assert bisection.search() == "123"
    assert bisection.cuts <= 16  # twice the logarithm: a second search makes sure that nothing before it parts


def test_what_cannot_be_cut_at_is_passed_over() -> None:
    before: Graph = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}
    assert search(before, {"b", "c", "d"}, silent={"b"}).search() == "c"


def test_operations_that_nothing_wanted_reads_are_left_out() -> None:
    operations = [(["x"], ["a"]), (["a"], ["b"]), (["a"], ["c"]), (["b", "c"], ["d"])]
    assert needed(operations, ["b"]) == {0, 1}
    assert needed(operations, ["d"]) == {0, 1, 2, 3}
    assert needed(operations, ["x"]) == set()


def test_a_cut_onnx_file_ends_at_the_tensor_without_the_weights_behind_it() -> None:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(np.full((2, 2), k + 1.0, np.float32), f"w{k}") for k in range(2)]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w0"], ["y"]), helper.make_node("MatMul", ["y", "w1"], ["z"])],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = cut_onnx(model, ["y"])
    cut = onnx.load_from_string(content)
    assert [n.op_type for n in cut.graph.node] == ["MatMul"]
    assert [i.name for i in cut.graph.initializer] == ["w0"]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": np.ones((1, 2), np.float32)})[0], [[2.0, 2.0]])
