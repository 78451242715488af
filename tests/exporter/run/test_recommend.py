"""The choice of what to ship."""

from __future__ import annotations

import copy
from typing import Any

from exporter.manifest.passing import exit_code, passing
from exporter.manifest.schema import Manifest
from exporter.options import Choice
from exporter.report.choice import picks
from exporter.report.elsewhere import elsewhere as elsewhere_table
from exporter.report.headline import headline
from exporter.run.recommend import recommend

SIGNATURE = {"inputs": [], "outputs": []}


def bundle(**given: tuple[int, float, float, str]) -> dict[str, Any]:
    """The document of artifacts by name: size in bytes, p50 in ms, accuracy, status."""
    row = {"format": "onnx", "precision": "float32", "signature": SIGNATURE, "sha256": "0" * 64}
    nothing = dict.fromkeys(("max_abs", "rmse", "noise_ratio", "probability_max_abs", "ties"))
    figures = {"name": "y", "basis": "outputs", "sqnr_db": 30.0, "nonfinite": 0, "samples": 9, "gate": {}, **nothing}
    timing = {"format": "onnx", "precision": "float32", "device": "cpu", "status": "ok"}
    return {
        "tool": {"name": "edgeport", "version": "0"},
        "source": {"path": "m.keras", "kind": "keras", "sha256": "0" * 64},
        "signature": SIGNATURE,
        "artifacts": [row | {"path": name, "size_bytes": size} for name, (size, _, _, _) in given.items()],
        "verdicts": [
            {"artifact": name, "status": said, "outputs": [figures | judged(share, said)]}
            for name, (_, _, share, said) in given.items()
        ],
        "timings": [timing | {"artifact": name, "p50_ms": {"value": p50}} for name, (_, p50, _, _) in given.items()],
        "created": "2026-01-01T00:00:00Z",
    }


def judged(share: float, status: str) -> dict[str, Any]:
    return {"top1_agreement": share, "accuracy": share, "status": status, "reason": ""}


def chosen_of(
    document: dict[str, Any], choice: Choice = Choice(), *, allow_inconclusive: bool = False
) -> dict[str, Any]:
    return recommend(Manifest.from_document(document), choice, allow_inconclusive=allow_inconclusive)


ROWS = bundle(
    float32=(400, 4.0, 0.99, "agree"),
    float16=(200, 4.1, 0.99, "agree"),
    int8=(100, 1.0, 0.97, "agree"),
    int4=(60, 2.0, 0.95, "agree"),
    broken=(10, 0.1, 1.0, "disagree"),
)


def test_each_objective_has_its_best_among_those_that_pass() -> None:
    chosen = chosen_of(ROWS, Choice())
    assert chosen["smallest"] == "int4"
    assert chosen["fastest"] == {"cpu": "int8"}
    assert chosen["most_accurate"] == "float16", "of two as accurate, the smaller"
    assert chosen["choice"] == {"cpu": "int8"}
    assert chosen_of(ROWS, Choice("size"))["choice"] == {"cpu": "int4"}
    assert chosen_of(ROWS, Choice("accuracy"))["choice"] == {"cpu": "float32"}, "of two as accurate, the faster"


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    assert chosen_of(ROWS, Choice())["pareto"] == ["float32", "float16", "int8", "int4"]
    slower = bundle(a=(100, 1.0, 0.99, "agree"), b=(100, 2.0, 0.99, "agree"), c=(90, 2.0, 0.99, "agree"))
    assert chosen_of(slower, Choice())["pareto"] == ["a", "c"]


def test_limits_narrow_the_choice() -> None:
    chosen = chosen_of(ROWS, Choice("latency", max_latency_ms=3.0, max_size_mb=80e-6, min_agreement=0.9))
    assert chosen["choice"] == {"cpu": "int4"}
    assert "unmet" not in chosen
    assert chosen["limits"] == {"max_latency_ms": 3.0, "max_size_mb": 80e-6, "min_agreement": 0.9}


