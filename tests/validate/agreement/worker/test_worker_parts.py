"""Hints, oracle and taps on Keras models, in one worker-like process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def inside() -> dict[str, Any]:
    script = Path(__file__).with_name("look_inside.py")
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (text for text in done.stdout.splitlines() if text.startswith("RESULT"))
    document: dict[str, Any] = json.loads(line.removeprefix("RESULT"))
    return document


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("rescaling", [0, 255]),
        ("signed", [0, 255]),
        ("divided", [0, 16]),
        ("nested", [0, 16]),
        ("sequential", [0, 16]),
        ("sequential inside", [0, 16]),
        ("nested sequential", [0, 16]),
        ("normalization", [-3, 7]),
        ("inception", [-1, 1]),
        ("embedding", [0, 36]),
        ("embedding of floats", [0, 36]),
        ("tutorial", [0, 255]),
        ("cropped", [0, 255]),
        ("nothing", None),
        ("late", None),
    ],
)
def test_what_a_model_says_of_its_input(inside: dict[str, Any], name: str, wanted: list[float] | None) -> None:
    found = inside["hints"][name]
    assert found == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize("name", ["shared", "softmax_layer", "other_axis", "no_map", "recurrent", "attention"])
def test_the_oracle_is_the_same_model_in_float64(inside: dict[str, Any], name: str) -> None:
    found = inside["oracles"][name]
    assert "error" not in found, found
    assert found["dtype"] == "float64"
    assert 0 < found["gap"] < 1e-5
    assert not found["same"]
    assert found["narrowing"] is None
    assert found["default"] == "float32"  # put back


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("shared", ["softmax"]),
        ("softmax_layer", ["softmax"]),
        ("recurrent", ["sigmoid"]),
        ("other_axis", []),
        ("no_map", []),
    ],
)
def test_logits_are_read_where_the_last_operation_is_a_map(inside: dict[str, Any], name: str, kinds: list[str]) -> None:
    found = inside["oracles"][name]
    assert list(found["kinds"].values()) == kinds
    assert (found["logit_gap"] is not None) == bool(kinds)


@pytest.mark.parametrize(
    ("name", "why"),
    [("stubborn", "rounds to a narrower"), ("resized", "rounds to a narrower"), ("bits", "reads the bits")],
)
def test_an_operation_that_leaves_float64_is_found(inside: dict[str, Any], name: str, why: str) -> None:
    assert why in inside["oracles"][name]["narrowing"]


def test_a_layer_that_cannot_be_rebuilt_is_no_oracle(inside: dict[str, Any]) -> None:
    assert "cannot be rebuilt" in inside["oracles"]["forgetful"]["error"]
