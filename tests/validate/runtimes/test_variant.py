"""Session settings: what applies where, and what a row is called."""

from __future__ import annotations

import pytest

from converters.errors import UsageError
from converters.formats import Format
from validate.latency import Variant
from validate.runtimes import Device


@pytest.mark.parametrize(
    ("variant", "fmt", "device", "label"),
    [
        (Variant(), Format.ONNX, "cpu", ""),
        (Variant(xnnpack=False, graph="basic"), Format.ONNX, "cpu", "graph basic"),
        (Variant(xnnpack=False, graph="basic"), Format.TFLITE, "cpu", "no xnnpack"),
        (Variant(interface="compiled", xnnpack=False), Format.TFLITE, "cpu", "compiled"),
        (Variant(tf32=False, boundary="device_resident"), Format.ONNX, "cpu", ""),
        (Variant(tf32=False, boundary="device_resident"), Format.ONNX, "cuda", "no tf32, device resident"),
        (Variant(conv_search="HEURISTIC", spinning=False), Format.ONNX, "cuda", "no spinning, conv_search heuristic"),
        (Variant(spinning=False), Format.SAVEDMODEL, "cpu", ""),
    ],
)
def test_a_row_keeps_what_its_runtime_knows(variant: Variant, fmt: Format, device: str, label: str) -> None:
    kept = variant.for_row(fmt, Device(device))
    assert kept.label == label
    assert Variant.from_json(kept.to_json()) == kept


@pytest.mark.parametrize("wrong", [{"graph": "best"}, {"interface": "new"}, {"conv_search": "QUICK"}])
def test_settings_that_cannot_be_are_usage_errors(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Variant(**wrong)
