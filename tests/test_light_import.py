"""`edgeport --help` and `inspect` answer without a framework: what was imported is read from `sys.modules`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "digits_se_inception.keras"
FRAMEWORKS = {"tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "ai_edge_litert", "scipy"}

PROBE = """
import json, sys
from exporter.cli.main import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["bench", "--help"],
        ["models"],
        ["inspect", str(EXAMPLE)],
        ["inspect", str(EXAMPLE), "--json"],
        ["run", "no_such_file.keras", "-o", "out"],
    ],
    ids=" ".join,
)
def test_no_framework_is_loaded(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code == (2 if "no_such_file.keras" in arguments else 0), done.stderr
    assert not FRAMEWORKS & set(loaded)
