"""Seeded byte mutants of every format, scanned and then opened by the real framework: only clean ends (case 42).

A mutant that passes the scan is opened and run in a child process, as edgeport's workers do. A crash (5) or a hang (6)
of the framework is a clean end for edgeport: the child is a worker, and the parent goes on.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from opening import Opener, opener  # noqa: F401
from reader_samples import facts, samples  # noqa: F401

FORMATS = {
    "picture.keras": None, "picture.h5": None, "picture.savedmodel": "saved_model.pb",
    "picture.savedmodel ": "variables/variables.data-00000-of-00001", "picture.onnx": None,
    "picture.float32.tflite": None, "picture.int8.tflite": None,
}  # fmt: skip
"""The file, and which part of it is changed where it is a folder."""

ALLOWED = {0, 1, 3, 4, 5, 6, 7}
SHORT, LONG = 3, 300


def mutant(data: bytes, seed: int) -> bytes:
    """One to eight bytes changed; every tenth mutant is cut short as well."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= rng.randint(1, 255)
    return bytes(changed[: rng.randrange(len(changed))] if seed % 10 == 9 else changed)


def make(samples: Path, name: str, seed: int, folder: Path) -> Path:  # noqa: F811
    part = FORMATS[name]
    source, path = samples / name.strip(), folder / name.strip()
    if part is None:
        path.write_bytes(mutant(source.read_bytes(), seed))
        return path
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(source, path)
    (path / part).write_bytes(mutant((source / part).read_bytes(), seed))
    return path


def run(samples: Path, name: str, seeds: range, folder: Path, opened: Opener) -> Counter[int]:  # noqa: F811
    codes: Counter[int] = Counter()
    for seed in seeds:
        answer = opened(make(samples, name, seed, folder), 15.0)
        assert answer["code"] in ALLOWED, f"{name}, seed {seed}: {answer}"
        codes[answer["code"]] += 1
        if answer["code"] in (5, 6, 7):
            print(f"{name}, seed {seed}: {answer}")
    return codes


@pytest.mark.parametrize("name", FORMATS)
def test_some_mutants(name: str, samples: Path, tmp_path: Path, opener: Opener) -> None:  # noqa: F811
    codes = run(samples, name, range(SHORT), tmp_path, opener)
    assert codes.total() == SHORT


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_mutants(name: str, samples: Path, tmp_path: Path, opener: Opener) -> None:  # noqa: F811
    codes = run(samples, name, range(LONG), tmp_path, opener)
    print(f"{name}: {dict(sorted(codes.items()))}")
    assert codes.total() == LONG


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.endswith(" ")])
def test_the_untouched_file_opens(name: str, samples: Path, opener: Opener) -> None:  # noqa: F811
    """Otherwise the mutants would tell nothing."""
    assert opener(samples / name) == {"code": 0, "message": ""}
