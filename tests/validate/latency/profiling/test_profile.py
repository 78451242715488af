"""Profiles of real files in real workers: every operation, its layer and kind, its multiply-adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from validate.latency import BenchJob, Latency, measure
from validate.latency.profiling.insight import with_profiles
from validate.latency.profiling.litert import aligned, multiply_adds
from validate.latency.profiling.nodes import grouped, kind_of, layer_of

BATCH = 2
MACS = 2 * 256 * 256 * BATCH


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("digits_1/stem_1/convolution", "stem"),
        ("digits_1/inception_v3_1/conv2d_3_1/convolution", "conv2d_3"),
        ("digits_1/labels_1/MatMul/MatMulAddFusion", "labels"),
        ("m_1/stem_relu_1/Relu;m_1/stem_bn_1/batchnorm/add_1;m_1/stem_1/convolution", "stem"),
        ("m_1/stem_bn_1/batchnorm/add_1", "stem_bn"),
        ("ReorderInput", ""),
        ("Transpose_token_4", ""),
        ("", ""),
    ],
)
def test_the_layer_is_read_off_the_name(name: str, layer: str) -> None:
    assert layer_of(name) == layer


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("Conv", "convolution"),
        ("Convolution (NHWC, F32) IGEMM", "convolution"),
        ("CONV_2D", "convolution"),
        ("Gemm", "dense"),
        ("FULLY_CONNECTED", "dense"),
        ("Fully Connected (NC, F32) GEMM", "dense"),
        ("MAX_POOL_2D", "pooling"),
        ("ReorderOutput", "layout"),
        ("QuantizeLinear", "quantization"),
        ("CONCATENATION", "joining"),
        ("Mul", "elementwise"),
        ("NonMaxSuppression", "elementwise"),
        ("Loop", "other"),
    ],
)
def test_kinds(operation: str, kind: str) -> None:
    assert kind_of(operation) == kind


def test_delegates_events_are_aligned_with_the_operators() -> None:
    """Two convolutions, a pooling that the delegate left out, a reshape that it added."""
    graph = ["convolution", "pooling", "convolution", "layout", "activation"]
    assert aligned(["convolution", "layout", "convolution", "activation"], graph) == [0, 0, 2, 4]
    assert aligned(graph, graph) == [0, 1, 2, 3, 4]
    assert aligned([], graph) == []
    assert aligned(["other"], graph) == [0]


@pytest.mark.parametrize(
    ("operation", "inputs", "output", "macs"),
    [
        ("CONV_2D", [[1, 8, 8, 3], [16, 3, 3, 3], [16]], [1, 8, 8, 16], 8 * 8 * 16 * 27),
        ("DEPTHWISE_CONV_2D", [[1, 8, 8, 4], [1, 3, 3, 4]], [1, 8, 8, 4], 8 * 8 * 4 * 9),
        ("FULLY_CONNECTED", [[2, 10], [5, 10]], [2, 5], 100),
        ("TRANSPOSE_CONV", [[4], [6, 3, 3, 2], [1, 4, 4, 2]], [1, 8, 8, 6], 32 * 54),
        ("ADD", [[2, 5], [2, 5]], [2, 5], 0),
    ],
)
def test_multiply_adds_of_tflite_operators(
    operation: str, inputs: list[list[int]], output: list[int], macs: int
) -> None:
    assert multiply_adds(operation, inputs, output) == macs


@pytest.fixture(scope="module")
def profiled(onnx_folder: Path, tensorflow_folder: Path) -> Latency:
    files = [
        onnx_folder / "dense.float32.onnx",
        tensorflow_folder / "dense.float32.tflite",
        tensorflow_folder / "dense.float32.savedmodel",
    ]
    options = BenchJob.of(threads=(1,), batches=(BATCH,), max_seconds=8, golden=onnx_folder / "golden.npz")
    return with_profiles(measure(files, options), options, lambda _label, _share: None)


def test_every_operation_is_told_with_its_multiply_adds(profiled: Latency) -> None:
    for profile in profiled.profiles[:2]:
        assert not profile["error"], profile["error"]
        assert profile["macs"] == MACS
        assert profile["runs"] >= 3
        assert sum(node["us"] for node in profile["nodes"]) > 0
        assert profile["kinds"][0]["name"] == "dense"
        assert sum(group["share"] for group in profile["kinds"]) == pytest.approx(1)


def test_the_roofline_is_of_this_machine(profiled: Latency) -> None:
    (peak,) = profiled.peaks
    assert peak["threads"] == 1
    assert peak["macs_per_s"] > 1e8
    profile = profiled.profiles[0]
    assert profile["share_of_peak"] == pytest.approx(profile["macs_per_s"] / peak["macs_per_s"])
    assert profile["roof_macs_per_s"] <= peak["macs_per_s"]


def test_a_savedmodel_has_no_profile_and_says_so(profiled: Latency) -> None:
    assert "SavedModel" in profiled.profiles[2]["error"]
    assert "savedmodel" in profiled.profiles[2]["artifact"]


def test_groups_add_up() -> None:
    rows = (("a", 3.0, 5), ("", 1.0, None), ("a", 0.0, 1))
    nodes = [{"layer": layer, "us": us, "macs": macs} for layer, us, macs in rows]
    first, second = grouped(nodes, "layer")
    assert (first["name"], first["us"], first["macs"], first["share"]) == ("a", 3.0, 6, 0.75)
    assert second["macs"] == 0
    assert grouped([], "layer") == []
