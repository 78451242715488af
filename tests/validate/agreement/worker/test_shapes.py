"""Files of fixed sizes refuse other shapes, and one that takes them is found out; odd batches are filled up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import RefusedError
from converters.signature import Dimension, Signature, TensorSpec
from validate.agreement.arrays import Writer
from validate.agreement.worker.batches import in_whole_batches
from validate.agreement.worker.candidates import shapes_accepted
from validate.runtimes import open_artifact
from validate.runtimes.base import refuse_other_batches


class Lenient:
    """A runtime that takes any height."""

    signature = Signature((TensorSpec("image", ("batch", 4, 5, 3), "float32"),), ())

    def refuses(self, feeds: Mapping[str, Any]) -> bool:
        return bool(feeds["image"].shape[2:] != (5, 3))


def test_a_shape_that_is_taken_is_told() -> None:
    found = shapes_accepted(Lenient(), {"image": np.zeros((1, 4, 5, 3), np.float32)})  # type: ignore[arg-type]
    assert found == {"image": [1, 5, 5, 3]}


def test_real_runtimes_refuse_and_still_run(zoo: Path) -> None:
    few = {"image": np.ones((1, 16, 16, 3), np.float32)}
    for name in ("small.onnx", "small.tflite"):
        runtime = open_artifact(zoo / name)
        assert shapes_accepted(runtime, few) == {}
        assert not runtime.refuses(few)  # type: ignore[attr-defined]
        assert runtime.run(few)["labels"].shape == (1, 5)


def test_batches_that_a_file_insists_on_are_filled_up_and_cut() -> None:
    seen: list[int] = []

    def run(arrays: Mapping[str, Any]) -> Any:
        seen.append(len(arrays["x"]))
        return {"y": arrays["x"] * 2}, {"y": arrays["x"] * 3}

    x = np.arange(7.0)[:, None]
    outputs, logits = in_whole_batches(run, 3)({"x": x})
    assert seen == [9]
    np.testing.assert_array_equal(outputs["y"], 2 * x)
    np.testing.assert_array_equal(logits["y"], 3 * x)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((), "s is a scalar"),
        ((5, "batch", 3), "s has its batch on axis 1"),
        ((5, 3, "batch"), "s has its batch on axis 2"),
        (("batch", 3), None),
        (("steps", "batch", 3), None),
        ((5, 3), None),
    ],
)
def test_inputs_without_a_batch_on_axis_0_are_refused_by_name(shape: tuple[Dimension, ...], reason: str | None) -> None:
    signature = Signature((TensorSpec("x", ("batch", 2), "float32"), TensorSpec("s", shape, "float32")), ())
    if reason is None:
        refuse_other_batches(signature)
        return
    with pytest.raises(RefusedError, match=reason) as raised:
        refuse_other_batches(signature)
    assert raised.value.next_step


@pytest.mark.parametrize("shape", [(), (3, 4)])
def test_outputs_without_a_row_for_each_sample_are_refused_by_name(shape: tuple[int, ...], tmp_path: Path) -> None:
    with Writer(tmp_path, "out", ("y",), 4) as writer, pytest.raises(RefusedError, match="The output y"):
        writer.append({"y": np.zeros(shape)}, 4)
