"""Makes every float32 file of many models and judges each on several seeds: `measure_agreement.py FOLDER honest`.

What was measured stays in `FOLDER/honest.jsonl`, a row a model and seed: a second call goes on where the first was
ended. A converter that ends the process loses that file alone, and the row says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from measure_agreement import checkpoint_of

SEEDS = tuple(range(int(os.environ.get("SEEDS", "3"))))
AT_ONCE = 12
"""Models of one process: TensorFlow keeps what it has compiled."""


def main() -> int:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    if names[:1] == ["--work"]:
        return _work(folder, json.loads(names[1]), names[2:])
    measure(folder, names)
    return 0


def measure(folder: Path, names: Iterable[str]) -> None:
    """Measures the models that have no rows yet."""
    path = folder / "honest.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    left = [name for name in names if not {row["model"] for row in rows} >= {name}]
    while left:
        batch, left = left[:AT_ONCE], left[AT_ONCE:]
        for row in _through(folder, batch):
            with path.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            told = row.get("none") or {
                name: file["status"] for name, file in row["files"].items() if file["alarm"] and not file["broken"]
            }
            print(row["model"], row.get("seed", ""), row.get("seconds", ""), told or "no alarm", flush=True)


def _through(folder: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of these models, by as many processes as it takes; each process that ends early costs one file."""
    left, without = list(names), dict[str, list[str]]()
    while left:
        step = "start"
        for line in _lines(folder, without, left):
            if "step" in line:
                step = line["step"]
            elif "done" in line:
                left.remove(line["done"])
            else:
                yield line
        if left and step not in {"start", "draw", "judge"} and step not in without.get(left[0], []):
            without.setdefault(left[0], []).append(step)
        elif left:
            yield {"model": left.pop(0), "none": f"the process ended at the step {step}"}


def _lines(folder: Path, without: dict[str, list[str]], names: list[str]) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "honest_files", str(folder), "--work", json.dumps(without), *names]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    scripts = Path(__file__).parents[1]
    paths = {"PYTHONPATH": f"{scripts}:{scripts.parent}"}
    with (folder / "honest.log").open("ab") as errors:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | quiet | paths
        )
        assert child.stdout is not None
        for line in child.stdout:
            yield json.loads(line)
        child.wait()


def _work(folder: Path, without: dict[str, list[str]], names: list[str]) -> int:
    """The child: one JSON line before each step, one a row, and one after each model."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    from validate.runtimes import RuntimeOptions
    from validate.runtimes.saved_model import prepare_tensorflow

    prepare_tensorflow(RuntimeOptions(threads=len(os.sched_getaffinity(0))))

    def say(**document: Any) -> None:
        print(json.dumps(document), file=answers, flush=True)

    for name in names:
        _model(folder, name, without.get(name, []), say)
        say(done=name)
    return 0


def _model(folder: Path, name: str, without: list[str], say: Any) -> None:
    import keras
    from random_zoo.making import opened_anew

    from . import files, judging, models

    say(step="draw")
    keras.backend.clear_session()
    opened_anew()
    place = folder / name.replace("/", "-").replace(":", "-").replace(",", "x")
    place.mkdir(parents=True, exist_ok=True)
    checkpoint = place / "model.keras"
    try:
        if name.startswith(("hard/", "zoo/")):
            models.made(name).save(checkpoint)
        else:
            checkpoint = checkpoint_of(folder, name)
        model = keras.saving.load_model(checkpoint, compile=False)
    except Exception as cause:  # Keras' kinds are many
        say(model=name, none=f"{type(cause).__name__}: {cause}"[:300])
        return
    paths, missing = {}, dict.fromkeys(without, "its converter ended the process")
    for file in files.NAMES:
        if file in without:
            continue
        say(step=file)
        path = place / file
        try:
            if not path.exists():
                files.write(file, checkpoint, model, path)
            paths[file] = path
        except Exception as cause:  # as above
            missing[file] = f"{type(cause).__name__}: {cause}"[:300]
    for seed in SEEDS:
        say(step="judge")
        began = time.process_time()
        try:
            rows = judging.judged(checkpoint, paths, seed)
        except Exception as cause:  # as above
            traceback.print_exc()
            say(model=name, seed=seed, none=f"{type(cause).__name__}: {cause}"[:600])
            continue
        say(model=name, seed=seed, files=rows, missing=missing, seconds=round(time.process_time() - began, 1))


if __name__ == "__main__":
    sys.exit(main())