def test_limits_that_nothing_keeps_to_are_told_by_the_nearest() -> None:
    chosen = chosen_of(ROWS, Choice("size", max_latency_ms=0.5))
    assert chosen["choice"] == {}
    unmet = "No artifact keeps to the limits; int4: its p50 is 2 ms, and 0.5 ms are allowed."
    assert chosen["unmet"] == unmet
    miss = {"subject": "int4", "gate": "max_latency_ms", "limit": 0.5, "value": 2.0, "sentence": unmet}
    assert chosen["misses"] == [miss]
    few = chosen_of(ROWS, Choice("size", min_agreement=0.995))
    assert "95.0% of samples keep their class of 99.5% wanted" in few["unmet"]


def test_an_artifact_that_misses_a_gate_of_its_own_is_no_choice() -> None:
    document = bundle(a=(1, 1.0, 1.0, "agree"), b=(2, 2.0, 1.0, "agree"))
    document["artifacts"][0]["gates"] = [{"gate": "fully-integer", "passed": False, "reason": "one island"}]
    assert chosen_of(document)["choice"] == {"cpu": "b"}


def test_an_artifact_that_answers_wrongly_wherever_it_was_timed_is_no_choice() -> None:
    document = bundle(a=(1, 1.0, 1.0, "agree"), b=(2, 2.0, 1.0, "agree"))
    document["timings"][0] |= {"status": "error", "reason": "It answers wrongly.", "p50_ms": None}
    chosen = chosen_of(document)
    assert (chosen["choice"], chosen["smallest"], chosen["pareto"]) == ({"cpu": "b"}, "b", ["b"])


def test_an_inconclusive_artifact_is_a_choice_where_that_is_allowed() -> None:
    document = bundle(a=(1, 1.0, 1.0, "inconclusive"))
    assert chosen_of(document, Choice(max_size_mb=1.0)) == {"unmet": "No artifact passed."}
    assert chosen_of(document, Choice(max_size_mb=1.0), allow_inconclusive=True)["choice"] == {"cpu": "a"}


def test_without_timings_and_labels_there_is_still_a_smallest() -> None:
    document = bundle(a=(1, 1.0, 1.0, "agree"), b=(2, 2.0, 1.0, "agree")) | {"timings": []}
    for verdict in document["verdicts"]:
        verdict["outputs"][0] |= {"top1_agreement": None, "accuracy": None}
    chosen = chosen_of(document, Choice("size"))
    assert (chosen["smallest"], chosen["choice"], chosen["fastest"]) == ("a", {"any": "a"}, {})
    assert "most_accurate" not in chosen
    assert chosen_of(document | {"artifacts": [], "verdicts": []}) == {}


def unproven(document: dict[str, Any], *names: str) -> dict[str, Any]:
    changed = {"what": "classes", "count": 4, "of": 6, "share": {"value": 0.6, "low": 0.2, "high": 0.9}, "samples": []}
    for verdict in document["verdicts"]:
        status = "unproven" if verdict["artifact"] in names else "kept"
        verdict["loss"] = {"status": status, "reason": "4 of 6 classes change", "changed": changed}
    return document


def test_what_is_not_proven_is_named_and_never_chosen() -> None:
    document = unproven(copy.deepcopy(ROWS), "int8", "int4")
    document["tool"]["command"] = ["edgeport", "run", "m.keras", "-o", "out"]
    chosen = chosen_of(document)
    assert chosen["choice"] == {"cpu": "float32"}
    assert (chosen["smallest"], chosen["fastest"], chosen["pareto"]) == (
        "float16",
        {"cpu": "float32"},
        ["float32", "float16"],
    )
    assert chosen["unproven"] == ["int8", "int4"], "the fastest first"
    assert chosen["next"] == "edgeport run m.keras -o out --inputs YOUR_INPUTS.npz"
    lenient = chosen_of(document, Choice(allow_unproven=True))
    assert (lenient["choice"], lenient["unproven"]) == ({"cpu": "int8"}, ["int8", "int4"])


