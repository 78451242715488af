"""Places: what is timed is what is judged, and a setting counts where it means something."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from converters.errors import UsageError
from converters.formats import Format
from validate.latency import BenchJob
from validate.latency.job import rows_of
from validate.runtimes import RUNTIMES
from validate.runtimes.variant import Variant
from validate.targets import HOST, TARGETS, Device, Kind, Place, Places, device_of, target_of


def test_every_target_is_a_device_with_a_runtime() -> None:
    assert len({target.device for target in TARGETS}) == len(TARGETS)
    assert len({target.name for target in TARGETS}) == len(TARGETS)
    for target in TARGETS:
        assert any(target.device.kind in row.devices for row in RUNTIMES)
        assert target_of(target.device) is target
        timed_alone = target.numbers is Kind.NEVER and target.time is Kind.REAL
        assert target.device.is_elsewhere == bool(target.machine or timed_alone)


def test_a_user_names_targets_and_which_one() -> None:
    assert device_of("host") == device_of("cpu") == Device.CPU
    board = device_of("ssh:pi@board")
    assert (board.kind, board.detail, Place(board).target) == ("ssh", "pi@board", "ssh:pi@board")
    for word in ("ssh", "ssh:", "moon", "openvino:fast", "browser:moon", "cuda:"):
        with pytest.raises(UsageError) as error:
            Places(devices=(word,))
        assert "ssh:HOST" in error.value.next_step


def test_a_target_that_needs_a_package_says_what_brings_it() -> None:
    for target in TARGETS:
        assert bool(target.package or target.environment) == bool(target.install)
        known = {field.name for field in fields(Variant)}
        assert all(set(setting) <= known for setting in target.settings)


def test_a_file_is_judged_on_the_host_first_and_wherever_it_is_timed() -> None:
    places = Places(devices=("openvino",), variants=(Variant(graph="basic"),))
    assert places.judged(Format.ONNX) == (
        HOST,
        Place(Device.OPENVINO),
        Place(Device.OPENVINO, Variant(float32=True)),
    )
    assert places.judged(Format.SAVEDMODEL) == (HOST,)
    on_both = Places(devices=("cpu", "openvino"), variants=(Variant(graph="basic"),))
    assert on_both.judged(Format.ONNX)[:2] == (HOST, Place(variant=Variant(graph="basic")))
    assert on_both.judged(Format.TFLITE)[:2] == (HOST, Place(Device.OPENVINO))


@pytest.mark.parametrize(
    "places", [Places(), Places(tune=True), Places(devices=("cpu", "openvino"), require=("cuda",))]
)
def test_what_is_timed_is_judged_in_the_very_setting(tmp_path: Path, places: Places) -> None:
    for fmt, name in ((Format.ONNX, "x.onnx"), (Format.TFLITE, "x.tflite")):
        (tmp_path / name).write_bytes(b"")
        timed = {row.place for row in rows_of([tmp_path / name], BenchJob(places=places))}
        opened = {place for place in timed if any(fmt in r.opens and place.device.kind in r.devices for r in RUNTIMES)}
        assert opened <= set(places.judged(fmt))


def test_a_phone_is_timed_and_not_judged() -> None:
    places = Places(devices=("cpu", "adb:phone1"))
    assert [place.setting for place in places.for_format(Format.TFLITE)] == ["default", "default", "gpu"]
    assert places.judged(Format.TFLITE) == (HOST,)


def test_settings_that_mean_nothing_there_are_one_place() -> None:
    variants = (Variant(), Variant(xnnpack=False), Variant(interface="compiled"), Variant(tf32=False))
    assert [place.setting for place in Places(variants=variants).for_format(Format.ONNX)] == ["default"]
    assert [place.setting for place in Places(variants=variants).for_format(Format.TFLITE)] == [
        "default",
        "no xnnpack",
        "compiled",
    ]
    on_gpu = Places(devices=("cuda",), variants=variants).for_format(Format.ONNX)
    assert [place.setting for place in on_gpu] == ["default", "no tf32"]


def test_a_device_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="openvin"):
        Places(devices=("openvin",))  # type: ignore[arg-type]
