"""The judge on synthetic arrays: gates, ties, maps, and the rule of the dead model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import UsageError
from converters.formats import Precision
from validate.agreement.arrays import Writer
from validate.agreement.judging.class_decisions import accuracy
from validate.agreement.judging.decisions import Known, decides
from validate.agreement.judging.gates import DRIFT, GATES, gate_for
from validate.agreement.judging.judge import judge_output
from validate.agreement.judging.metrics import softmax
from validate.agreement.judging.reference_values import Candidate, Reference
from validate.agreement.options import JudgeOptions
from validate.agreement.plan import Plan
from validate.agreement.rows import OutputRow
from validate.runtimes.devices import Arithmetic

NOISE = 1e-6
GATE = GATES[Precision.FLOAT32]


def write(folder: Path, stem: str, values: Any) -> None:
    with Writer(folder, stem, ("y",), len(values)) as writer:
        writer.append({"y": np.asarray(values)}, len(values))


class Bench:
    """A reference of `samples` x 4 whose float32 noise is NOISE, and candidates against it."""

    def __init__(self, work: Path, exact: Any, kind: str | None = None, oracle: int | None = None) -> None:
        self.work, self.kind, self.exact = work, kind, np.asarray(exact, dtype=np.float64)
        count = len(self.exact) if oracle is None else oracle
        rng = np.random.default_rng(0)
        self.mine = self.exact + NOISE * np.sign(rng.standard_normal(self.exact.shape))
        stems = {"out": self.map(self.mine), **({"logits": self.mine} if kind else {})}
        for stem, values in stems.items():
            write(work / "reference", stem, values)
        if count:
            write(work / "oracle", "out", self.map(self.exact)[:count])
            if kind:
                write(work / "oracle", "logits", self.exact[:count])
        kinds = {"y": kind} if kind else {}
        self.reference = Reference(work, Plan(len(self.exact), 0, 8, count), ("y",), kinds)

    def map(self, values: Any) -> Any:
        return softmax(values) if self.kind else values

    def judge(self, values: Any, outputs: Any = None, precision: Precision = Precision.FLOAT32) -> OutputRow:
        folder = self.work / "candidate"
        write(folder, "out", self.map(values) if outputs is None else outputs)
        if self.kind:
            write(folder, "logits", values)
        candidate = Candidate(folder, {"y": self.kind} if self.kind else {}, precision)
        return judge_output(self.reference, {}, candidate, 0, gate_for(precision, {}))


def living(samples: int = 16) -> Any:
    return np.random.default_rng(1).standard_normal((samples, 4))


def test_within_the_gate_agrees_and_beyond_it_does_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living())
    error = np.zeros((16, 4))
    error[3, 2] = 2.0 * NOISE
    good = bench.judge(bench.exact + error)
    bad = bench.judge(bench.exact + 2 * error)
    assert (good.status, good.basis) == ("agree", "outputs")
    assert good.noise_ratio == pytest.approx(2.0, rel=1e-6)
    assert bad.status == "disagree"
    assert bad.noise_ratio == pytest.approx(4.0, rel=1e-6)


def test_more_samples_have_the_limit_that_their_maximum_needs(tmp_path: Path) -> None:
    for count, status in ((16, "disagree"), (500, "agree")):
        bench = Bench(tmp_path / str(count), living(count))
        row = bench.judge(bench.exact + 3.5 * NOISE * np.eye(count)[3][:, None])
        assert row.status == status
    assert row.gate.limit == pytest.approx(3.76, abs=0.01)
    assert bench.judge(bench.exact + 4.0 * NOISE * np.eye(count)[3][:, None]).status == "disagree"


def test_whole_numbers_that_rounding_may_turn_are_not_judged_and_all_others_are(tmp_path: Path) -> None:
    """The oracle runs 16 of 40 samples; of the others as many may turn as twice the share that it saw."""
    classes = np.random.default_rng(0).integers(0, 9, (40, 50))
    undecided = np.zeros((16, 50), bool)
    undecided[2, :8] = True
    write(tmp_path / "reference", "out", classes)
    write(tmp_path / "oracle", "out", classes[:16])
    write(tmp_path / "oracle", "undecided_out", undecided)
    reference = Reference(tmp_path, Plan(40, 0, 8, 16), ("y",), {})

    def judged(*changed: tuple[int, slice]) -> str:
        values = classes.copy()
        for place in changed:
            values[place] += 1
        write(tmp_path / "candidate", "out", values)
        return judge_output(reference, {}, Candidate(tmp_path / "candidate", {}), 0, GATE).status

    assert judged((2, slice(8))) == "agree"
    assert judged((2, slice(8)), (3, slice(1))) == "disagree"
    assert judged((30, slice(20))) == "agree"
    assert judged((30, slice(40))) == "disagree"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(movement=st.floats(1e-9, 1e-3), offset=st.floats(-1, 1), seed=st.integers(0, 99))
def test_inconclusive_exactly_when_the_dead_model_would_pass(
    tmp_path: Path, movement: float, offset: float, seed: int
) -> None:
    """Whatever the reference moves by: a constant candidate never agrees, an honest one never disagrees."""
    exact = offset + movement * np.random.default_rng(seed).standard_normal((16, 4))
    bench = Bench(tmp_path, exact)
    honest = bench.judge(bench.mine)
    dead = bench.judge(np.broadcast_to(bench.mine.mean(axis=0), exact.shape))
    assert dead.status in {"disagree", "inconclusive"}
    assert honest.status in {"agree", "inconclusive"}
    assert (honest.status == "inconclusive") == honest.gate.dead_passes


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(movement=st.floats(1e-9, 1.0), precision=st.sampled_from(list(Precision)))
def test_a_dead_model_never_agrees_without_an_oracle_either(
    tmp_path: Path, movement: float, precision: Precision
) -> None:
    exact = 1.0 + movement * living()
    bench = Bench(tmp_path, exact, oracle=0)
    dead = bench.judge(np.broadcast_to(bench.mine.mean(axis=0), exact.shape), precision=precision)
    assert dead.noise_ratio is None
    assert dead.status in {"disagree", "inconclusive"}


def test_saturated_probabilities_hide_what_the_logits_show(tmp_path: Path) -> None:
    exact = np.array([[40.0, 0.0, 0.0, 0.0], [0.0, 40.0, 0.0, 0.0]] * 8) + 0.1 * living()
    bench = Bench(tmp_path, exact, "softmax")
    row = bench.judge(bench.exact * 1.01)
    assert row.basis == "logits"
    assert row.status == "disagree"
    assert row.probability_max_abs is not None
    assert row.probability_max_abs < 1e-9


def test_probabilities_must_be_the_map_of_the_logits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living(), "softmax")
    wrong = bench.map(bench.mine) ** 1.01
    row = bench.judge(bench.mine, wrong)
    assert row.status == "disagree"
    assert "softmax of its logits" in row.reason


def test_a_value_that_is_not_finite_disagrees(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living())
    values = bench.mine.copy()
    values[5, 1] = np.nan
    row = bench.judge(values)
    assert (row.status, row.nonfinite) == ("disagree", 1)


def test_samples_that_the_oracle_did_not_see_are_judged_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living(40), oracle=16)
    values = bench.mine.copy()
    assert bench.judge(values).status == "agree"
    values[30] += 20 * NOISE
    row = bench.judge(values)
    assert row.status == "disagree"
    assert "beyond the oracle's 16 samples" in row.reason


def ensemble(bench: Bench, errors: Any) -> None:
    """What the ensemble's members were off by at most, by sample."""
    np.save(bench.work / "oracle" / "noise_out.0.npy", np.asarray(errors, np.float64))