def test_where_nothing_is_proven_nothing_is_chosen_and_no_gate_is_missed() -> None:
    document = unproven(bundle(int8=(100, 1.0, 0.97, "agree")), "int8")
    chosen = chosen_of(document, Choice(max_size_mb=1.0))
    assert (chosen["choice"], chosen["unproven"]) == ({}, ["int8"])
    assert "unmet" not in chosen
    manifest = Manifest.from_document(document | {"recommended": chosen})
    head = headline(manifest)
    assert (exit_code(manifest), head.tone, head.word) == (0, "warn", "not proven")
    assert head.sentence.startswith("Made, not proven: 1 artifact agrees with m.keras")
    assert "4 of 6 classes change" in head.sentence


def test_a_loss_on_the_user_s_inputs_is_no_choice() -> None:
    document = unproven(bundle(float32=(400, 4.0, 0.99, "agree"), int8=(100, 1.0, 0.97, "agree")))
    document["verdicts"][1]["loss"]["status"] = "lost"
    chosen = chosen_of(document, Choice(allow_unproven=True))
    assert (chosen["choice"], chosen["smallest"], "unproven" in chosen) == ({"cpu": "float32"}, "float32", False)
    assert exit_code(Manifest.from_document(document)) == 1


def test_the_smallest_says_where_another_is_faster_and_more_exact() -> None:
    chosen = chosen_of(bundle(big=(400, 1.0, 0.99, "agree"), small=(100, 5.0, 0.97, "agree")))
    assert (chosen["smallest"], chosen["smallest_note"]) == ("small", "slower and less exact than big")
    faster = bundle(big=(400, 2.0, 0.99, "agree"), small=(100, 1.0, 0.97, "agree"))
    assert "smallest_note" not in chosen_of(faster)


def elsewhere(document: dict[str, Any], setting: str, p50: float, status: str) -> None:
    """Adds the first artifact's row of a verdict and of a timing in OpenVINO."""
    place = {"target": "openvino", "setting": setting}
    document["verdicts"].append(document["verdicts"][0] | place | {"status": status})
    document["timings"].append(document["timings"][0] | place | {"device": "openvino", "p50_ms": {"value": p50}})


def test_a_setting_counts_only_where_it_passed() -> None:
    """The faster setting of another target is wrong there: the slower one is chosen, and named."""
    document = bundle(a=(100, 2.0, 0.99, "agree"), b=(90, 3.0, 0.99, "agree"))
    elsewhere(document, "default", 0.5, "disagree")
    elsewhere(document, "float32", 1.5, "agree")
    chosen = chosen_of(document)
    assert chosen["choice"] == {"cpu": "a", "openvino": "a"}
    assert chosen["setting"] == {"openvino": "float32"}
    manifest = Manifest.from_document(document | {"recommended": chosen})
    titles = {pick.title: dict(pick.facts) for pick in picks(manifest)}
    assert titles["Ship on openvino, float32"]["p50"] == "1.50 ms"
    assert titles["Ship on cpu"]["p50"] == "2.00 ms"
    (miss,) = passing(manifest).misses
    assert (miss.subject, miss.target, miss.setting) == ("a", "openvino", "default")
    assert miss.sentence.startswith("a (openvino, default): disagree")
    assert exit_code(manifest) == 1


def test_a_target_where_nothing_passed_has_no_choice() -> None:
    document = bundle(a=(100, 2.0, 0.99, "agree"))
    elsewhere(document, "default", 0.5, "disagree")
    chosen = chosen_of(document)
    assert chosen["choice"] == {"cpu": "a"}
    assert "setting" not in chosen


def test_the_table_of_other_places_has_each_with_what_it_was_computed_in() -> None:
    document = bundle(a=(100, 2.0, 0.99, "agree"))
    assert not elsewhere_table(Manifest.from_document(document)).rows
    elsewhere(document, "default", 0.5, "agree")
    document["verdicts"][-1] |= {"precision_computed": "bfloat16", "runtime_version": "2026.4", "same_as": "host, x"}
    (row,) = elsewhere_table(Manifest.from_document(document)).rows
    assert row[:5] == ("a", "openvino 2026.4", "default", "bfloat16", "agree, bit for bit as host, x")
    assert row[-1] == "0.500 ms"
