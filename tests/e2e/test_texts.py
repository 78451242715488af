"""A model of texts from checkpoint to bundle: judged, timed, executed again; and told from one with other words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MAKE = """
import sys
import keras
from keras import layers as kl
folder = sys.argv[1]
words = ["the", "cat", "sat", "on", "mat", "\\u00fcber"]

def model(words, answers):
    keras.utils.set_random_seed(1)
    given = keras.Input((1,), dtype="string", name="review")
    tokens = kl.TextVectorization(vocabulary=words, name="tokens")(given)
    seen = kl.LSTM(4)(kl.Embedding(9, 4, mask_zero=True, name="embedded")(tokens))
    shares = kl.Dense(3, activation="softmax", name="shares")(seen)
    named = kl.StringLookup(vocabulary=answers, num_oov_indices=0, invert=True, name="named")
    return keras.Model(given, {"shares": shares, "answer": named(keras.ops.argmax(shares, axis=-1))})

model(words, ["no", "yes", "maybe"]).save(f"{folder}/texts.keras")
model([*words[1:], words[0]], ["no", "yes", "maybe"]).save(f"{folder}/other_words.keras")
model(words, ["yes", "no", "perhaps"]).save(f"{folder}/other_answers.keras")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("texts")
    subprocess.run([sys.executable, "-c", MAKE, str(made)], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def bundle(edgeport: Any, folder: Path) -> Any:
    ran = edgeport("run", folder / "texts.keras", "-o", folder / "out", "--max-seconds", "2", "--json")
    assert ran.code == 10, ran.stderr  # TFLite and ONNX are refused
    return folder / "out", ran.document


def test_it_is_judged_and_timed_on_texts_of_its_words(bundle: Any) -> None:
    out, manifest = bundle
    (verdict,) = manifest["verdicts"]
    assert verdict["status"] == "agree", verdict["reason"]
    rows = {row["name"]: row for row in verdict["outputs"]}
    assert rows["shares"]["noise_ratio"] < 2
    assert rows["answer"]["loss"]["changed"]["what"] == "texts"
    assert verdict["loss"]["status"] == "kept"
    (timing,) = manifest["timings"]
    assert timing["status"] == "ok", timing
    with np.load(out / "golden.npz") as golden:
        texts, answers = golden["input/review"], golden["output/answer"]
    assert {b"cat", "über".encode()} <= {word for text in texts.ravel().tolist() for word in text.split()}
    assert b"" not in texts  # an LSTM has no step for it
    assert set(answers.tolist()) <= {b"no", b"yes", b"maybe"}


def test_its_manifest_says_what_it_takes_and_what_was_drawn(bundle: Any) -> None:
    _, manifest = bundle
    (given,) = manifest["contract"]["inputs"]
    assert (given["dtype"], given["range"]) == ("string", None)
    assert {row["name"]: row["dtype"] for row in manifest["signature"]["outputs"]} == {
        "answer": "string",
        "shares": "float32",
    }
    source = manifest["preprocessing"]["review"]["source"]
    assert source == "texts of the 6 words in the vocabulary of tokens, with unknown words"
    assert {(row["format"], row["status"]) for row in manifest["failures"]} == {
        ("tflite", "unsupported"),
        ("onnx", "unsupported"),
    }


def test_the_bundle_runs_again_as_it_did(edgeport: Any, bundle: Any) -> None:
    ran = edgeport("verify", bundle[0], "--execute")
    assert ran.code == 0, ran.stderr


@pytest.mark.parametrize(("other", "output"), [("other_words", "shares"), ("other_answers", "answer")])
def test_a_file_with_other_words_disagrees(edgeport: Any, bundle: Any, folder: Path, other: str, output: str) -> None:
    texts = np.array([["the cat sat on the mat"], ["On the über cat!"], ["cat"], ["mat mat"]])
    np.savez(folder / "texts.npz", review=texts)
    file = bundle[0] / "texts.float32.savedmodel"
    ran = edgeport("validate", folder / f"{other}.keras", file, "--inputs", folder / "texts.npz", "--json")
    assert ran.code == 1, ran.stderr
    (verdict,) = ran.document["verdicts"]
    rows = {row["name"]: row["status"] for row in verdict["outputs"]}
    assert rows[output] == "disagree"
    if other == "other_answers":
        assert rows == {"shares": "agree", "answer": "disagree"}
        assert verdict["loss"]["status"] == "lost"


def test_localizing_names_the_layer_behind_the_words(edgeport: Any, bundle: Any, folder: Path) -> None:
    file = bundle[0] / "texts.float32.savedmodel"
    ran = edgeport("localize", folder / "other_words.keras", file, "--json")
    assert ran.document["first_divergent_layer"] == "embedded", ran.stderr
