"""Options that cannot be are refused where they are made, and one mistake has one sentence, typed or passed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import exporter
from converters.checks.base import Options, check_of
from converters.checks.values import Flag, Instance
from converters.errors import UsageError
from exporter import (
    BenchOptions,
    Boundary,
    Choice,
    Common,
    Device,
    Format,
    Io,
    JudgeOptions,
    Limits,
    LoadOptions,
    Localized,
    RunOptions,
    ShipOptions,
    Variant,
)
from exporter.cli.main import run
from exporter.run.plan import targets_of
from validate.agreement import JudgeJob
from validate.latency import BenchJob


def flat(**given: Any) -> Callable[[], object]:
    return lambda: RunOptions.of(**given)


MISTAKES: list[tuple[Callable[[], object], list[str]]] = [
    (flat(formats=("onnx", "onxx")), ["-f", "onnx", "-f", "onxx"]),
    (flat(precisions=("flaot32",)), ["-p", "flaot32"]),
    (flat(io="int4"), ["--io", "int4"]),
    (flat(calibration_method="best"), ["--calibration-method", "best"]),
    (flat(calibration_samples=0), ["--calibration-samples", "0"]),
    (flat(target_device="tpu"), ["--target-device", "tpu"]),
    (flat(devices=("gpu",)), ["--device", "gpu"]),
    (flat(require=["gpu"]), ["--require", "gpu"]),
    (flat(samples=0), ["--samples", "0"]),
    (flat(samples="many"), ["--samples", "many"]),
    (flat(samples=2.5), ["--samples", "2.5"]),
    (flat(batch=0), ["--batch", "0"]),
    (flat(batch="often"), ["--batch", "often"]),
    (flat(opset=0), ["--opset", "0"]),
    (flat(jobs=0), ["--jobs", "0"]),
    (flat(seed=-1), ["--seed", "-1"]),
    (flat(seed=2**32), ["--seed", str(2**32)]),
    (flat(rescue_budget=7), ["--rescue-budget", "7"]),
    (flat(rescue_budget=math.nan), ["--rescue-budget", "nan"]),
    (flat(threads=(2, 0)), ["--threads", "2,0"]),
    (flat(threads=("x",)), ["--threads", "x"]),
    (flat(cold_starts=0), ["--cold", "0"]),
    (flat(max_seconds=-5), ["--max-seconds", "-5"]),
    (flat(max_seconds=0.0), ["--max-seconds", "0.0"]),
    (flat(max_seconds=math.nan), ["--max-seconds", "nan"]),
    (flat(max_seconds=math.inf), ["--max-seconds", "inf"]),
    (flat(localize="none"), ["--localize", "none"]),
    (flat(profiles=("car",)), ["--profile", "car"]),
    (flat(input_range=(1, 0)), ["--input-range", "1,0"]),
    (flat(input_range=(0.5, math.nan)), ["--input-range", "0.5,nan"]),
    (flat(input_range=(1, 2, 3)), ["--input-range", "1,2,3"]),
    (flat(input_shape=(8, 8)), ["--input-shape", "8,8"]),
    (flat(input_shape=(8, 8, 0)), ["--input-shape", "8x8x0"]),
    (flat(classes=0), ["--classes", "0"]),
    (flat(tolerances={"noise": 3}), ["--tolerance", "noise=3"]),
    (flat(tolerances={"top1": -1}), ["--tolerance", "top1=-1"]),
    (flat(tolerances={"top1": math.nan}), ["--tolerance", "top1=nan"]),
    (flat(tolerances={"top1": "high"}), ["--tolerance", "top1=high"]),
    (lambda: Choice("fast"), ["--objective", "fast"]),  # type: ignore[arg-type]
    (lambda: Choice(max_latency_ms=-1), ["--max-latency", "-1"]),
    (lambda: Choice(max_size_mb=0), ["--max-size", "0"]),
    (lambda: Choice(min_agreement=1.5), ["--min-agreement", "1.5"]),
    (lambda: Limits(timeout_s=0), ["--timeout", "0"]),
    (lambda: Variant(graph="best"), ["--graph", "best"]),  # type: ignore[arg-type]
    (lambda: Variant(interface="new"), ["--litert", "new"]),  # type: ignore[arg-type]
    (lambda: Variant(tf32="never"), ["--tf32", "never"]),  # type: ignore[arg-type]
    (lambda: Variant(conv_search="quick"), ["--conv-search", "quick"]),  # type: ignore[arg-type]
    (lambda: Variant(boundary="moon"), ["--boundary", "moon"]),  # type: ignore[arg-type]
    (flat(io="int8", bake_preprocess=True), ["--io", "int8", "--bake-preprocess"]),
]


@pytest.mark.parametrize(("made", "typed"), MISTAKES, ids=[" ".join(typed) for _, typed in MISTAKES])
def test_a_mistake_has_one_sentence_typed_or_passed(
    made: Callable[[], object], typed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as passed:
        made()
    output = tmp_path / "out"
    assert run(["run", "residual_module", "-o", str(output), "--json", *typed]) == passed.value.exit_code == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["message"] == passed.value.message
    assert told["next"]
    assert passed.value.next_step
    assert not output.exists()


def test_memory_has_another_unit_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes are whole, and gigabytes need not be."""
    for bytes_ in (0, -1, 1.5, math.nan):
        with pytest.raises(UsageError, match="--memory-limit has to be a whole number above 0"):
            Limits(memory_bytes=bytes_)  # type: ignore[arg-type]
    for gigabytes in ("0", "-1", "nan", "1e-12"):
        assert run(["run", "residual_module", "-o", str(tmp_path / "out"), "--memory-limit", gigabytes]) == 2
        assert "--memory-limit has to be a" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        {"formats": "onnx"},
        {"precisions": "int8"},
        {"devices": "cpu"},
        {"threads": 2},
        {"threads": "2"},
        {"labels": "labels.txt"},
        {"profiles": "mobile"},
        {"formats": ()},
        {"precisions": []},
        {"devices": ()},
        {"threads": ()},
        {"variants": ()},
        {"formats": {"onnx": 1}},
        {"formats": None, "devices": None},
        {"io": 8},
        {"samples": True},
        {"samples": None},
        {"samples": "16"},
        {"force": "yes"},
        {"judge": "yes"},
        {"judge": {"samples": 4}},
        {"time": 0},
        {"inputs": 3},
        {"inputs": ""},
        {"calibration": 3},
        {"calibration": False},
        {"tolerances": [("top1", 1)]},
        {"tolerances": {3: 1.0}},
        {"settings": {"warm": False}},
        {"limits": 5},
        {"limits": None},
        {"opening": {"signature": "x"}},
        {"choice": "size"},
        {"variants": ("fast",)},
        {"input_range": 5},
        {"input_range": ("a", "b")},
        {"command": "edgeport run"},
    ],
    ids=str,
)
def test_what_no_option_can_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        RunOptions.of(**wrong)
    assert refused.value.message
    assert refused.value.next_step