def test_what_an_honest_evaluation_is_off_by_is_granted_in_that_sample_alone(tmp_path: Path) -> None:
    """A sample that float32 cannot tell, like a row of one value before a LayerNormalization, excuses no other."""
    bench = Bench(tmp_path, living())
    noise = np.full(16, NOISE)
    noise[3] = 1000 * NOISE
    ensemble(bench, noise)
    loud, quiet = bench.mine.copy(), bench.mine.copy()
    loud[3] += 900 * NOISE
    quiet[4] += 900 * NOISE
    assert bench.judge(loud).status == "agree"
    row = bench.judge(quiet)
    assert row.status == "disagree"
    assert row.noise_ratio == pytest.approx(900, rel=0.01)
    assert row.conditioning == pytest.approx(1000 * NOISE / np.abs(bench.mine).max(), rel=1e-6)
    assert "cannot tell a smaller fault" in row.reason
    ensemble(bench, np.full(16, NOISE))
    assert "cannot tell" not in bench.judge(bench.mine).reason


def test_classes_tie_by_the_noise_of_their_own_sample(tmp_path: Path) -> None:
    exact = living()
    exact[:, :2] += 5.0
    exact[5, 1] = exact[5, 0] + 100 * NOISE
    bench = Bench(tmp_path, exact, "softmax")
    for stem in ("out", "logits"):
        np.save(tmp_path / "oracle" / f"noise_{stem}.0.npy", np.where(np.arange(16) == 3, 1000 * NOISE, 0.0))
    flipped = bench.mine.copy()
    flipped[5, :2] = flipped[5, 1::-1]
    row = bench.judge(flipped)
    assert row.ties == 0
    assert row.top1_agreement == pytest.approx(15 / 16)


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.FLOAT16])
def test_of_an_output_that_is_a_constant_equality_is_the_whole_truth(tmp_path: Path, precision: Precision) -> None:
    """The anchors of a detector: there is nothing that could tell a dead model, and nothing that has to."""
    bench = Bench(tmp_path, np.broadcast_to([1.0, 2.0, 0.0, -3.0], (16, 4)))
    for folder in ("reference", "oracle"):
        write(tmp_path / folder, "out", bench.exact)
    for draw in range(3):
        write(tmp_path / "rounded" / f"{precision}-{draw}", "out", bench.exact * (1 + 2**-12))
    assert bench.judge(bench.exact, precision=precision).status == "agree"
    assert bench.judge(bench.exact + np.array([0, 0, 0, 0.1]), precision=precision).status == "disagree"


