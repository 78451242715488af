"""Operations for which tf2onnx has no rule, or a wrong one: the file's numbers beside those of Keras, run eagerly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.errors import UnsupportedError
from converters.tracing import trace
from converters.writers.onnx.write import write_onnx


def check(model: Any, folder: Path, shapes: Sequence[tuple[int, ...]] = (), tolerance: float = 1e-5) -> Any:
    """Holds the file against the model on inputs of each shape, the batch included. Returns the ModelProto."""
    import onnx
    import onnxruntime

    generator = np.random.default_rng(0)
    for variable in model.variables:
        if "float" in variable.dtype:
            variable.assign(generator.uniform(0.2, 1.2, variable.shape))
    loaded = loaded_model(model)
    write_onnx(trace(loaded), folder / "m.onnx")
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    fixed = tuple(2 if size is None else size for size in model.inputs[0].shape)
    for shape in shapes or [fixed]:
        feed = generator.normal(size=shape).astype(np.float32)
        expected = [np.asarray(value) for value in loaded.function([feed])]
        found = session.run(list(loaded.signature.output_names), {loaded.signature.input_names[0]: feed})
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * max(1.0, np.abs(other).max()))
    return onnx.load(folder / "m.onnx")


@pytest.mark.parametrize("sizes", [(None, None), (7, 5)])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "strides": 2, "padding": "valid", "output_padding": 1},
        {"kernel_size": 2, "strides": 3, "padding": "valid"},
        {"kernel_size": 1, "strides": (3, 2), "padding": "same"},
        {"kernel_size": (4, 3), "strides": (2, 3), "padding": "same"},
        {"kernel_size": 3, "padding": "same", "dilation_rate": 2},
        {"kernel_size": (2, 3), "padding": "valid", "activation": "relu"},
    ],
    ids=str,
)
def test_transposed_convolutions_end_in_their_bias(
    arguments: dict[str, Any], sizes: tuple[int | None, ...], tmp_path: Path
) -> None:
    """TensorFlow's output may be larger than the kernels reach; rows beyond hold the bias."""
    import keras

    inputs = keras.Input((*sizes, 3))
    outputs = keras.layers.BatchNormalization()(keras.layers.Conv2DTranspose(2, **arguments)(inputs))
    shapes = [(2, *(size or unknown for size in sizes), 3) for unknown in (4, 7)]
    model = check(keras.Model(inputs, outputs), tmp_path, shapes)
    if None not in sizes:
        assert {node.op_type for node in model.graph.node}.isdisjoint({"Shape", "Slice", "Pad"})


@pytest.mark.parametrize("rank", [1, 3])
def test_transposed_convolutions_of_other_ranks(rank: int, tmp_path: Path) -> None:
    import keras

    layer = {1: keras.layers.Conv1DTranspose, 3: keras.layers.Conv3DTranspose}[rank]
    inputs = keras.Input((*[None] * rank, 2))
    x = layer(3, 2, strides=3, padding="valid", output_padding=1)(inputs)
    model = keras.Model(inputs, layer(2, 3, strides=2, padding="same")(x))
    check(model, tmp_path, [(2, *[3] * rank, 2), (1, *[4] * rank, 2)])


@pytest.mark.parametrize("size", [(12, 10), (None, None)])
def test_images_of_other_sizes(size: tuple[int | None, ...], tmp_path: Path) -> None:
    """By every interpolation: smaller, larger, by whole factors, and by one that a float32 scale rounds down."""
    import keras

    inputs = keras.Input((*size, 3))
    outputs = [
        keras.layers.Resizing(*target, interpolation=kind, crop_to_aspect_ratio=crop)(inputs)
        for target in (((6, 5), (7, 4), (24, 20)) if size[0] else ((7, 11),))
        for kind in ("nearest", "bilinear", "bicubic", "area")
        for crop in ([False] if size[0] else [False, True])
    ]
    shapes = [(2, 12, 10, 3), *([] if size[0] else [(1, 29, 7, 3)])]
    model = check(keras.Model(inputs, outputs), tmp_path, shapes)
    if size[0]:
        kinds = [node.op_type for node in model.graph.node]
        assert "Shape" not in kinds
        assert kinds.count("AveragePool") == 1