def test_a_name_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no option `precison`") as refused:
        RunOptions.of(precison="int8")
    assert "Did you mean `precisions`?" in refused.value.next_step
    with pytest.raises(UsageError, match="no option `samplse`"):
        JudgeJob.of(samplse=3)


def test_a_near_word_is_named() -> None:
    with pytest.raises(UsageError) as refused:
        RunOptions.of(formats=("tflit",))
    assert refused.value.next_step == "Did you mean `tflite`? Choose from: savedmodel, tflite, onnx, ort."


def test_values_are_kept_as_what_they_are() -> None:
    options = RunOptions.of(
        formats=["onnx", "tflite"], io="int8", devices=iter(["cpu"]), threads=np.array([1, 2]), localize="all",
        samples=np.int64(3), max_seconds=5, inputs="scans.npz", calibration=Path("data.npz"), cache="cache",
    )  # fmt: skip
    assert options.convert.formats == (Format.ONNX, Format.TFLITE)
    assert options.quantize.io is Io.INT8
    assert options.quantize.calibration == "data.npz"
    assert options.bench is not None
    assert (options.places.devices, options.bench.threads, options.bench.max_seconds) == ((Device.CPU,), (1, 2), 5.0)
    assert options.localize.which is Localized.ALL
    assert (type(options.common.samples), options.common.inputs) == (int, Path("scans.npz"))
    assert options.workspace.cache == Path("cache")
    assert Variant(boundary="device_resident").boundary is Boundary.DEVICE_RESIDENT  # type: ignore[arg-type]
    assert LoadOptions(inputs=["x"]).inputs == ("x",)  # type: ignore[arg-type]
    hash(RunOptions.of(opening=LoadOptions(inputs=("x",))).common)


def test_a_step_that_is_none_is_left_out_and_flat_names_reach_every_part() -> None:
    options = RunOptions.of(judge=False, time=False, labels=("a.txt",), force=True, seed=3, classes=4)
    assert (options.judge, options.bench) == (None, None)
    assert options == RunOptions(
        Common(seed=3),
        exporter.BuildChoices(classes=4),
        judge=None,
        bench=None,
        ship=ShipOptions(labels=("a.txt",)),
        workspace=exporter.Workspace(force=True),
    )
    assert RunOptions.of(judge=True, time=True) == RunOptions.of() == RunOptions()
    joined = RunOptions.of(judge=JudgeOptions(allow_inconclusive=True), tolerances={"top1": 0.5}).judge
    assert joined == JudgeOptions({"top1": 0.5}, allow_inconclusive=True)
    assert BenchJob.of(threads=(2,), seed=4) == BenchJob(BenchOptions(threads=(2,)), Common(seed=4))


def test_flat_names_are_of_one_part_each() -> None:
    parts = [f.metadata["part"] for f in fields(RunOptions) if "part" in f.metadata]
    assert len(parts) == len(fields(RunOptions))
    names = [f.name for part in parts for f in fields(part)]
    assert len(set(names)) == len(names)


def every_class() -> list[type[Options]]:
    found = [getattr(exporter, name) for name in exporter.__all__]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, Options)]


def test_every_field_that_a_user_sets_has_a_check_and_every_class_is_exported() -> None:
    kinds = every_class()
    for kind in kinds:
        for field in fields(kind):
            check = field.name == "layer" or check_of(kind, field.name)
            assert check, f"{kind.__name__}.{field.name}"
            if isinstance(check, Instance) and issubclass(check.kind, Options):
                assert check.kind in kinds


def test_a_flag_takes_nothing_but_true_and_false() -> None:
    for kind in every_class():
        for field in fields(kind):
            if "check" in field.metadata and isinstance(check_of(kind, field.name), Flag):
                for wrong in (1, "true", None):
                    with pytest.raises(UsageError, match="has to be"):
                        kind(**{field.name: wrong})


def test_the_page_on_options_says_what_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    (shown,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(shown, {})


def test_formats_are_left_open_by_none_alone() -> None:
    """Not by naming the three that an open choice would take: then a pair that cannot be is an error."""
    open_ones = targets_of(RunOptions.of(precisions=("int8",), calibration="random"))
    assert [str(target) for target in open_ones] == ["tflite int8", "onnx int8"]
    for named in (["savedmodel", "tflite", "onnx"], ("onnx", "tflite", "savedmodel")):
        with pytest.raises(UsageError, match="savedmodel int8"):
            targets_of(RunOptions.of(formats=named, precisions=("int8",), calibration="random"))
