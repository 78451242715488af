"""`--map`: a wrong one is named before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.common import Common
from converters.errors import UsageError
from exporter.cli.mapping import check_mapping, mapping_of


def onnx_file(path: Path, outputs: dict[str, int]) -> Path:
    """Each output is the input `x` of its width, times one."""
    from onnx import TensorProto, helper, save

    def end(name: str, width: int) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])

    nodes = [helper.make_node("Identity", [f"x{width}"], [name]) for name, width in outputs.items()]
    inputs = [end(f"x{width}", width) for width in sorted(set(outputs.values()))]
    graph = helper.make_graph(nodes, "g", inputs, [end(name, width) for name, width in outputs.items()])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return onnx_file(tmp_path / "ours.onnx", {"labels": 4, "box": 2}), onnx_file(
        tmp_path / "theirs.onnx", {"Identity:0": 4, "b=x": 2}
    )


def test_words_of_the_command_line() -> None:
    assert mapping_of(["Identity:0=labels", "b=x=box"]) == {"Identity:0": "labels", "b=x": "box"}


@pytest.mark.parametrize("texts", [["labels"], ["=labels"], ["a="], ["a=b", "a=c"], ["a=c", "b=c"]])
def test_words_that_are_no_mapping(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--map"):
        mapping_of(texts)


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({"Identity": "labels"}, "no candidate has `Identity`"),
        ({"Identity:0": "label"}, "the reference has no output `label`"),
        ({"Identity:0": "x4"}, "the reference has no output `x4`"),
        ({"Identity:0": "box"}, r"their shapes differ, \(batch, 4\) and \(batch, 2\)"),
    ],
)
def test_a_wrong_mapping_is_named(mapping: dict[str, str], sentence: str, files: tuple[Path, Path]) -> None:
    ours, theirs = files
    with pytest.raises(UsageError, match=sentence) as caught:
        check_mapping(mapping, ours, [theirs], Common())
    assert caught.value.exit_code == 2


def test_a_right_mapping_passes(files: tuple[Path, Path]) -> None:
    ours, theirs = files
    check_mapping({"Identity:0": "labels", "b=x": "box"}, ours, [theirs], Common())