def test_a_column_that_one_scale_for_all_has_drowned_disagrees(tmp_path: Path) -> None:
    """Boxes in 0 to 640 beside scores in 0 to 1, in one int8 output: every score is zero, and the whole looks well."""
    rng = np.random.default_rng(3)
    exact = np.concatenate([rng.uniform(0, 640, (64, 3)), rng.uniform(0, 1, (64, 1))], axis=1)
    bench = Bench(tmp_path, exact)
    step = 640 / 255
    coded = np.round(exact / step) * step
    for draw in range(3):
        write(tmp_path / "rounded" / f"{Precision.INT8}-{draw}", "out", coded)
    row = bench.judge(coded, precision=Precision.INT8)
    assert row.rounding_ratio == pytest.approx(1.0, rel=0.01)
    assert row.status == "disagree"
    assert "1 of its 4 columns move in the reference and are constant here (column 3)" in row.reason
    kept = np.concatenate([coded[:, :3], np.round(exact[:, 3:] * 255) / 255], axis=1)
    assert bench.judge(kept, precision=Precision.INT8).status == "agree"


def test_another_shape_disagrees(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living())
    row = bench.judge(bench.mine[:, :3])
    assert row.status == "disagree"
    assert "(16, 3) instead of (16, 4)" in row.reason


