"""Twenty-five random models of Keras' layers through every float32 format: `scripts/zoo` with one seed.

What is made has to compute what Keras computes; what is refused has to be refused for a reason of this list.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
SEED, COUNT = "ci", 25
REFUSED = {
    r"tflite: TFLite has no built-in operation for: .*TensorListReserve": "a recurrent layer inside of a "
    "TimeDistributed runs on samples times steps, and TFLite's lists want that number beforehand",
}
"""By a pattern of the sentence that refuses, `FORMAT: SENTENCE`, why that is the truth. Empty is the aim."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("zoo") / "zoo.json"
    command = [sys.executable, "-m", "random_zoo", str(COUNT), "--quick", "--seed", SEED, "--json", path]
    paths = os.environ | {"PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=paths)
    assert path.exists(), done.stderr
    models: list[dict[str, Any]] = json.loads(path.read_text())["models"]
    return [row for row in models if "formats" in row]


def found(rows: list[dict[str, Any]], *statuses: str) -> list[str]:
    """`SEED FORMAT: DETAIL` of each result of these kinds."""
    return [
        f"{row['seed']} {name}: {result['detail']} ({row.get('layers', '')})"
        for row in rows
        for name, result in row["formats"].items()
        if result["status"] in statuses
    ]


def test_every_number_is_right(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == COUNT
    assert found(rows, "wrong", "apart", "crash", "broken") == []


def test_every_refusal_is_known(rows: list[dict[str, Any]]) -> None:
    refused = found(rows, "refused")
    assert [line for line in refused if not any(re.search(pattern, line) for pattern in REFUSED)] == []


@pytest.mark.parametrize("damage", ["one value", "not a number", "the shape", "the order of rows"])
def test_the_judge_tells_a_wrong_number(damage: str) -> None:
    """One that calls everything right would pass the tests above."""
    import numpy as np
    from random_zoo.draw import draw
    from random_zoo.judge import compared, reference

    drawn = draw(f"{SEED}-0")
    expected = [reference(drawn.model, feed) for feed in drawn.feeds]
    assert compared(expected, expected, drawn).status == "made"
    outputs = [[np.array(value) for value in row] for row in expected]
    last = outputs[-1][-1]
    if damage == "one value":
        last.flat[-1] += 1e-4 * np.abs(last).max()
    elif damage == "not a number":
        last.flat[0] = np.nan
    elif damage == "the shape":
        outputs[-1][-1] = last[:-1]
    else:
        outputs[-1][-1] = last[::-1]
    assert compared(outputs, expected, drawn).status == ("apart" if damage == "one value" else "wrong")
