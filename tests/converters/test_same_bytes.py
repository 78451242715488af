"""Two exports in two processes, with another hash seed, folder, home, time zone: the same bytes in every format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import zoo
from converters.artifact import digest
from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.loading import load
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite
from converters.tracing import trace

digests = {}
for source in sorted(Path(sys.argv[2]).glob("*.keras")):
    traced = trace(load(Checkpoint(source, SourceKind.KERAS, source.stem, "")))
    folder = Path(sys.argv[3]) / source.stem
    write_saved_model(traced, folder)
    write_onnx(traced, folder.with_suffix(".onnx"))
    paths = [folder, folder.with_suffix(".onnx")]
    if not traced.recurrent:
        write_tflite(traced, lambda: folder, folder.with_suffix(".tflite"))
        paths.append(folder.with_suffix(".tflite"))
    digests |= {path.name: digest(path) for path in paths}
print(json.dumps(digests))
"""
NAMES = ("augmented", "gelu_attention", "grouped", "gru_bidirectional", "lstm", "separable", "two_inputs_dict_outputs")


def test_two_processes_write_the_same_bytes(zoo, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for name in NAMES:
        zoo.build(name).save(sources / f"{name}.keras")
    found = []
    for seed, zone in (("1", "UTC"), ("4242", "Asia/Tokyo")):
        out = tmp_path / f"out{seed}"
        out.mkdir()
        env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "HOME": str(out), "TMPDIR": str(out)}
        command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(sources), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=out, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert len(found[0]) >= 2 * len(NAMES)
    assert found[0] == found[1]
