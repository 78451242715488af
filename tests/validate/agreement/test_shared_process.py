"""The reference and the SavedModels share one process of TensorFlow; what ends it ends one of them alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from converters.isolation import Limits
from validate.agreement import JudgeJob
from validate.agreement.compare import compare

HOARD = """
import sys
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
serve = loaded.signatures["serving_default"]
(spec,) = serve.structured_input_signature[1].values()

@tf.function(input_signature=[spec])
def hoard(image):
    (labels,) = serve(image=image).values()
    return {"labels": labels + 0 * tf.reduce_sum(tf.fill([2**31], tf.reduce_sum(image)))}  # 8 GiB

module = tf.Module()
module.loaded = loaded
tf.saved_model.save(module, sys.argv[2], signatures=hoard)
"""


@pytest.mark.slow
def test_a_saved_model_that_ends_the_process_is_its_own_error(zoo: Path, tmp_path: Path) -> None:
    hoard = tmp_path / "hoard.savedmodel"
    command = [sys.executable, "-c", HOARD, str(zoo / "small.savedmodel"), str(hoard)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    candidates = [zoo / "small.savedmodel", hoard, zoo / "mutant-epsilon.savedmodel", zoo / "small.onnx"]
    agreement = compare(zoo / "small.keras", candidates, JudgeJob.of(limits=Limits(memory_bytes=2 << 30)))
    assert [verdict.status for verdict in agreement.verdicts] == ["agree", "error", "disagree", "agree"]
    error = agreement.verdicts[1].error
    assert error is not None
    assert error["code"] == 7, error