@pytest.mark.parametrize(
    ("known", "shape", "labels", "expected"),
    [
        (Known("softmax"), (4, 10), None, "classes"),
        (Known("softmax"), (4, 8, 8, 21), None, "classes"),
        (Known("softmax", of_input=True), (4, 7, 5), None, "classes"),  # one-hot letters in, the next letter out
        (Known("softmax"), (4, 1), None, ""),
        (Known("sigmoid"), (4, 1), None, "labels"),
        (Known("sigmoid"), (4, 8, 8, 1), None, "labels"),  # a mask of a coloured image
        (Known("sigmoid", of_input=True), (4, 8, 8, 3), None, ""),  # an autoencoder
        (Known("sigmoid", of_input=True), (4, 8, 8, 1), np.ones((4, 8, 8, 1), int), "labels"),  # a mask of a grey one
        (Known("sigmoid", of_input=True, named=True), (4, 8, 8, 1), None, "labels"),
        (Known("sigmoid", of_input=True), (4, 64), np.array([0, 1, 2, 3]), ""),  # classes of the digits it redraws
        (Known(of_input=True), (4, 64), np.array([0, 1, 2, 3]), ""),
        (Known(), (4, 10), None, ""),  # a code, coordinates, logits: nobody knows
        (Known(), (4, 10), np.array([0, 1, 2, 3]), "classes"),
        (Known(named=True), (4, 10), None, "classes"),
        (Known(), (4, 2), np.array([[0.3, 0.1]] * 4), ""),  # targets of a regression
    ],
)
def test_one_rule_says_what_an_output_decides_on(
    tmp_path: Path, known: Known, shape: tuple[int, ...], labels: Any, expected: str
) -> None:
    values = np.random.default_rng(0).uniform(size=shape)
    assert decides(values, known, labels) == expected
    bench = Bench(tmp_path, values)
    bench.reference = replace(bench.reference, known={"y": known}, labels=labels)
    row = bench.judge(bench.mine)
    assert row.status == "agree"
    assert row.decides == expected
    assert (row.top1_agreement is not None, row.labels_agreement is not None) == (
        expected == "classes",
        expected == "labels",
    )
    assert row.loss is not None
    assert (row.loss.changed.what if row.loss.changed else "") == expected


def test_positions_that_change_class_are_counted(tmp_path: Path) -> None:
    exact = np.random.default_rng(0).standard_normal((16, 5, 5, 4))
    exact[..., 0] += 8.0
    bench = Bench(tmp_path, exact)
    bench.reference = replace(bench.reference, known={"y": Known("softmax")})
    values = bench.mine.copy()
    values[3, 2, 2, [0, 1]] = values[3, 2, 2, [1, 0]]
    row = bench.judge(values)
    assert row.top1_agreement == pytest.approx(399 / 400)
    assert "1 of 400 positions change class" in row.reason


def test_what_the_reference_moves_by_stands_beside_the_noise(tmp_path: Path) -> None:
    exact = 250.0 + 1e-9 * living()
    row = Bench(tmp_path, exact).judge(exact)
    assert row.status == "inconclusive"
    assert "moves by" in row.reason
    assert re.search(r"own noise is up to [\d.e+-]+ \(limit 3 times", row.reason)
    row = Bench(tmp_path / "none", exact, oracle=0).judge(exact)
    assert re.search(r"moves by [\d.e+-]+ \(rms\), and an error of [\d.e+-]+ may pass", row.reason)


def test_classes_that_change_fail_a_reduced_precision(tmp_path: Path) -> None:
    """The signal stays 20 dB above the error, yet a tenth of the classes change."""
    exact = living(100)
    exact[:10] = [1.0, 0.8, 0.0, -5.0]
    bench = Bench(tmp_path, exact, "softmax")
    values = bench.mine.copy()
    values[:10, :2] = values[:10, 1::-1]
    row = bench.judge(values, precision=Precision.INT8)
    assert row.sqnr_db is not None
    assert row.sqnr_db > GATES[Precision.INT8].sqnr_db
    assert row.status == "disagree"
    assert "10 of 100 samples change class" in row.reason


def test_a_reference_of_zeros(tmp_path: Path) -> None:
    bench = Bench(tmp_path, np.zeros((4, 4)))
    write(tmp_path / "reference", "out", np.zeros((4, 4)))
    assert bench.judge(np.zeros((4, 4))).status == "inconclusive"
    assert bench.judge(np.full((4, 4), 1e-30)).status == "disagree"