def test_resizing_as_tensorflow_1_did_it(tmp_path: Path) -> None:
    """Pixels without centers, or corners that stay corners."""
    import keras
    import tensorflow as tf

    class Resized(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        def call(self, x: Any) -> list[Any]:
            kinds = (tf.raw_ops.ResizeNearestNeighbor, tf.raw_ops.ResizeBilinear, tf.raw_ops.ResizeBicubic)
            return [
                operation(images=x, size=size, align_corners=corners)
                for operation in (*kinds, tf.raw_ops.ResizeArea)
                for size in ((5, 9), (14, 14))
                for corners in (False, True)
            ]

    inputs = keras.Input((7, 7, 2))
    check(keras.Model(inputs, Resized()(inputs)), tmp_path)


def test_an_old_bicubic_without_a_size_is_refused_by_name(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    class Old(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        def call(self, x: Any) -> Any:
            return tf.raw_ops.ResizeBicubic(images=x, size=(4, 4))

    inputs = keras.Input((None, None, 2))
    with pytest.raises(UnsupportedError, match="enlarged"):
        check(keras.Model(inputs, Old(name="enlarged")(inputs)), tmp_path)


def test_dilated_convolutions_of_unknown_size(tmp_path: Path) -> None:
    """ONNX Runtime opens a file with `auto_pad` and a dilation, and cannot run it."""
    import keras

    layers = keras.layers
    x = inputs = keras.Input((None, None, 4))
    x = layers.Conv2D(4, 3, padding="same", dilation_rate=2)(x)
    x = layers.Conv2D(4, (2, 4), padding="same", dilation_rate=(1, 3), groups=2)(x)
    outputs = [x, layers.SeparableConv2D(2, 3, padding="same", dilation_rate=3)(inputs)]
    outputs.append(layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(x))
    check(keras.Model(inputs, outputs), tmp_path, [(2, 9, 7, 4), (1, 3, 12, 4)])


@pytest.mark.parametrize("rank", [1, 3])
def test_dilated_convolutions_of_other_ranks(rank: int, tmp_path: Path) -> None:
    import keras

    layer = {1: keras.layers.Conv1D, 3: keras.layers.Conv3D}[rank]
    inputs = keras.Input((*[None] * rank, 2))
    outputs = layer(3, 3, padding="same", dilation_rate=2, activation="relu")(inputs)
    check(keras.Model(inputs, outputs), tmp_path, [(2, *[6] * rank, 2), (1, *[3] * rank, 2)])


@pytest.mark.parametrize("steps", [None, 20])
def test_steps_are_rows_of_one_batch(steps: int | None, tmp_path: Path) -> None:
    """Keras' own graph takes as many steps as there are samples, or has a copy of the kernel for each."""
    import keras

    layers = keras.layers
    frame = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()])
    inputs = keras.Input((steps, 8, 8, 2))
    x = layers.TimeDistributed(frame)(inputs)
    outputs = [layers.GRU(3)(x), layers.TimeDistributed(layers.Dense(3))(x)]
    shapes = [] if steps else [(4, 3, 8, 8, 2), (2, 5, 8, 8, 2)]
    model = check(keras.Model(inputs, outputs), tmp_path, shapes)
    assert [node.op_type for node in model.graph.node].count("Conv") == 1


def test_layers_that_mix_samples_are_run_step_by_step(tmp_path: Path) -> None:
    import keras

    rows = keras.Input((4,))
    centered = keras.Model(rows, rows - keras.ops.mean(rows, axis=0, keepdims=True))
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, keras.layers.TimeDistributed(centered)(inputs))
    check(model, tmp_path, [(3, 5, 4), (2, 2, 4)])


