"""Texts drawn, given and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.arrays import as_array
from converters.checkpoints.texts import Texts
from converters.errors import RefusedError, StepError, UsageError
from converters.signature import TEXT, Signature, TensorSpec
from validate.agreement.arrays import Writer, read_array
from validate.agreement.judging.reference_values import Candidate, Reference
from validate.agreement.judging.texts import judge_texts
from validate.agreement.plan import Plan
from validate.inputs import InputOptions, edge_cases, generate, read, texts_that_run
from validate.runtimes.base import refuse_other_batches

WORDS = Texts(("cat", "dog", "über"), None, "the vocabulary of look")
SENTENCES = Texts(("cat", "dog", "über"), " ", "the vocabulary of look")
NAMED = TensorSpec("word", ("batch", 2), TEXT)


def drawn(texts: Texts, samples: int = 40) -> list[str]:
    options = InputOptions(samples, texts={"word": texts})
    return [text.decode() for text in generate(Signature((NAMED,), ()), options).arrays["word"].ravel().tolist()]


def test_single_words_are_the_models_with_unknown_and_empty_ones_among_them() -> None:
    found = drawn(WORDS)
    known = [text for text in found if text in WORDS.words]
    assert set(known) == set(WORDS.words)
    assert found.count("") == 10
    assert len(found) - len(known) - found.count("") == 10
    assert set(drawn(WORDS.narrower[1])) > set(WORDS.words)
    assert "" not in drawn(WORDS.narrower[1])
    assert set(drawn(WORDS.narrower[2])) == set(WORDS.words)


def test_sentences_have_several_words_capitals_and_marks() -> None:
    found = drawn(SENTENCES)
    assert max(len(text.split()) for text in found) > 5
    assert any(text.endswith("!") and text[0].isupper() for text in found)
    assert any("unknown" in text for text in found)
    assert "" in found
    letters = drawn(Texts(("a", "b"), "", "letters").narrower[2])
    assert {*"".join(letters)} == {"a", "b"}
    assert max(map(len, letters)) > 5


def test_without_a_vocabulary_words_are_made_up() -> None:
    made = generate(Signature((NAMED,), ()), InputOptions(8))
    assert b"word" in made.arrays["word"][0, 0]
    assert made.texts["word"].startswith("made-up words")
    assert not made.ranges


def test_edge_cases_of_texts_are_picked_from_them() -> None:
    made = generate(Signature((NAMED,), ()), InputOptions(8, texts={"word": WORDS}))
    cases = edge_cases(made.arrays, made.ranges, 0, 4)["word"]
    assert set(cases.ravel().tolist()) <= set(made.arrays["word"].ravel().tolist())


def test_a_files_bytes_are_to_be_decoded_outside() -> None:
    with pytest.raises(RefusedError, match="single text") as caught:
        refuse_other_batches(Signature((TensorSpec("wav_data", (), TEXT),), ()))
    assert "--graph-input" in caught.value.next_step
    assert "constant" not in caught.value.next_step


def _fails(texts: list[bytes]) -> np.ndarray[Any, Any]:
    if b"" in texts:
        raise StepError("no step", next_step="")
    return np.zeros(len(texts))


def _gives_nan(texts: list[bytes]) -> np.ndarray[Any, Any]:
    return np.array([np.nan if text == b"" else 0.0 for text in texts])


@pytest.mark.parametrize("model", [_fails, _gives_nan])
def test_what_a_model_does_not_take_is_not_drawn(model: Any) -> None:
    def run(arrays: Any) -> Any:
        return {"y": model(arrays["word"].ravel().tolist())}

    def draw(texts: Any) -> Any:
        return generate(Signature((NAMED,), ()), InputOptions(16, texts=texts)).arrays

    assert texts_that_run({"word": WORDS}, draw, run, 1) == {"word": WORDS.narrower[1]}
    assert texts_that_run({"word": WORDS}, draw, lambda _: {}, 1) == {"word": WORDS}


@pytest.mark.parametrize("kind", [str, bytes])
def test_texts_are_read_as_bytes(tmp_path: Path, kind: type) -> None:
    words = [["cat", "über"], ["", "a longer text"]]
    given = np.array(words) if kind is str else as_array(np.array(words))
    np.savez(tmp_path / "x.npz", word=given)
    found = read(tmp_path / "x.npz", Signature((NAMED,), ()))
    assert found.arrays["word"].tolist() == [[b"cat", "über".encode()], [b"", b"a longer text"]]
    assert not found.ranges
    assert found.texts == {"word": "given in x.npz"}


def test_numbers_for_texts_and_texts_for_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", word=np.zeros((3, 2)))
    with pytest.raises(UsageError, match="takes texts"):
        read(tmp_path / "x.npz", Signature((NAMED,), ()))
    np.savez(tmp_path / "y.npz", word=np.array([["1", "2"]]))
    with pytest.raises(UsageError, match="holds texts"):
        read(tmp_path / "y.npz", Signature((TensorSpec("word", ("batch", 2), "float32"),), ()))
    np.savez(tmp_path / "z.npz", word=np.array([["1", "2"]], object))
    with pytest.raises(RefusedError, match="Python objects") as caught:
        read(tmp_path / "z.npz", Signature((NAMED,), ()))
    assert "dtype=str" in caught.value.next_step


def test_texts_of_several_widths_are_one_array_on_disk(tmp_path: Path) -> None:
    with Writer(tmp_path, "out", ("word",), 3) as writer:
        writer.append({"word": np.array([b"a", b"bb"])}, 2)
        writer.append({"word": np.array([b"longer"])}, 1)
    assert read_array(tmp_path, "out", 0).tolist() == [b"a", b"bb", b"longer"]


def judged(work: Path, want: list[str], got: list[str], free: list[bool] | None = None) -> Any:
    for folder, texts in (("reference", want), ("candidate", got), ("oracle", want)):
        with Writer(work / folder, "out", ("word",), len(texts)) as writer:
            writer.append({"word": as_array(np.array(texts))}, len(texts))
    if free:
        np.save(work / "oracle" / "undecided_out.0.npy", np.array(free))
    reference = Reference(work, Plan(3, 0, 3, 3, structured=1), ("word",), {})
    return judge_texts(reference, Candidate(work / "candidate", {}), 0)


def test_texts_are_held_equal_in_edge_cases_too(tmp_path: Path) -> None:
    want = ["no", "yes", "no", "maybe"]
    row = judged(tmp_path / "same", want, want)
    assert (row.status, row.loss.status, row.samples) == ("agree", "kept", 3)
    row = judged(tmp_path / "other", want, ["no", "yes", "yes", "maybe"])
    assert (row.status, row.loss.status, row.loss.changed.samples) == ("disagree", "unproven", (2,))
    assert judged(tmp_path / "edge", want, ["no", "yes", "no", "no"]).status == "disagree"
    assert judged(tmp_path / "tie", want, ["no", "yes", "yes", "maybe"], [False, False, True, False]).status == "agree"
    assert judged(tmp_path / "constant", ["no"] * 4, ["no"] * 4).gate.dead_passes
