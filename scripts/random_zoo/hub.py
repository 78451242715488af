"""KerasHub's families through every float32 format, held against Keras; prints the table of docs/sources.md.

scripts/try_keras_hub [--json FILE] [NAME]...     all of `hub_models.MODELS`, or those whose names begin so
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .__main__ import FORMATS

_LONGEST = 200  # characters of a reason
_AT_ONCE = 30
"""Models of one process: TensorFlow keeps what it has compiled."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/try_keras_hub", description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="*", help="the beginning of a model's name")
    parser.add_argument("--json", type=Path, help="a file that keeps every row, also those of earlier runs")
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return _work(options.work)
    from .hub_models import MODELS

    began = time.monotonic()
    names = [name for name in MODELS if not options.name or name.startswith(tuple(options.name))]
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    rows = {name: row for name, row in known.items() if name in MODELS}
    for row in _rows(names):
        rows[row["name"]] = row | _versions()
        print(f"{row['name']}: {' | '.join(_cells(row))}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    _print_table([rows[name] for name in MODELS if name in rows])
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes")
    return 0


def _versions() -> dict[str, str]:
    packages = ("keras-hub", "keras", "tensorflow", "tf2onnx")
    return {"date": str(date.today()), "versions": ", ".join(f"{name} {version(name)}" for name in packages)}


def _print_table(rows: list[dict[str, Any]]) -> None:
    for date_and_versions in dict.fromkeys(f"{row['date']}: {row['versions']}" for row in rows):
        print(date_and_versions)
    print("\n| architecture | SavedModel | ONNX | TFLite |\n|---|---|---|---|")
    for row in sorted(rows, key=lambda row: str(row["name"]).lower()):
        print(f"| {row['name']} | {' | '.join(_cells(row))} |")


def _cells(row: dict[str, Any]) -> list[str]:
    return [_cell(row["formats"][fmt]) if "formats" in row else row["none"] for fmt in FORMATS]


def _cell(result: dict[str, Any]) -> str:
    """The error, or the reason without the layers that it is about."""
    if result["status"] == "made":
        return f"{result['error']:.1e}" if result["error"] else "0"
    reason = " ".join(re.sub(r" \(layers? [^)]*\)", "", result["detail"]).split())
    return f"{result['status']}: {reason[:_LONGEST]}"


def _rows(names: list[str]) -> Iterator[dict[str, Any]]:
    """The rows, by as many processes as it takes: the model at which one dies is a crash."""
    left = list(names)
    while left:
        batch = left[:_AT_ONCE]
        command = [sys.executable, "-m", "random_zoo.hub", "--work", *batch]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            row = json.loads(line)
            left.remove(row["name"])
            batch.remove(row["name"])
            yield row
        child.wait()
        if batch:
            left.remove(batch[0])
            yield {"name": batch[0], "none": "the process died"}


def _work(names: list[str]) -> int:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from .judge import NoModelError, files_judged

    for name in names:
        row: dict[str, Any] = {"name": name}
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory() as folder:
                results = files_judged(_drawn(name), Path(folder) / "files", lambda step: None)
            row["formats"] = {fmt: result.to_json() for fmt, result in results.items()}
        except NoModelError as cause:
            row["none"] = " ".join(str(cause).split())[:200]
        except Exception as cause:  # a configuration that this KerasHub does not take
            row["none"] = f"not built: {type(cause).__name__}: {' '.join(str(cause).split())[:160]}"
        row["seconds"] = round(time.monotonic() - began, 1)
        print(json.dumps(row), file=answers, flush=True)
    return 0


def _drawn(name: str) -> Any:
    import keras
    import numpy as np

    from .draw import Drawn
    from .hub_feeds import feeds_of
    from .hub_models import MODELS

    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    _move_weights(model)
    numbers = np.random.default_rng(2)
    feeds = (feeds_of(name, model, numbers, 2, 12), feeds_of(name, model, numbers, 3, 10))
    return Drawn(model, feeds, MODELS[name])


def _move_weights(model: Any) -> None:
    """Biases that are no zeros and scales that are no ones, as a trained model's: what drops them is seen."""
    import numpy as np

    numbers = np.random.default_rng(3)
    for weight in model.trainable_weights:
        value = np.asarray(weight)
        if value.ndim > 1 and "bias" not in weight.path:
            continue
        weight.assign(value + numbers.normal(0, 0.1, value.shape).astype(value.dtype))


if __name__ == "__main__":
    sys.exit(main())
