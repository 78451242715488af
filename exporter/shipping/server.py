"""`--profile server`: a Triton model repository and a TensorFlow Serving folder, each whole in itself.

Source: Triton's model repository and model configuration documents (model_config.proto), TensorFlow Serving's
model_server_config.proto. Both take a folder a version, named by a number.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.artifact import Artifact, copy_artifact
from converters.contract import Contract, labels_file, labels_text
from converters.formats import Format, Precision
from converters.signature import BATCH, Signature, TensorSpec

MAX_BATCH = 32
"""Greatest batch that Triton may put together of single requests, for files with a dynamic batch."""

_VERSION = "1"
_TYPES = {
    "bool": "TYPE_BOOL", "float16": "TYPE_FP16", "float32": "TYPE_FP32", "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16", **{f"int{n}": f"TYPE_INT{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"TYPE_UINT{n}" for n in (8, 16, 32, 64)},
}  # fmt: skip


def write_server(folder: Path, model: str, artifacts: Sequence[Artifact], contract: Contract) -> dict[str, Any]:
    """Writes `triton/` and `tf_serving/` and returns the manifest's `shipping.server`."""
    triton = [_triton(folder / "triton", model, a, contract) for a in artifacts if a.format is Format.ONNX]
    serving = [_serving(folder / "tf_serving", model, a) for a in artifacts if a.format is Format.SAVEDMODEL]
    return {"triton": triton, "tf_serving": serving}


def _triton(folder: Path, model: str, artifact: Artifact, contract: Contract) -> dict[str, Any]:
    name = model if artifact.precision is Precision.FLOAT32 else f"{model}_{artifact.precision.value}"
    home = folder / name
    copy_artifact(artifact, home / _VERSION / artifact.path.name)
    labels = {row.name: row.labels for row in contract.outputs if row.labels}
    for output, words in labels.items():
        (home / labels_file(output)).write_bytes(labels_text(words))
    text = model_config(name, artifact.path.name, artifact.signature, tuple(labels))
    (home / "config.pbtxt").write_text(text, encoding="utf-8")
    return {
        "name": name,
        "artifact": artifact.path.name,
        "version": int(_VERSION),
        "max_batch_size": MAX_BATCH if _batches(artifact.signature) else 0,
    }


def model_config(name: str, file: str, signature: Signature, labelled: Sequence[str] = ()) -> str:
    """`config.pbtxt`: a ModelConfig as text. The batch is Triton's where every tensor begins with it.

    Args:
        labelled: outputs with a label file next to the configuration.
    """
    batches = _batches(signature)
    lines = [
        f"name: {_quoted(name)}",
        'backend: "onnxruntime"',
        f"default_model_filename: {_quoted(file)}",
        f"max_batch_size: {MAX_BATCH if batches else 0}",
    ]
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            label = labels_file(spec.name) if side == "output" and spec.name in labelled else None
            lines.append(_tensor(side, spec, label, batches=batches))
    if batches:
        lines.append("dynamic_batching { }")
    return "\n".join(lines) + "\n"


def _batches(signature: Signature) -> bool:
    return all(spec.shape[:1] == (BATCH,) for spec in (*signature.inputs, *signature.outputs))


def _tensor(side: str, spec: TensorSpec, label: str | None, *, batches: bool) -> str:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape[1 if batches else 0 :]]
    lines = [f"  name: {_quoted(spec.name)}", f"  data_type: {_TYPES[spec.dtype]}", f"  dims: {shape or [1]}"]
    if not shape:  # Triton has no empty dims: one number a sample is sent as [1] and given to the model without it
        lines.append("  reshape { }")
    if label:
        lines.append(f"  label_filename: {_quoted(label)}")
    return "\n".join([f"{side} {{", *lines, "}"])


def _quoted(text: str) -> str:
    """A string of protocol buffers' text format, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)


def _serving(folder: Path, model: str, artifact: Artifact) -> dict[str, Any]:
    shutil.copytree(artifact.path, folder / model / _VERSION)
    config = f"""model_config_list {{
  config {{
    name: {_quoted(model)}
    base_path: {_quoted(f"/models/{model}")}
    model_platform: "tensorflow"
  }}
}}
"""
    (folder / "models.config").write_text(config, encoding="utf-8")
    return {"name": model, "artifact": artifact.path.name, "version": int(_VERSION)}
