"""Runs of the oracle: where TensorFlow has no kernel for float64, there is none, and the comparison goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from validate.agreement.plan import Plan
from validate.agreement.worker.oracle_runs import run_oracle


@pytest.mark.parametrize("rank", [1, 2])
def test_a_kernel_that_there_is_not_in_float64(rank: int, tmp_path: Path) -> None:
    import keras

    layer = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose}[rank]
    inputs = keras.Input((*[6] * rank, 2))
    loaded = loaded_model(keras.Model(inputs, layer(3, 2, dilation_rate=2)(inputs)))
    tapped: Any = SimpleNamespace(loaded=loaded, runtime=SimpleNamespace(signature=loaded.signature))
    feed = {loaded.signature.input_names[0]: np.zeros((2, *[6] * rank, 2), np.float32)}
    folder = tmp_path / "oracle"
    reason = run_oracle(tapped, feed, Plan(2, 0, 2, 2), folder, lambda share: None)
    assert reason is not None
    assert "dilation rates larger than 1" in reason
    assert not folder.exists()
