"""KerasHub's families through every float32 format, held against Keras; prints the table of docs/sources.md.

scripts/try_keras_hub [NAME]...     all of `hub_models.MODELS`, or these
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.compat.keras import operation_of

from .__main__ import FORMATS


def main() -> int:
    if sys.argv[1:2] == ["--work"]:
        return _work(sys.argv[2:])
    import keras_hub

    from .hub_models import MODELS

    began = time.monotonic()
    print(f"KerasHub {keras_hub.__version__}\n\n| architecture | {' | '.join(FORMATS)} |\n|---|---|---|---|")
    for row in _rows(sys.argv[1:] or list(MODELS)):
        cells = [_cell(row["formats"][name]) if "formats" in row else row["none"] for name in FORMATS]
        print(f"| {row['name']} | {' | '.join(cells)} |", flush=True)
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes")
    return 0


def _cell(result: dict[str, Any]) -> str:
    return f"{result['error']:.1e}" if result["status"] == "made" else f"{result['status']}: {result['detail'][-300:]}"


def _rows(names: list[str]) -> Iterator[dict[str, Any]]:
    """The rows, by as many processes as it takes: the model at which one dies is a crash."""
    left = list(names)
    while left:
        command = [sys.executable, "-m", "random_zoo.hub", "--work", *left]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            row = json.loads(line)
            left.remove(row["name"])
            yield row
        child.wait()
        if left:
            yield {"name": left.pop(0), "none": "the process died"}


def _work(names: list[str]) -> int:
    import os

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from .judge import NoModelError, files_judged

    for name in names:
        row: dict[str, Any] = {"name": name}
        try:
            with tempfile.TemporaryDirectory() as folder:
                results = files_judged(_drawn(name), Path(folder) / "files", lambda step: None)
            row["formats"] = {fmt: result.to_json() for fmt, result in results.items()}
        except NoModelError as cause:
            row["none"] = " ".join(str(cause).split())[:200]
        except Exception as cause:  # a configuration that this KerasHub does not take
            row["none"] = f"not built: {type(cause).__name__}: {' '.join(str(cause).split())[:160]}"
        print(json.dumps(row), file=answers, flush=True)
    return 0


def _drawn(name: str) -> Any:
    import keras
    import numpy as np

    from .draw import Drawn
    from .hub_models import MODELS

    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    numbers = np.random.default_rng(2)
    feeds = (_feeds(model, numbers, 2, 12), _feeds(model, numbers, 3, 10))
    return Drawn(model, feeds, MODELS[name])


def _feeds(model: Any, numbers: Any, batch: int, unknown: int) -> dict[str, Any]:
    feeds = {}
    for tensor in model.inputs:
        name = operation_of(tensor).name
        image = len(tensor.shape) == 4
        shape = [batch, *((4 * unknown if image else unknown) if d is None else d for d in tensor.shape[1:])]
        if "mask" in name and "positions" not in name:
            feeds[name] = _mask(shape, str(tensor.dtype))
        elif "int" in str(tensor.dtype):
            highest = {"segment_ids": 2, "mask_positions": 4}.get(name, 40)
            feeds[name] = numbers.integers(0, highest, shape).astype(str(tensor.dtype))
        else:
            feeds[name] = numbers.normal(0, 1, shape).astype("float32")
    return feeds


def _mask(shape: list[int], dtype: str) -> Any:
    """A mask of a whole sequence, whose first row ends early."""
    import numpy as np

    mask = np.ones(shape, dtype)
    mask[0, -2:] = 0
    return mask


if __name__ == "__main__":
    sys.exit(main())
