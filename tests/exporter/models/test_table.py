"""The table: light to list, exact in its counts, helpful with wrong names, shapes and settings."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from converters.errors import UsageError
from exporter.models.settings import Setting, parse_settings, split_assignments
from exporter.models.table import ARCHITECTURES, find_architecture, plan_for

SMALL = ("inception_module", "residual_module", "digits_se_inception")
LARGE = tuple(name for name in ARCHITECTURES if name not in SMALL)


def _check_row(name):
    import keras

    keras.backend.clear_session()
    plan = plan_for(name)
    model = plan.build()
    assert model.count_params() == plan.architecture.parameters
    assert [tensor.name for tensor in model.inputs] == ["image"]
    assert model.inputs[0].shape == (None, *plan.architecture.input_shape)
    if plan.architecture.classes is None:
        assert model.output_names == ["features"]
    else:
        assert model.output_names == ["labels"]
        assert model.output_shape == (None, plan.architecture.classes)


@pytest.mark.parametrize("name", SMALL)
def test_small_rows_are_what_they_say(name):
    _check_row(name)


@pytest.mark.parametrize("name", LARGE)
def test_large_rows_are_what_they_say(name):
    _check_row(name)


def test_listing_loads_no_framework():
    code = (
        "import json, sys, exporter.models.table, exporter.models.build, exporter.cli.models, exporter.cli.build;"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"keras", "tensorflow", "h5py", "numpy"} & set(json.loads(shown.stdout))


@pytest.mark.parametrize(
    ("given", "meant"),
    [("resnet50v2", "resnet50_v2"), ("MobileNetV2", "mobilenet_v2"), ("se-inception-v3", "se_inception_v3")],
)
def test_a_near_name_is_suggested(given, meant):
    with pytest.raises(UsageError) as caught:
        find_architecture(given)
    assert f"Did you mean `{meant}`?" in caught.value.next_step
    assert all(name in caught.value.next_step for name in ARCHITECTURES)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"name": "se_inception_v3", "input_shape": (32, 224, 3)}, "32x224x3"),
        ({"name": "residual_module", "input_shape": (8, 8, 0)}, "8x8x0"),
        ({"name": "residual_module", "classes": 3}, "no classifier"),
        ({"name": "mobilenet_v2", "classes": 0}, "0 classes"),
        ({"name": "se_googlenet", "pretrained": True}, "no ImageNet weights"),
        ({"name": "mobilenet_v2", "input_shape": (224, 224, 1), "classes": 2, "pretrained": True}, "3 channels"),
        ({"name": "mobilenet_v2", "input_shape": (96, 96, 3), "pretrained": True}, "224x224 images only"),
    ],
)
def test_what_an_architecture_cannot_be_is_a_usage_error(arguments, part):
    with pytest.raises(UsageError, match=part):
        plan_for(**arguments)


def test_settings_have_types_and_defaults():
    assert plan_for("se_inception_v3").settings == {"reduction_ratio": 16, "dropout": 0.6, "warm": True}
    given = plan_for("se_inception_v3", settings={"reduction_ratio": "11", "warm": "False"}).settings
    assert given == {"reduction_ratio": 11, "dropout": 0.6, "warm": False}
    assert plan_for("inception_module", settings={"axis": "1"}).settings["axis"] == 1


@pytest.mark.parametrize(
    ("key", "text", "allowed"),
    [
        ("reduction_ratio", "0", "an integer from 1 to"),
        ("reduction_ratio", "1.5", "an integer from 1 to"),
        ("reduction_ratio", "", "an integer from 1 to"),
        ("dropout", "1", "a number from 0 to 0.99"),
        ("dropout", "nan", "a number from 0 to 0.99"),
        ("warm", "perhaps", "true or false"),
    ],
)
def test_a_bad_value_says_which_there_are(key, text, allowed):
    with pytest.raises(UsageError, match=f"`{key}` cannot be `{text}`") as caught:
        plan_for("se_inception_v3", settings={key: text})
    assert allowed in caught.value.next_step


def test_a_choice_lists_the_choices():
    with pytest.raises(UsageError) as caught:
        Setting("axis", -1, "", choices=(-1, 1)).parse("2")
    assert "-1 or 1" in caught.value.next_step


@pytest.mark.parametrize("key", ["reduction", "ratio", "reduction_rato"])
def test_an_unknown_setting_says_which_there_are(key):
    with pytest.raises(UsageError, match=f"no setting `{key}`") as caught:
        parse_settings({key: "1"}, ARCHITECTURES["se_googlenet"].settings, architecture="se_googlenet")
    assert "Did you mean `reduction_ratio`?" in caught.value.next_step
    assert "dropout=0.4" in caught.value.next_step


def test_assignments():
    assert split_assignments(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            split_assignments(wrong)


def test_ratio_reaches_the_model():
    counts = {
        ratio: plan_for("digits_se_inception", settings={"reduction_ratio": ratio}).build().count_params()
        for ratio in ("1", "8", "500")
    }
    assert counts["1"] > counts["8"] > counts["500"]


def test_ratio_eleven_of_the_tutorials_code():
    model = plan_for("se_inception_v3", settings={"reduction_ratio": "11"}).build()
    assert model.get_layer("se_reduce").units == 2048 // 11
    assert model.count_params() == 21_802_784 + 2 * 2048 * 186 + 186 + 2048 + 2048 * 17 + 17
