"""Random damage to good files: only edgeport's own errors come out, and the readers always come back."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))

from reader_samples import facts, samples  # noqa: F401

from converters.checkpoints.identify import identify
from converters.errors import EdgeportError
from exporter.inspection import inspect

_SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

DAMAGE = st.tuples(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=8),
    st.one_of(st.none(), st.floats(0, 1)),
)
Damage = tuple[list[tuple[float, int]], float | None]


def damaged(data: bytes, damage: Damage) -> bytes:
    flips, keep = damage
    mutant = bytearray(data)
    for place, bits in flips:
        mutant[int(place * len(mutant))] ^= bits
    return bytes(mutant if keep is None else mutant[: int(keep * len(mutant))])


def failure(function: Callable[[Path], object], path: Path) -> EdgeportError | None:
    """How the function failed; anything but an EdgeportError goes on to the test."""
    try:
        function(path)
    except EdgeportError as error:
        return error
    return None


def check(error: EdgeportError | None) -> None:
    assert error is None or (error.exit_code in (2, 3) and error.message and error.next_step)


@pytest.mark.parametrize(
    "name", ["picture.onnx", "rich.onnx", "picture.float32.tflite", "picture.keras", "text.keras", "picture.h5"]
)
@_SETTINGS
@given(damage=DAMAGE)
def test_damaged_files(name: str, samples: Path, tmp_path: Path, damage: Damage) -> None:  # noqa: F811
    path = tmp_path / name
    path.write_bytes(damaged((samples / name).read_bytes(), damage))
    check(failure(inspect, path))


@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.index"])
@_SETTINGS
@given(damage=DAMAGE)
def test_damaged_saved_models(part: str, samples: Path, tmp_path: Path, damage: Damage) -> None:  # noqa: F811
    folder = tmp_path / "model"
    if not folder.exists():
        shutil.copytree(samples / "picture.savedmodel", folder)
    (folder / part).write_bytes(damaged((samples / "picture.savedmodel" / part).read_bytes(), damage))
    check(failure(identify, folder))


@_SETTINGS
@given(data=st.binary(max_size=400), name=st.sampled_from(["a.onnx", "a.tflite", "a.keras", "a.h5", "a"]))
def test_random_bytes(data: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    check(failure(inspect, path))
    check(failure(identify, path))
