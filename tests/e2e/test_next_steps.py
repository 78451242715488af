"""Every next step that is cheap to try, tried on the very input that prints it: it leads further, never in a circle.

The command runs in this process up to where work would begin, which is as far as a word can be wrong.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from converters.errors import UsageError
from exporter.cli.main import run
from exporter.doctor.tiny import tiny_onnx, tiny_tflite

REACHED = "work would begin here"
CODE = "import keras\n\ndef build():\n    return keras.Sequential()\n\nclass Doubling(keras.layers.Layer):\n    pass\n"

ROWS: list[tuple[str, str, str]] = [
    # what is typed | in the next step | what it then is
    ("run se_inceptoin_v3", "se_inception_v3", "run se_inception_v3"),
    ("run se_inception_v3 --set ratio", "--set reduction_ratio=", "run se_inception_v3 --set reduction_ratio=11"),
    ("run se_inception_v3 --set redction_ratio=8", "reduction_ratio", "run se_inception_v3 --set reduction_ratio=8"),
    ("run se_inception_v3 --input-shape 3,3,3", "from 75", "run se_inception_v3 --input-shape 75,75,3"),
    ("run se_inception_v3 --input-shape 90", "224,224,3", "run se_inception_v3 --input-shape 224,224,3"),
    ("run se_inception_v3 --architecture xception", "Leave --architecture out", "run se_inception_v3"),
    ("run se_inception_v3 --classes 0", "whole number of 1 or more", "run se_inception_v3 --classes 1"),
    ("export plain.keras --architecture xception", "Leave them out", "export plain.keras"),
    ("export plain.keras --signature serve", "Leave it out", "export plain.keras"),
    ("export plain_saved_model --signature serv", "It has: .*serving_default",
     "export plain_saved_model --signature serving_default"),
    ("export scaling_lambda.keras", "--replace scale=rescaling:SCALE",
     "export scaling_lambda.keras --replace scale=rescaling:1/255"),
    ("export scaling_lambda.keras", "--allow-unsafe", "export scaling_lambda.keras --allow-unsafe"),
    ("export scaling_lambda.keras --replace scal=rescaling:2", "It has: .*scale",
     "export scaling_lambda.keras --replace scale=rescaling:2"),
    ("export scaling_lambda.keras --replace scale=2", "--replace scale=rescaling:1/255",
     "export scaling_lambda.keras --replace scale=rescaling:1/255"),
    ("export custom.keras", "--custom-objects", "export custom.keras --custom-objects code.py:Doubling"),
    ("export custom.keras --custom-objects codes.py", "shop/layers.py", "export custom.keras --custom-objects code.py"),
    ("inspect scaling_lambda.keras --scan", "--replace scale=",
     "inspect scaling_lambda.keras --scan --replace scale=rescaling:2"),
    ("export lone.weights.h5", "--model-code MODULE:FUNCTION", "export lone.weights.h5 --model-code code.py:build"),
    ("export lone.weights.h5", "--architecture NAME", "export lone.weights.h5 --architecture xception"),
    ("export lone.weights.h5 --model-code code.py", "shop/layers.py:Halve",
     "export lone.weights.h5 --model-code code.py:build"),
    ("export alone/model.json", "--weights PATH", "export alone/model.json --weights lone.weights.h5"),
    ("export alone/model.json", "model.weights.h5", "export beside/model.json"),
    ("export alone/model.json --weights plain.txt", "save_weights",
     "export alone/model.json --weights lone.weights.h5"),
    ("inspect plain.keras --weights lone.weights.h5", "Leave it out", "inspect plain.keras"),
    ("inspect alone/model.json", "--weights PATH", "inspect alone/model.json --weights lone.weights.h5"),
    ("export se_inception_v3 -f tflight", "tflite", "export se_inception_v3 -f tflite"),
    ("export se_inception_v3 -p float61", "float16", "export se_inception_v3 -p float16"),
    ("export se_inception_v3 -f savedmodel -p int8", "Choose from: .*tflite int8",
     "export se_inception_v3 -f tflite -p int8 --calibration random"),
    ("export se_inception_v3 --batch 0", "leave it out", "export se_inception_v3"),
    ("export se_inception_v3 --shape x", "image=batch,320,320,3", "export se_inception_v3 --shape x=batch,6"),
    ("export se_inception_v3 --shape x=1,6 --shape x=2,6", "one shape for each",
     "export se_inception_v3 --shape x=1,6"),
    ("export se_inception_v3 --shape x=2,6 --batch 3", "write `batch`",
     "export se_inception_v3 --shape x=batch,6 --batch 3"),
    ("export se_inception_v3 --inputs given.npz", "Add --rescue", "export se_inception_v3 --inputs given.npz --rescue"),
    ("export se_inception_v3 --inputs given.npz", "edgeport run", "run se_inception_v3 --inputs given.npz"),
    ("run se_inception_v3 --input-range 5,1", "lower number first", "run se_inception_v3 --input-range 1,5"),
    ("run se_inception_v3 --input-range 5", "0,255", "run se_inception_v3 --input-range 0,255"),
    ("run se_inception_v3 --tolerance 8", "noise_ratio=8", "run se_inception_v3 --tolerance noise_ratio=8"),
    ("run se_inception_v3 --max-drop 1", "Add --metric: top1",
     "run se_inception_v3 --max-drop 1 --metric top1 --inputs given.npz"),
    ("run se_inception_v3 --metric top1", "--inputs an .npz that holds `labels`",
     "run se_inception_v3 --metric top1 --inputs given.npz"),
    ("run se_inception_v3 --metric top1 --metric-lower --inputs given.npz", "Leave --metric-lower out",
     "run se_inception_v3 --metric top1 --inputs given.npz"),
    ("run se_inception_v3 --profile microcontroller -f onnx", "Choose from: tflite",
     "run se_inception_v3 --profile microcontroller -f tflite --calibration random"),
    ("run se_inception_v3 --profile microcontroller --batch 4", "Leave --batch out",
     "run se_inception_v3 --profile microcontroller --calibration random"),
    ("run se_inception_v3 --preprocess size=3", "--preprocess", "run se_inception_v3 --preprocess scale=1/255"),
    ("run tiny.float32.onnx -f tflite", "Choose from: .*onnx float32", "run tiny.float32.onnx -f onnx"),
    ("run se_inception_v3 --on arm46", "arm64", "run se_inception_v3 --on arm64"),
    ("validate tiny.float32.onnx", "Name the artifacts", "validate tiny.float32.onnx tiny.tflite"),
    ("validate tiny.float32.onnx", "give --self-test", "validate tiny.float32.onnx --self-test"),
    ("validate tiny.float32.onnx tiny.tflite --self-test", "Leave the artifacts out",
     "validate tiny.float32.onnx --self-test"),
    ("validate tiny.float32.onnx tiny.tflite --junit j.xml --matrix", "Leave --self-test and --matrix out",
     "validate tiny.float32.onnx tiny.tflite --junit j.xml"),
    ("validate tiny.float32.onnx tiny.tflite --map a", "--map Identity=labels",
     "validate tiny.float32.onnx tiny.tflite --map a=a"),
    ("validate tiny.float32.onnx tiny.tflite --map aa=a", "Did you mean `a`",
     "validate tiny.float32.onnx tiny.tflite --map a=a"),
    ("validate tiny.float32.onnx tiny.tflite --preprocess scale=1/255", "leave --preprocess out",
     "validate tiny.float32.onnx tiny.tflite"),
    ("bench tiny.tflite --golden none.npz", "an .npz of golden", "bench tiny.tflite --golden given.npz"),
    ("bench tiny.tflite --signature plus", "Choose from: serving_default",
     "bench tiny.tflite --signature serving_default"),
    ("bench tiny.tflite --max-slowdown 5%", "Give --compare", "bench tiny.tflite"),
    ("bench tiny.tflite --device cuda --on arm46", "arm64", "bench tiny.tflite --on arm64"),
]  # fmt: skip


WORK = {
    "exporter.run.pipeline": "working",
    "validate.agreement.compare": "compare",
    "validate.mutants": "self_test",
    "exporter.cli.bench": "_measure",
}
"""Where work begins, by module."""


def stop(*_: Any, **__: Any) -> NoReturn:
    raise UsageError(REACHED, next_step="None.")


@pytest.fixture(scope="module")
def folder(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("next")
    for name in ("plain.keras", "scaling_lambda.keras", "custom.keras"):
        shutil.copy(checkpoints / name, folder)
    shutil.copytree(checkpoints / "plain_saved_model", folder / "plain_saved_model")
    (folder / "tiny.float32.onnx").write_bytes(tiny_onnx())
    (folder / "tiny.tflite").write_bytes(tiny_tflite())
    with zipfile.ZipFile(folder / "plain.keras") as archive:
        config, weights = archive.read("config.json"), archive.read("model.weights.h5")
    (folder / "lone.weights.h5").write_bytes(weights)
    for name in ("alone", "beside"):
        (folder / name).mkdir()
        (folder / name / "model.json").write_bytes(config)
    (folder / "beside" / "model.weights.h5").write_bytes(weights)
    (folder / "code.py").write_text(CODE)
    (folder / "plain.txt").write_text("no weights")
    np.savez(folder / "given.npz", x=np.zeros((2, 6), np.float32), labels=np.zeros(2, np.int64))
    return folder


def outcome(words: str, out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The message and the next step of a command; `REACHED` where work would begin, or where it went well."""
    given = words.split()
    if given[0] in {"run", "export"}:
        given += ["-o", str(out)]
    code = run(given)
    told = capsys.readouterr().err
    if code == 0 or REACHED in told:
        return REACHED, ""
    assert code in {2, 3}, told
    message, _, step = told.partition("\n  next: ")
    return message, step


@pytest.mark.parametrize(("typed", "step", "followed"), ROWS, ids=[f"{row[0]} -> {row[1]}" for row in ROWS])
def test_the_next_step_leads_further(
    typed: str,
    step: str,
    followed: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    for module, name in WORK.items():
        monkeypatch.setattr(import_module(module), name, stop)
    message, told = outcome(typed, tmp_path / "out", capsys)
    assert message != REACHED, "it is not refused"
    assert re.search(step, told), told
    assert outcome(followed, tmp_path / "out", capsys)[0] == REACHED
