"""`config.pbtxt` parsed with Triton's own schema."""

from __future__ import annotations

import pytest

from converters.signature import Signature, TensorSpec
from exporter.shipping.server import MAX_BATCH, model_config

text_format = pytest.importorskip("google.protobuf.text_format")
schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")


def parsed(signature: Signature, *labelled: str) -> object:
    return text_format.Parse(model_config("net", "net.float32.onnx", signature, labelled), schema.ModelConfig())


def test_a_dynamic_batch_is_tritons() -> None:
    signature = Signature(
        (TensorSpec("image", ("batch", 8, 8, 1), "float32"), TensorSpec("age", ("batch",), "int64")),
        (TensorSpec('odd "name"', ("batch", "odd_dim1", 10), "float16"),),
    )
    config = parsed(signature, 'odd "name"')
    assert config.max_batch_size == MAX_BATCH
    assert config.HasField("dynamic_batching")
    assert [(t.name, list(t.dims), t.HasField("reshape")) for t in config.input] == [
        ("image", [8, 8, 1], False),
        ("age", [1], True),
    ]
    assert list(config.input[1].reshape.shape) == []
    (output,) = config.output
    assert (output.name, list(output.dims), output.data_type) == ('odd "name"', [-1, 10], schema.TYPE_FP16)
    assert output.label_filename == "labels_odd__name_.txt"
    assert (config.default_model_filename, config.backend) == ("net.float32.onnx", "onnxruntime")


def test_a_fixed_batch_is_the_models() -> None:
    signature = Signature((TensorSpec("x", (4, 6), "uint8"),), (TensorSpec("y", (4, 3), "bool"),))
    config = parsed(signature)
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert [list(config.input[0].dims), list(config.output[0].dims)] == [[4, 6], [4, 3]]
    assert (config.input[0].data_type, config.output[0].data_type) == (schema.TYPE_UINT8, schema.TYPE_BOOL)