def test_a_cell_in_a_loop_reads_what_another_layer_gives(tmp_path: Path) -> None:
    """The transposes between the layers cancel out, and the loop's body has to hear of it."""
    import keras
    import onnxruntime

    series, state = keras.Input((5, 3), name="series"), keras.Input((3,), name="state")
    x = keras.layers.LSTM(4, return_sequences=True)(series)
    model = keras.Model([series, state], keras.layers.GRU(3, return_sequences=True)(x, initial_state=state))
    write_onnx(trace(loaded_model(model)), tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    feeds = {n: generator.normal(size=s).astype(np.float32) for n, s in (("series", (2, 5, 3)), ("state", (2, 3)))}
    np.testing.assert_allclose(session.run(None, feeds)[0], model(list(feeds.values())), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", ["GRU", "SimpleRNN", "LSTM"])
def test_a_layer_begins_where_another_of_any_length_ended(cell: str, tmp_path: Path) -> None:
    """The body of the second loop still reads its series when one of its nodes no longer does."""
    import keras

    layer = getattr(keras.layers, cell)
    inputs = keras.Input((None, 3))
    x, *states = layer(3, return_sequences=True, return_state=True)(inputs)
    outputs = [layer(3, return_sequences=True)(x, initial_state=states), layer(3)(x, initial_state=states)]
    check(keras.Model(inputs, outputs), tmp_path, [(2, 5, 3), (3, 7, 3), (1, 1, 3)])


def test_groups_are_right_beside_other_groups_of_the_same_input(tmp_path: Path) -> None:
    """Those of rank 3 are a convolution each. ONNX Runtime took two even splits of one tensor for the same."""
    import keras

    layers = keras.layers
    inputs = keras.Input((5, 6, 7, 4))
    outputs = [
        layers.Conv3D(6, 2, groups=2, padding="same", activation="relu")(inputs),
        layers.BatchNormalization()(layers.Conv3D(4, (1, 2, 3), groups=4, strides=2)(inputs)),
        layers.Conv1D(4, 2, groups=2)(layers.Reshape((210, 4))(inputs)),
    ]
    model = check(keras.Model(inputs, outputs), tmp_path)
    assert [node.op_type for node in model.graph.node].count("Conv") == 2 + 4 + 1


def test_a_layer_that_is_called_often_has_one_kernel(tmp_path: Path) -> None:
    """Its batch norm is folded into each call's kernel, and each is the same then."""
    import keras

    layers = keras.layers
    convolution, norm, memory = layers.Conv2D(32, 3, padding="same"), layers.BatchNormalization(), layers.LSTM(32)
    x = inputs = keras.Input((8, 8, 32))
    for _ in range(4):
        x = layers.ReLU()(norm(convolution(x)))
    rows = layers.Reshape((64, 32))(x)
    model = check(keras.Model(inputs, [memory(rows), memory(rows[:, ::-1])]), tmp_path, [(2, 8, 8, 32)], 1e-4)
    contents = [bytes(t.raw_data) for t in model.graph.initializer]
    assert len({*contents}) == len(contents)


def test_a_network_without_integers_is_not_called_int8(tmp_path: Path) -> None:
    import keras

    from converters.formats import Precision
    from converters.writers.onnx.precisions import OnnxSource

    inputs = keras.Input((4,), name="x")
    calibration = {"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)}
    for outputs, precisions in (
        (keras.layers.ELU()(inputs), {Precision.INT8, Precision.DYNAMIC_INT8}),
        (inputs + 2.0 * inputs, {Precision.DYNAMIC_INT8}),  # sums of integers, and no weights
        (keras.layers.Dense(3)(inputs), set()),
    ):
        check(keras.Model(inputs, outputs), tmp_path)
        for precision in (Precision.INT8, Precision.DYNAMIC_INT8, Precision.FLOAT16):
            scratch = Path(mkdtemp(dir=tmp_path))  # ranges are kept there
            source = OnnxSource(tmp_path / "m.onnx", scratch, calibration)
            if precision in precisions:
                with pytest.raises(UnsupportedError, match="Nothing of this model becomes an integer"):
                    source.write(precision, tmp_path / "q.onnx")
            else:
                source.write(precision, tmp_path / "q.onnx")


def test_whole_weights_are_folded_beside_float_ones(tmp_path: Path) -> None:
    """What is folded is computed in float64: so is what a Cast makes of whole numbers, such as places in a sequence."""
    import keras

    class Placed(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        def build(self, _shape: Any) -> None:
            self.places = self.add_weight(shape=(1, 4), dtype="int32", initializer="ones", trainable=False)

        def call(self, x: Any) -> Any:
            return x * keras.ops.cast(keras.ops.cast(self.places, "float32") < 1.5, "float32")

    inputs = keras.Input((4,))
    check(keras.Model(inputs, Placed()(inputs)), tmp_path)


@pytest.mark.parametrize(("padding", "size", "stride"), [(((0, 1), (0, 1)), 2, 1), (1, 3, 2)])
def test_the_maximum_of_padded_negative_values_is_zero(padding: Any, size: int, stride: int, tmp_path: Path) -> None:
    """ONNX Runtime would take the Pad into the pool, whose own pads are the lowest number.

    Behind a convolution: a Transpose between the two would keep them apart.
    """
    import keras

    inputs = keras.Input((6, 6, 2))
    padded = keras.layers.ZeroPadding2D(padding)(keras.layers.Conv2D(3, 1)(inputs))
    model = keras.Model(inputs, keras.layers.MaxPool2D(size, stride)(padded))
    check(model, tmp_path, [(200, 6, 6, 2)])  # in some every value of a window at the edge is negative


@pytest.mark.parametrize("sizes", [(4, 4), (3, 5), (None, 4)])
def test_a_trace_sums_the_diagonal(sizes: tuple[int | None, ...], tmp_path: Path) -> None:
    """ONNX Runtime has no identity matrix of truths, by which Keras picks the diagonal."""
    import keras

    inputs = keras.Input(sizes)
    check(keras.Model(inputs, keras.ops.trace(inputs, axis1=1, axis2=2)), tmp_path, [(2, sizes[0] or 6, sizes[1] or 4)])
