"""What a profile makes, and what it cannot serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from converters.artifact import Artifact
from converters.errors import UsageError
from converters.formats import Format, Precision
from converters.reduced_precisions import Conversion
from converters.signature import Signature
from exporter.options import RunOptions
from exporter.run.plan import targets_of
from exporter.shipping.board import proven_on
from exporter.shipping.profiles import batch_of, settled
from validate.targets.environment import RECORD, Environment


def options(*profiles: str, **said: Any) -> RunOptions:
    return RunOptions.of(**{"profiles": profiles} | said)


def words(given: RunOptions) -> list[str]:
    return [str(target) for target in targets_of(given)]


def test_phones_get_tflite_and_ort_in_what_needs_no_data() -> None:
    assert words(options("mobile")) == [
        "tflite float32",
        "tflite float16",
        "tflite dynamic_int8",
        "ort float32",
        "ort dynamic_int8",
    ]
    assert {"tflite int8", "ort int8"} <= set(words(options("mobile", calibration="random")))


def test_one_command_for_phones_boards_and_servers() -> None:
    given = options("mobile", "server", "microcontroller", calibration="random")
    assert {"savedmodel float32", "onnx float32", "tflite int8", "ort float32"} <= set(words(given))
    assert "onnx int8" not in words(given)
    assert [batch_of(fmt, given) for fmt in Format] == [None, 1, None, 1]


def test_a_board_alone_takes_and_gives_integers() -> None:
    given = options("microcontroller", calibration="random")
    assert words(given) == ["tflite int8"]
    assert settled(given).quantize.io == "int8"
    assert settled(options("microcontroller", calibration="random", io="float")).quantize.io == "float", "as was said"
    assert settled(options("mobile", "microcontroller", calibration="random")).quantize.io == "float"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profiles": ["microcontroller"], "precisions": ["float32"]}, "microcontroller cannot serve float32"),
        ({"profiles": ["server"], "precisions": ["int16x8"]}, "server cannot serve int16x8"),
        ({"profiles": ["mobile", "server"], "precisions": ["float32", "int17"]}, "no precision `int17`"),
        ({"profiles": ["mobile"], "formats": ["onnx"]}, "mobile makes no onnx"),
        ({"profiles": ["mobile"], "batch": 4}, "batch 1, not of batch 4"),
        ({"profiles": ["microcontroller"]}, "without calibration data"),
    ],
)
def test_what_a_profile_cannot_serve_is_a_usage_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        targets_of(RunOptions.of(**given))
    assert raised.value.exit_code == 2
    assert raised.value.next_step


def test_servers_may_have_a_fixed_batch() -> None:
    assert batch_of(Format.ONNX, options("server", batch=8)) == 8


def test_files_for_phones_are_proven_on_an_emulated_arm_where_it_is_installed(own_targets: Path) -> None:
    made = Conversion(tuple(_artifact(fmt) for fmt in (Format.TFLITE, Format.ORT, Format.ONNX)))
    assert proven_on(made, options("mobile")) == {}
    record = Environment(own_targets / "arm64", "/usr/bin/python3.11", {}).to_json()
    (own_targets / "arm64").mkdir(parents=True)
    (own_targets / "arm64" / RECORD).write_text(json.dumps(record))
    places = proven_on(made, options("mobile"))
    assert {artifact.format: [place.target for place in on] for artifact, on in places.items()} == {
        Format.TFLITE: ["arm64:cortex-a76"],
        Format.ORT: ["arm64:cortex-a76"],
    }
    assert proven_on(made, options("server")) == {}


def _artifact(fmt: Format) -> Artifact:
    return Artifact(Path(f"m.float32.{fmt}"), fmt, Precision.FLOAT32, Signature((), ()), 0, "")
