"""The arena of a board, on graphs small enough to plan by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from converters.readers.tflite_graph import GraphOp, GraphTensor
from exporter.shipping.arena import estimate_of


def tensor(name: str, size: int, dtype: str = "int8") -> GraphTensor:
    return GraphTensor(name, (1, size), dtype, constant=False)


def op(inputs: list[GraphTensor], output: GraphTensor) -> GraphOp:
    return GraphOp("ADD", False, tuple(inputs), (output,))


def test_a_chain_needs_its_widest_pair() -> None:
    a, b, c, d = (tensor(name, size) for name, size in (("a", 160), ("b", 320), ("c", 64), ("d", 16)))
    arena = estimate_of([op([a], b), op([b], c), op([c], d)], ["d"])
    assert arena.planned == arena.at_least == 160 + 320
    assert arena.size >= max(arena.planned, arena.planning) + arena.overhead
    assert arena.size % 1024 == 0


def test_a_branch_keeps_its_start_alive() -> None:
    a, b, c, d = (tensor(name, 32) for name in "abcd")
    assert estimate_of([op([a], b), op([b], c), op([c, a], d)], ["d"]).planned == 96


def test_sizes_are_in_bytes_and_aligned() -> None:
    a, b = tensor("a", 3, "float32"), tensor("b", 1, "int8")
    assert estimate_of([op([a], b)], ["b"]).planned == 16 + 16


def test_a_transposed_convolution_keeps_an_int32_sum_for_each_output() -> None:
    """As TFLM's kernel does: without them the arena of a network that scales up again does not start."""
    a, b = tensor("a", 32), tensor("b", 64)
    assert estimate_of([GraphOp("TRANSPOSE_CONV", False, (a,), (b,))], ["b"]).planned == 32 + 64 + 4 * 64


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5)), min_size=1, max_size=12))
def test_no_plan_is_below_what_lives_at_once(steps: list[tuple[int, int]]) -> None:
    tensors, ops = [tensor("in", 50)], []
    for k, (size, back) in enumerate(steps):
        out = tensor(f"t{k}", size)
        ops.append(op([tensors[-1], tensors[-1 - min(back, len(tensors) - 1)]], out))
        tensors.append(out)
    arena = estimate_of(ops, [tensors[-1].name])
    assert arena.at_least <= arena.planned <= sum(-(-t.elements // 16) * 16 for t in tensors)
