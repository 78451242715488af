"""A file that keeps a state begins every run anew, or it would not agree with itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from validate.compat.litert import has_variables
from validate.runtimes.tflite import TfliteRuntime

from .stateful_file import INPUTS, STEPS, stateful_lstm


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> TfliteRuntime:
    path = tmp_path_factory.mktemp("stateful") / "m.tflite"
    path.write_bytes(stateful_lstm())
    return TfliteRuntime(path)


def test_samples_do_not_depend_on_those_before_them(runtime: TfliteRuntime) -> None:
    x = np.random.default_rng(1).normal(size=(3, STEPS, INPUTS)).astype(np.float32)
    together = runtime.run({"x": x})["y"]
    backwards = np.concatenate([runtime.run({"x": x[k : k + 1]})["y"] for k in (2, 1, 0)])[::-1]
    np.testing.assert_array_equal(together, backwards)
    assert np.abs(together[1] - together[0]).max() > 0.1


def test_what_is_timed_begins_anew_too(runtime: TfliteRuntime) -> None:
    x = np.random.default_rng(1).normal(size=(1, STEPS, INPUTS)).astype(np.float32)
    call, named = runtime.prepared({"x": x})
    first, second = (np.array(named(call())["y"]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_only_files_with_variables_are_reset(files: Path) -> None:
    assert has_variables(stateful_lstm())
    assert not has_variables((files / "small.tflite").read_bytes())