@pytest.mark.parametrize("tolerances", [{"atol": 1e-3}, {"noise_ratio": 0.0}, {"sqnr_db": float("nan")}])
def test_tolerances_that_are_none(tolerances: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        JudgeOptions(tolerances)


def test_every_precision_has_a_gate_with_a_reason() -> None:
    assert set(GATES) == {*Precision, *Arithmetic}
    assert all(gate.why and gate.sqnr_db > 0 for gate in GATES.values())


def test_accuracy_of_classes_one_hot_rows_and_single_outputs() -> None:
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert accuracy(outputs, np.array([1, 0, 0])) == pytest.approx(2 / 3)
    assert accuracy(outputs, np.array([[1], [0], [0]])) == pytest.approx(2 / 3)
    assert accuracy(outputs, np.array([[0, 1], [1, 0], [1, 0]])) == pytest.approx(2 / 3)
    assert accuracy(outputs[:, :1], np.array([0, 1, 1])) == pytest.approx(2 / 3)
    assert accuracy(outputs, np.array([0.5, 0.5, 0.5])) is None
    assert accuracy(outputs, None) is None


def write_beside(bench: Bench, extra: Any, error: Any) -> Any:
    """The bench with structured and saturating samples behind its own; what a candidate with this error there gives."""
    write(bench.work / "reference", "out", np.concatenate([bench.mine, extra + NOISE]))
    write(bench.work / "oracle", "out", np.concatenate([bench.exact, extra]))
    bench.reference = replace(bench.reference, plan=replace(bench.reference.plan, structured=2, saturating=2))
    return np.concatenate([bench.mine, extra + error])


def test_a_fault_that_only_saturating_inputs_bring_out_disagrees(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living())
    extra = 10 * np.random.default_rng(5).standard_normal((4, 4))
    fine = bench.judge(write_beside(bench, extra, 2 * NOISE))
    assert fine.status == "agree"
    assert fine.samples == 16
    capped = np.zeros((4, 4))
    capped[3] = 1e-3
    row = bench.judge(write_beside(bench, extra, capped))
    assert row.status == "disagree"
    assert "on saturating inputs" in row.reason
    assert row.noise_ratios["inputs"] < 2
    assert row.noise_ratios["saturating"] == pytest.approx(row.noise_ratio)


def emulate(bench: Bench, precision: Precision, rms: float) -> Any:
    """Writes an emulated precision whose error has this rms; returns such an error, drawn anew."""
    rng = np.random.default_rng(7)
    for k in range(3):
        write(bench.work / "rounded" / f"{precision}-{k}", "out", bench.mine + rms * rng.standard_normal((16, 4)))
    return rms * rng.standard_normal((16, 4))


@pytest.mark.parametrize("precision", [Precision.FLOAT16, Precision.DYNAMIC_INT8, Precision.INT8])
def test_a_reduced_precision_may_cost_what_its_rounding_costs_and_no_multiple(
    tmp_path: Path, precision: Precision
) -> None:
    bench = Bench(tmp_path, living())
    error = emulate(bench, precision, 1e-2)
    honest = bench.judge(bench.mine + error, precision=precision)
    assert (honest.status, honest.gate.measure) == ("agree", "rounding_ratio")
    assert honest.rounding_ratio == pytest.approx(1.0, abs=0.3)
    assert bench.judge(bench.mine + 6 * error, precision=precision).status == "disagree"


def test_where_rounding_alone_drowns_the_signal_decibels_decide(tmp_path: Path) -> None:
    """By such a yardstick a constant would pass. A file that was mended is far better than it, and may pass."""
    bench = Bench(tmp_path, living())
    error = emulate(bench, Precision.INT8, 0.5)
    as_emulated = bench.judge(bench.mine + error, precision=Precision.INT8)
    assert (as_emulated.status, as_emulated.gate.measure) == ("disagree", "sqnr_db")
    assert "dB below the moving part of the signal (limit 13 dB)" in as_emulated.reason
    drowned = bench.judge(bench.mine + 100 * error, precision=Precision.INT8)
    assert re.search(r"its error is \d+\.\d dB above the moving part of the signal", drowned.reason)
    constant = np.broadcast_to(bench.mine.mean(axis=0), bench.exact.shape)
    assert bench.judge(constant, precision=Precision.INT8).status == "disagree"
    mended = bench.judge(bench.mine + error / 10, precision=Precision.INT8)
    assert (mended.status, mended.gate.measure) == ("agree", "sqnr_db")
    assert mended.gate.value > 13


def test_an_output_that_hardly_moves_stays_inconclusive_in_decibels(tmp_path: Path) -> None:
    """Below the floor of float32 itself neither yardstick can tell a constant from a file that works."""
    exact = 1.0 + 1e-9 * living()
    bench = Bench(tmp_path, exact, oracle=0)
    bench.mine = exact
    write(tmp_path / "reference", "out", exact)
    emulate(bench, Precision.INT8, 1e-2)
    row = bench.judge(exact, precision=Precision.INT8)
    assert (row.status, row.gate.measure, row.gate.dead_passes) == ("inconclusive", "sqnr_db", True)


def test_classes_that_rounding_turns_are_a_matter_of_loss(tmp_path: Path) -> None:
    """The file computes what its precision must cost; what that does to decisions is told apart, on any inputs."""
    exact = 3 * living()
    best = exact.argmax(axis=1)
    exact[:6, :] -= 1
    exact[np.arange(6), best[:6]] = exact[np.arange(6), (best[:6] + 1) % 4] = 5.0  # six samples near a tie
    exact[np.arange(6), best[:6]] += 0.01
    bench = Bench(tmp_path, exact, "softmax")
    rng = np.random.default_rng(7)
    write(tmp_path / "rounded" / "int8-0", "logits", bench.mine + 0.05 * rng.standard_normal((16, 4)))
    flipped = bench.mine.copy()
    flipped[np.arange(6), best[:6]] -= 0.05
    drawn = bench.judge(flipped, precision=Precision.INT8)
    bench.reference = replace(bench.reference, drawn=False)
    given_ = bench.judge(flipped, precision=Precision.INT8)
    assert (drawn.status, given_.status) == ("agree", "agree")
    assert drawn.loss is not None
    assert given_.loss is not None
    assert (drawn.loss.status, given_.loss.status) == ("unproven", "lost")
    assert "6 of 16 classes change" in given_.loss.reason
    assert given_.loss.changed is not None
    assert given_.loss.changed.samples == tuple(range(6))
    assert given_.loss.changed.share.low < 6 / 16 < given_.loss.changed.share.high


def test_probabilities_are_looked_at_in_the_small_batches_too(tmp_path: Path) -> None:
    """A runtime whose last operation fails in a batch of one: the logits are right in every batch."""
    bench = Bench(tmp_path, living(), "softmax")
    bench.reference = replace(bench.reference, plan=replace(bench.reference.plan, singles=4, wide=8))
    rows = bench.reference.plan.wide_rows
    for suffix, logits in (("1", bench.mine[:4]), ("32", bench.mine[rows])):
        write(tmp_path / "reference", f"logits{suffix}", logits)
        write(tmp_path / "candidate", f"logits{suffix}", logits)
        write(tmp_path / "candidate", f"out{suffix}", bench.map(logits))
    assert bench.judge(bench.mine).status == "agree"
    for suffix, logits in (("1", bench.mine[:4]), ("32", bench.mine[rows])):
        write(tmp_path / "candidate", f"out{suffix}", np.full(logits.shape, 0.25))
        row = bench.judge(bench.mine)
        assert row.status == "disagree"
        assert "softmax of its logits" in row.reason
        write(tmp_path / "candidate", f"out{suffix}", bench.map(logits))


def test_outputs_that_lost_what_the_logits_tell_disagree(tmp_path: Path) -> None:
    """Probabilities near a quarter, in steps of 1/16: one constant."""
    bench = Bench(tmp_path, 1e-2 * living(), "softmax")
    values = bench.exact + 1e-4 * living()
    lost = bench.judge(values, np.round(16 * bench.map(values)) / 16, Precision.INT8)
    assert "loses what its logits tell" in lost.reason
    assert bench.judge(values, precision=Precision.INT8).status == "agree"


def test_a_loud_softmax_is_not_blamed_for_the_rounding_of_its_logits(tmp_path: Path) -> None:
    """Logits of 60 and an error of 2 in all: other probabilities, as any rounding that large would give."""
    bench = Bench(tmp_path, 20 * living(), "softmax")
    values = bench.exact + 0.6 * np.random.default_rng(3).standard_normal((16, 4))
    row = bench.judge(values, precision=Precision.DYNAMIC_INT8)
    assert row.probability_max_abs is not None
    assert row.probability_max_abs > 0.05
    assert "loses" not in row.reason


def test_logits_of_half_precision_are_rounded_where_they_leave_the_file(tmp_path: Path) -> None:
    """The untouched file keeps them in float32 up to its softmax."""
    bench = Bench(tmp_path, 60 + living(), "softmax")
    kept = bench.map(bench.mine)
    rounded = bench.mine.astype(np.float16).astype(np.float64)
    assert np.abs(bench.map(rounded) - kept).max() > 2.0**-10
    assert "of its logits" not in bench.judge(rounded, kept, Precision.FLOAT16).reason
    wrong = bench.judge(rounded, bench.map(1.2 * bench.mine), Precision.FLOAT16)
    assert "softmax of its logits" in wrong.reason


def test_steps_that_are_right_may_drift_in_the_long_run(tmp_path: Path) -> None:
    """Of a step model: float32's own states drift too, and that much is granted."""
    bench, steps = Bench(tmp_path, living()), np.arange(1, 17)[:, None]
    for own_drift, allowed in ((0.0, 10.0), (20.0, 200.0)):
        write(tmp_path / "oracle", "outsteps", bench.exact)
        write(tmp_path / "reference", "outsteps", bench.mine + own_drift * NOISE * steps / 16)
        write(tmp_path / "candidate", "outsteps", bench.exact + allowed * NOISE * steps / 16)
        row = bench.judge(bench.mine)
        assert row.status == "agree", row.reason
        assert row.noise_ratios["consecutive"] == pytest.approx(allowed / (DRIFT * (own_drift + 1)), rel=0.1)
    write(tmp_path / "candidate", "outsteps", bench.exact + 2000 * NOISE * steps / 16)
    row = bench.judge(bench.mine)
    assert row.status == "disagree"
    assert "on consecutive inputs" in row.reason


def test_a_reduced_precision_s_long_run_counts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living())
    write(tmp_path / "oracle", "outsteps", bench.exact)
    write(tmp_path / "reference", "outsteps", bench.mine)
    for error, status in ((1e-3, "agree"), (1.0, "disagree")):
        write(tmp_path / "candidate", "outsteps", bench.exact + error * living())
        assert bench.judge(bench.mine, precision=Precision.INT8).status == status


def test_a_few_samples_are_judged_by_their_own_yardstick(tmp_path: Path) -> None:
    """What was run on the first samples alone is held to them; a fault in one of them is found."""
    bench = Bench(tmp_path, living(64), kind="softmax")
    bench.reference = replace(bench.reference, few=4)
    error = np.zeros((64, 4))
    error[2, 1] = 10 * NOISE
    good, bad = bench.judge(bench.exact[:4]), bench.judge((bench.exact + error)[:4])
    assert (good.status, good.samples) == ("agree", 4)
    assert (bad.status, bad.samples) == ("disagree", 4)
    assert bad.noise_ratio == pytest.approx(10, rel=1e-3)
    assert bench.judge(bench.exact[:3]).status == "disagree", "fewer than it was to run"
