"""The user's metric: how often it is called, and what is said of one that does not work."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.load_options import Code
from converters.errors import UsageError
from validate.agreement.worker.user_metric import CALLS, evaluate

COUNT = 40
CODE = """
calls = 0
def right(outputs, labels):
    global calls
    calls += 1
    return (outputs["y"].argmax(1) == labels["labels"]).mean()
def absent(outputs, labels):
    return labels["boxes"].sum()
def nothing(outputs, labels):
    return float("nan")
def first(outputs, labels):
    return outputs["y"][0, 0]
def words(outputs, labels):
    return "high"
"""


@pytest.fixture
def request_for(tmp_path: Path) -> Any:
    path = tmp_path / f"metric_{tmp_path.name}.py"
    path.write_text(CODE)
    scores = np.random.default_rng(0).random((COUNT + 4, 5)).astype(np.float32)
    worse = scores.copy()
    worse[:4] = worse[:4, ::-1]
    np.save(tmp_path / "a.npy", scores)
    np.save(tmp_path / "b.npy", worse)
    np.savez(tmp_path / "labels.npz", labels=scores[:COUNT].argmax(axis=1))

    def made(name: str, *, candidate: bool = False) -> dict[str, Any]:
        return {
            "code": asdict(Code(str(path), name)),
            "folder": str(tmp_path),
            "labels": str(tmp_path / "labels.npz"),
            "reference": {"y": str(tmp_path / "a.npy")},
            "candidate": {"y": str(tmp_path / "b.npy")} if candidate else None,
            "samples": list(range(COUNT)),
        }

    return made


def test_it_is_called_a_thousand_times_at_most(request_for: Any, tmp_path: Path) -> None:
    import sys

    answer = evaluate(request_for("right", candidate=True), None)  # type: ignore[arg-type]
    assert answer["reference"] == 1.0
    assert 0.9 <= answer["value"] < 1.0
    differences = [reference - file for reference, file in answer["resampled"]]
    assert min(differences) >= 0.0
    assert sys.modules[f"metric_{tmp_path.name}"].calls == CALLS
    assert len(differences) == (CALLS - 4) // 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "fails (KeyError: 'boxes')"),
        ("nothing", "gives nan"),
        ("first", "depends on the order of the samples"),
        ("words", "fails (ValueError"),
        ("missing", "has no `missing`"),
    ],
)
def test_one_that_does_not_work_is_told(request_for: Any, name: str, reason: str) -> None:
    with pytest.raises(UsageError) as told:
        evaluate(request_for(name), None)  # type: ignore[arg-type]
    assert reason in told.value.message
