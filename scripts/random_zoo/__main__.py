"""Random models of Keras' layers, each made in three formats in float32 and held against Keras.

    scripts/zoo [COUNT]                 300 models; prints a table and every failure
    scripts/zoo 60 --seed other         others
    scripts/zoo --model 0-17 --keep DIR one of them by its seed, with its files kept
    scripts/zoo --quick                 with the verdict of `edgeport validate` only where a file lies apart from Keras

Models are made one after the other in a process that edgeport's own worker functions run in. Where that process dies,
the model in hand is a crash and a fresh process goes on. Exit code 1 where a file is wrong, broken or a crash.
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
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FORMATS = ("savedmodel", "onnx", "tflite")
STATUSES = ("made", "refused", "apart", "wrong", "broken", "crash")
AT_ONCE = 60
"""Models of one process: TensorFlow keeps what it has compiled."""


def main() -> int:
    options = _options()
    if options.work:
        return _work(options.work, options.keep, quick=options.quick)
    began = time.monotonic()
    seeds = options.model or [f"{options.seed}-{k}" for k in range(options.count)]
    rows: list[dict[str, Any]] = []
    document: dict[str, Any] = {"seed": options.seed, "minutes": 0.0, "models": rows}
    for row in _rows(seeds, options):
        rows.append(row)
        document["minutes"] = (time.monotonic() - began) / 60
        if options.json:  # after each model: a run that is stopped has told what it found
            options.json.write_text(json.dumps(document, indent=1) + "\n")
    _print(document)
    counts = [row["formats"][fmt]["status"] for row in rows if "formats" in row for fmt in FORMATS]
    return int(any(status in {"wrong", "broken", "crash"} for status in counts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/zoo", description=__doc__.partition("\n")[0])
    parser.add_argument("count", nargs="?", type=int, default=300)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--model", action="append", help="a single model, by its seed (as in 0-17); may be repeated")
    parser.add_argument("--json", type=Path, help="where the results are written")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the files of each model")
    parser.add_argument("--quick", action="store_true", help="verdicts only of files that lie apart from Keras")
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def _work(seeds: list[str], keep: Path | None, *, quick: bool) -> int:
    """The child: one JSON line before each step and one after each model."""
    from validate.runtimes import RuntimeOptions
    from validate.runtimes.saved_model import prepare_tensorflow

    from .judge import NoModelError, judged

    prepare_tensorflow(RuntimeOptions(threads=len(os.sched_getaffinity(0))))  # as a worker of `validate` does

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        for seed in seeds:

            def said(step: str, seed: str = seed) -> None:
                print(json.dumps({"seed": seed, "step": step}), file=answers, flush=True)

            began = time.monotonic()
            row: dict[str, Any] = {"seed": seed}
            try:
                results, row["layers"] = judged(seed, (keep or Path(scratch)) / seed, said, quick=quick)
                row["formats"] = {name: result.to_json() for name, result in results.items()}
            except NoModelError as cause:
                row["none"] = str(cause)
            row["seconds"] = round(time.monotonic() - began, 2)
            print(json.dumps(row), file=answers, flush=True)
    return 0


def _rows(seeds: list[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each model that Keras can run. A seed whose model it cannot gets others behind it: 0-17, 0-17b, ..."""
    left = list(seeds)
    while left:
        batch, left = left[:AT_ONCE], left[AT_ONCE:]
        for row in _through(batch, options):
            if "none" in row:
                left.append(_other(row["seed"]))
            yield row


def _other(seed: str) -> str:
    letter = seed[-1]
    return f"{seed}b" if letter.isdigit() else seed[:-1] + chr(ord(letter) + 1)


def _through(seeds: list[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of these models, by as many processes as it takes."""
    left = list(seeds)
    while left:
        step, outcome = "start", "ended"
        for line in _lines(left, options):
            if "step" in line:
                step = line["step"]
                continue
            left.remove(line["seed"])
            yield line
        if left:
            outcome = f"the process ended at the step {step}"
            crash = {fmt: {"status": "crash", "detail": outcome, "error": 0.0} for fmt in FORMATS}
            yield {"seed": left.pop(0), "seconds": 0.0} | ({"none": outcome} if step == "draw" else {"formats": crash})


def _lines(seeds: list[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    flags = [*(["--keep", str(options.keep)] if options.keep else []), *(["--quick"] if options.quick else [])]
    command = [sys.executable, "-m", "random_zoo", *flags, "--work", *seeds]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    log = Path(tempfile.gettempdir()) / f"zoo-{os.getpid()}.log"
    with log.open("ab") as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | quiet)
        assert child.stdout is not None
        for line in child.stdout:
            yield json.loads(line)
        child.wait()


def _print(document: dict[str, Any]) -> None:
    rows = [row for row in document["models"] if "formats" in row]
    print(f"| {len(rows)} models, seed {document['seed']} | {' | '.join(FORMATS)} |\n|---|---|---|---|")
    for status in STATUSES:
        counts = [sum(row["formats"][fmt]["status"] == status for row in rows) for fmt in FORMATS]
        cells = [f"{n} ({n / max(len(rows), 1):.1%})" if n else "0" for n in counts]
        print(f"| {status} | {' | '.join(cells)} |")
    print()
    reasons: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], str] = {}
    for row in rows:
        for fmt in FORMATS:
            result = row["formats"][fmt]
            if result["status"] != "made":
                key = fmt, result["status"], kind_of(result["detail"])
                reasons[key] += 1
                examples.setdefault(key, row["seed"])
    layers = {row["seed"]: row.get("layers", "") for row in rows}
    for (fmt, status, reason), count in sorted(reasons.items(), key=lambda item: (item[0][:2], -item[1])):
        example = examples[fmt, status, reason]
        print(f"{count:4} {fmt} {status} (as {example}): {reason}")
        if status != "refused":
            print(f"     {layers[example]}")
    verdicts = Counter(
        (fmt, row["formats"][fmt].get("verdict", "").partition(": ")[0]) for row in rows for fmt in FORMATS
    )
    for (fmt, verdict), count in sorted(verdicts.items()):
        if verdict:
            print(f"{count:4} {fmt} verdict {verdict}")
    nones = sum("none" in row for row in document["models"])
    print(f"\n{nones} more were drawn that Keras cannot run or save. {document['minutes']:.1f} minutes.")


def kind_of(detail: str) -> str:
    """A reason without what is one model's own: names with numbers, sizes, layers."""
    last = detail.strip().splitlines()[-1] if detail.strip() else ""
    return re.sub(r"\(layer [^)]*\)", "", re.sub(r"_?\d[\d.e+-]*", "#", last))[:220]


if __name__ == "__main__":
    sys.exit(main())
