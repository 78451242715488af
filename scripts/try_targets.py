"""What was really run on which target, with which versions, and how far its answers lie from the host's.

Runs `edgeport run` on the digits example once, for all targets together, and reads its manifest. Then every artifact is
opened by hand on the host and on each target that gives numbers, without the judge, and their answers are compared.
Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import EdgeportError
from converters.formats import Format, format_of
from validate.latency.host.facts import host_facts
from validate.runtimes import RuntimeOptions, open_artifact
from validate.runtimes.table import row_for
from validate.targets import Device, Kind, device_of, target_of

EXAMPLES = Path(__file__).parents[1] / "examples"
PRECISIONS = ("float32", "float16", "dynamic_int8", "int8", "int16x8")
TARGETS = ("host", "openvino", "arm64:cortex-a76", "tflm", "browser")
SAMPLES = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", action="append", metavar="TARGET", help=f"default: {', '.join(TARGETS)}")
    parser.add_argument("--out", type=Path, help="keep the bundle here")
    chosen = parser.parse_args()
    targets = tuple(chosen.on or TARGETS)
    with tempfile.TemporaryDirectory(prefix="edgeport-targets-") as folder:
        bundle = chosen.out or Path(folder) / "digits"
        code, seconds = run(targets, bundle)
        manifest = json.loads((bundle / "manifest.json").read_text())
        print(f"\n`edgeport run` on {', '.join(targets)}: exit {code}, {seconds:.0f} s.\n")
        print(markdown(["target", "runtimes", "judged", "agree", "timed", "of them not there"], coverage(manifest)))
        print(markdown(["artifact", *targets[1:]], differences(bundle, manifest, targets[1:])))
    print(f"Machine: {machine()}.")
    return int(code)


def run(targets: Sequence[str], bundle: Path) -> tuple[int, float]:
    """The one command; its exit code and seconds."""
    words = [
        str(Path(sys.executable).with_name("edgeport")),
        "run",
        str(EXAMPLES / "digits_se_inception.keras"),
        "-o",
        str(bundle),
    ]
    words += ["--force", "--inputs", str(EXAMPLES / "digits.npz"), "--max-seconds", "45"]
    words += ["--calibration", str(EXAMPLES / "digits_calibration.npz")]
    words += [part for precision in PRECISIONS for part in ("-p", precision)]
    words += [part for target in targets for part in ("--on", target)]
    start = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
    return done.returncode, time.monotonic() - start


def coverage(manifest: dict[str, Any]) -> Iterator[list[str]]:
    """By target: what ran there, and what became of it."""
    verdicts, timings = manifest["verdicts"], manifest["timings"]
    for target in dict.fromkeys(row["target"] for row in (*verdicts, *timings)):
        own = [row for row in verdicts if row["target"] == target]
        runtimes = dict.fromkeys(f"{row['runtime']} {row['runtime_version']}" for row in own if row["runtime"])
        timed = [row for row in timings if row["target"] == target]
        yield [
            target,
            ", ".join(runtimes),
            str(len(own)),
            str(sum(row["status"] == "agree" for row in own)),
            str(sum(row["status"] == "ok" for row in timed)),
            str(sum(row["status"] == "unavailable" for row in timed)),
        ]


def differences(bundle: Path, manifest: dict[str, Any], targets: Iterable[str]) -> Iterator[list[str]]:
    """By artifact, the greatest difference of a target's answers from the host's, on the first samples."""
    with np.load(EXAMPLES / "digits.npz") as arrays:
        samples = arrays[arrays.files[0]][:SAMPLES]
    for entry in manifest["artifacts"]:
        path = bundle / entry["path"]
        if format_of(path) not in {Format.TFLITE, Format.ONNX}:
            continue
        here = answers(path, Device.CPU, samples)
        yield [path.name.split(".", 1)[1], *(difference(path, device_of(word), samples, here) for word in targets)]


def difference(path: Path, device: Device, samples: Any, here: list[Any]) -> str:
    fmt = format_of(path)
    if fmt is None or row_for(fmt, device) is None or target_of(device).numbers is Kind.NEVER:
        return "not read"
    try:
        there = answers(path, device, samples)
    except EdgeportError:
        return "refused"
    gap = max(float(np.max(np.abs(a.astype(np.float64) - b))) for a, b in zip(there, here, strict=True))
    return "none" if gap == 0 else f"{gap:.2g}"


def answers(path: Path, device: Device, samples: Any) -> list[Any]:
    """The outputs, in the order of the signature."""
    runtime = open_artifact(path, RuntimeOptions(device=device, float32=True))
    outputs = runtime.run({runtime.signature.input_names[0]: samples})
    return [outputs[name] for name in runtime.signature.output_names]


def machine() -> str:
    facts = host_facts()
    return f"{facts['cpu']}, {facts['logical_cpus']} CPUs, {facts['system']} {facts['machine']}, {time.strftime('%F')}"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
