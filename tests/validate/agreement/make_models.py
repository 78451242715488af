"""Builds the small models and mutants that the agreement tests judge: `python make_models.py FOLDER [--honest]`.

Runs in a process of its own, so that the tests' process never loads TensorFlow. The formats are made with TensorFlow's
and tf2onnx' own converters: edgeport's must not make what is used to test its judge.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

layers = keras.layers


def classifier(eps: float = 1e-3, cap: float | None = None, head: str = "softmax") -> keras.Model:
    """A convolutional classifier with living activations, the same weights every time."""
    keras.utils.set_random_seed(7)
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 255.0)(image)
    for k, width in enumerate((8, 12, 16)):
        x = layers.Conv2D(width, 3, padding="same", name=f"conv{k}")(x)
        x = layers.BatchNormalization(epsilon=eps, name=f"norm{k}")(x)
        x = layers.ReLU(max_value=cap, name=f"relu{k}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(16, name="hidden")(x)
    x = keras.activations.silu(x)
    model = keras.Model(image, layers.Dense(5, activation=head, name="labels", kernel_initializer="he_normal")(x))
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            width = layer.gamma.shape[0]
            layer.moving_mean.assign(rng.normal(0, 0.1, width))
            layer.moving_variance.assign(rng.uniform(0.02, 0.1, width))
            layer.beta.assign(rng.normal(0, 0.3, width))
    return model


def two_in_two_out(exchanged: bool = False) -> keras.Model:
    """Two inputs, of which one is a vocabulary, and two outputs of one shape."""
    keras.utils.set_random_seed(11)
    image, word = keras.Input((6,), name="vector"), keras.Input((4,), dtype="int32", name="word")
    x = layers.Concatenate()([image, layers.Flatten()(layers.Embedding(20, 3)(word))])
    x = layers.Dense(12, activation="tanh")(x)
    first, second = layers.Dense(3, activation="sigmoid")(x), layers.Dense(3, activation="sigmoid")(x)
    pair = {"first": second, "second": first} if exchanged else {"first": first, "second": second}
    return keras.Model([image, word], pair)


def nearly_dead() -> keras.Model:
    """Its logits hardly move: the inputs' share is far below float32's rounding of the bias."""
    keras.utils.set_random_seed(5)
    image = keras.Input((8,), name="image")
    x = layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(stddev=1e-9), bias_initializer="ones")(image)
    return keras.Model(image, layers.Softmax(name="labels")(x))


def recurrent() -> keras.Model:
    keras.utils.set_random_seed(6)
    series = keras.Input((5, 3), name="series")
    return keras.Model(series, layers.Dense(2, name="scores")(layers.LSTM(4)(series)))


def wide() -> keras.Model:
    """Any size of image, as long as it is 40 or more."""
    keras.utils.set_random_seed(9)
    image = keras.Input((None, None, 1), name="image")
    x = layers.Conv2D(4, 5, strides=2, activation="relu")(layers.Conv2D(2, 36, strides=2)(image))
    return keras.Model(image, layers.Dense(3, name="scores")(layers.GlobalAveragePooling2D()(x)))


def serving(model: keras.Model, names: tuple[str, ...] | None = None, batch: int | None = None) -> Any:
    """A function of named tensors with named outputs, and its input specs."""
    inputs = [t._keras_history.operation.name for t in model.inputs]
    specs = [tf.TensorSpec((batch, *t.shape[1:]), t.dtype, name=n) for n, t in zip(inputs, model.inputs, strict=True)]

    def call(*tensors: Any) -> dict[str, Any]:
        results = model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)
        found = results if isinstance(results, dict) else {model.output_names[0]: results}
        return dict(zip(names or tuple(found), found.values(), strict=True))

    return call, specs


def saved_model(model: keras.Model, path: Path, names: tuple[str, ...] | None = None, batch: int | None = None) -> None:
    call, specs = serving(model, names, batch)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", call, input_signature=specs)
    archive.write_out(str(path), verbose=False)


def tflite(source: Path, path: Path, optimize: Callable[[Any], None] | None = None) -> None:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source))
    if optimize is not None:
        optimize(converter)
    path.write_bytes(converter.convert())


def to_onnx(model: keras.Model, path: Path, names: tuple[str, ...] | None = None) -> None:
    call, specs = serving(model, names)
    tf2onnx.convert.from_function(tf.function(call), specs, opset=18, output_path=str(path))


def float16_weights(converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def all_int8(converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    images = np.random.default_rng(3).uniform(0, 255, (24, 1, 16, 16, 3)).astype(np.float32)
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8


def changed(change: Callable[[keras.Model], None]) -> keras.Model:
    model = classifier()
    change(model)
    return model


def add_to_bias(model: keras.Model) -> None:
    bias = model.get_layer("hidden").bias
    bias.assign(bias + np.eye(1, 16, dtype="float32")[0] * 1e-3)


def round_weights(model: keras.Model) -> None:
    """To what half precision can hold, in float32: no type of the file tells it."""
    model.set_weights([weight.astype("float16").astype("float32") for weight in model.get_weights()])


def zero_channel(model: keras.Model) -> None:
    kernel, bias = model.get_layer("conv1").get_weights()
    kernel[..., 0] = 0
    model.get_layer("conv1").set_weights([kernel, bias])


def constant(model: keras.Model) -> None:
    """The best constant: the mean logits over typical inputs."""
    head = model.get_layer("labels")
    probe = keras.Model(model.inputs, head.input)
    features = probe.predict(np.random.default_rng(0).uniform(0, 255, (64, 16, 16, 3)), verbose=0).mean(0)
    kernel, bias = head.get_weights()
    head.set_weights([kernel * 0, bias + features @ kernel])


def transpose_kernel(model: keras.Model) -> None:
    kernel, bias = model.get_layer("conv0").get_weights()
    model.get_layer("conv0").set_weights([kernel.transpose(1, 0, 2, 3), bias])


def crasher(source: Path, path: Path) -> None:
    """A file that passes LiteRT's checks and kills it for certain: two subgraphs that call each other for ever."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(source.read_bytes()), 0))
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CALL_ONCE, 127
    model.operatorCodes.append(code)

    def call(subgraph: int) -> schema.OperatorT:
        operator, options = schema.OperatorT(), schema.CallOnceOptionsT()
        options.initSubgraphIndex = subgraph
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.CallOnceOptions, options
        operator.inputs, operator.outputs = [], []
        return operator

    def calling(subgraph: int) -> schema.SubGraphT:
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.inputs, graph.outputs = b"again", [], [], []
        graph.operators = [call(subgraph)]
        return graph

    model.subgraphs[0].operators.insert(0, call(1))
    model.subgraphs += [calling(2), calling(1)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def honest(folder: Path) -> None:
    """What agrees with its checkpoint."""
    good = classifier()
    good.save(folder / "small.keras")
    saved_model(good, folder / "small.savedmodel")
    tflite(folder / "small.savedmodel", folder / "small.tflite")
    tflite(folder / "small.savedmodel", folder / "small.int8.tflite", all_int8)
    to_onnx(good, folder / "small.onnx")
    pair = two_in_two_out()
    pair.save(folder / "pair.keras")
    to_onnx(pair, folder / "pair.onnx")
    saved_model(pair, folder / "pair.savedmodel")
    free = wide()
    free.save(folder / "wide.keras")
    to_onnx(free, folder / "wide.onnx")
    series = recurrent()
    series.save(folder / "series.keras")
    saved_model(series, folder / "series1.savedmodel", batch=1)
    tflite(folder / "series1.savedmodel", folder / "series.tflite")


def broken(folder: Path) -> None:
    """What does not, what is damaged, and what cannot be judged."""
    tflite(folder / "small.savedmodel", folder / "half.tflite", float16_weights)
    to_onnx(changed(round_weights), folder / "silent.int8.onnx")
    crasher(folder / "small.tflite", folder / "crasher.tflite")
    content = (folder / "small.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(content[: len(content) // 2])
    mutants = {
        "epsilon": classifier(eps=1.1e-3),
        "relu6": classifier(cap=2.0),
        "sigmoid": classifier(head="sigmoid"),
        "bias": changed(add_to_bias),
        "channel": changed(zero_channel),
        "constant": changed(constant),
        "kernel": changed(transpose_kernel),
    }
    for name, model in mutants.items():
        to_onnx(model, folder / f"mutant-{name}.onnx")
    saved_model(mutants["epsilon"], folder / "mutant-epsilon.savedmodel")
    tflite(folder / "mutant-epsilon.savedmodel", folder / "mutant-epsilon.tflite")
    to_onnx(classifier(), folder / "renamed.onnx", ("classes",))
    to_onnx(two_in_two_out(exchanged=True), folder / "pair-exchanged.onnx")
    reordered = onnx.load(folder / "pair.onnx")
    reordered.graph.output.reverse()
    onnx.save(reordered, folder / "pair-reordered.onnx")
    shortened = onnx.load(folder / "pair.onnx")
    del shortened.graph.output[1]
    onnx.save(shortened, folder / "pair-short.onnx")
    dead = nearly_dead()
    dead.save(folder / "dead.keras")
    to_onnx(dead, folder / "dead.onnx")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    honest(target)
    if "--honest" not in sys.argv:
        broken(target)
