"""Steps of a step model are run as one long run, each from the states that the one before gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converters.signature import Signature, StateSpec, TensorSpec
from validate.agreement.arrays import read
from validate.agreement.plan import Plan
from validate.agreement.worker.batches import run_batches


def spec(name: str) -> TensorSpec:
    return TensorSpec(name, (2, 1), "float32")


SIGNATURE = Signature(
    (spec("x"), spec("sum_state0")),
    (spec("y"), spec("sum_state0_next")),
    (StateSpec("sum_state0", "sum_state0_next", (2, 1), "float32", initial=100.0),),
)


def test_states_go_from_step_to_step_and_single_steps_take_what_they_are_given(tmp_path: Path) -> None:
    def run(inputs: Any) -> Any:
        total = inputs["x"] + inputs["sum_state0"]
        return {"y": 2 * total, "sum_state0_next": total}, {}

    x = np.arange(8, dtype=np.float32)[:, None]
    inputs = {"x": x, "sum_state0": np.full((8, 1), 1000, np.float32)}
    run_batches(run, inputs, Plan(8, 0, 2, 8, steps=6), SIGNATURE, tmp_path, lambda _share: None)
    single, steps = read(tmp_path, "out", 0), read(tmp_path, "outsteps", 0)
    assert single is not None
    assert steps is not None
    np.testing.assert_array_equal(single, 2 * (x + 1000))
    even, odd = np.cumsum([0, 2, 4]), np.cumsum([1, 3, 5])
    np.testing.assert_array_equal(steps[::2, 0], 2 * (100 + even))
    np.testing.assert_array_equal(steps[1::2, 0], 2 * (100 + odd))


def test_other_models_have_no_long_run(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("x", ("batch", 1), "float32"),), (TensorSpec("y", ("batch", 1), "float32"),))
    x = np.ones((4, 1), np.float32)
    run_batches(lambda i: ({"y": i["x"]}, {}), {"x": x}, Plan(4, 0, 2, 4), signature, tmp_path, lambda _share: None)
    assert read(tmp_path, "outsteps", 0) is None
