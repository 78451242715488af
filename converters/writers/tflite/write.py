"""TFLite: by TensorFlow's converter without the weights where that is certain, else from the SavedModel."""

from __future__ import annotations

import functools
import hashlib
import struct
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from converters.compat.tensorflow import CONVERT_SAVED_MODEL, DEDUPLICATE, SCHEMA, vector_start
from converters.errors import StepError, UnsupportedError, words_of
from converters.signature import SIGNATURE_KEY, Signature
from converters.tracing import Traced
from converters.weightless_graph import reached_variables
from converters.writers.owners import numbers_of, refuse_text, whose
from converters.writers.tflite.check import check_weights
from converters.writers.tflite.weightless import converted

WEIGHTLESS, SAVED_MODEL = "weightless", "saved-model"

LARGEST = 1536 << 20
"""Bytes of weights from which TFLite is refused: constants that the converter folds come on top."""
_SMALL = 1024


def write_tflite(traced: Traced, saved_model: Callable[[], Path], path: Path, *, allow_flex: bool = False) -> str:
    """Writes `path` in float32 and tells the conversion path that was taken.

    Args:
        saved_model: gives the SavedModel that `traced` was saved as; called only where that conversion path is taken.

    Raises:
        UnsupportedError: an operation that TFLite lacks (named, with its layer), or weights beyond its 2 GiB.
        StepError: a file that came out without its weights.
    """
    traced.refuse_state("TFLite")
    refuse_text(traced, "TFLite", operations_too=not allow_flex)
    _check_size(traced)
    content, conversion_path = _without_weights(traced), WEIGHTLESS
    if content is None:
        content, conversion_path = _from_saved_model(traced, saved_model(), allow_flex), SAVED_MODEL
    order_signature(content, traced.signature)
    path.write_bytes(content)
    return conversion_path


def _without_weights(traced: Traced) -> bytearray | None:
    """The file made without weights; None where that cannot be done. The log has the failure."""
    with tempfile.TemporaryDirectory(prefix="edgeport-") as scratch:
        try:
            graph, convert = traced.weightless, functools.partial(_converted, allow_flex=False)
            content = converted(graph, traced.signature, Path(scratch), convert) if graph else None
        except Exception:  # TensorFlow's kinds are many; the way over the SavedModel is open, and tells its own
            traceback.print_exc()
            return None
    return content and without_duplicates(content)


def _from_saved_model(traced: Traced, saved_model: Path, allow_flex: bool) -> bytearray:
    try:
        content = _converted(saved_model, allow_flex)
    except Exception as cause:  # the converter raises a bare Exception subclass of its own, RuntimeError and ValueError
        raise _explained(saved_model, cause, traced) from cause
    content = without_duplicates(content)
    check_weights(content, traced)
    return content


def _check_size(traced: Traced) -> None:
    """A flatbuffer's offsets end at 2 GiB: refuse before minutes of work."""
    weights = sum(v.shape.num_elements() * v.dtype.size for v in reached_variables(traced.concrete).values())
    if weights > LARGEST:
        raise UnsupportedError(
            f"The model has {weights / 2**30:.1f} GiB of weights, and a TFLite file ends at 2 GiB.",
            next_step="Leave tflite out with -f: savedmodel and onnx hold such models.",
            step="convert",
        )


def _converted(saved_model: Path, allow_flex: bool) -> bytearray:
    """Works as `tf.lite.TFLiteConverter.from_saved_model`, less its two loadings of the SavedModel in Python.

    Those serve its statistics and its error locations and take half of its time. Where TensorFlow's function for the
    rest is not as edgeport knows it, the public converter does it all.
    """
    import tensorflow as tf

    sets = {tf.lite.OpsSet.TFLITE_BUILTINS} | ({tf.lite.OpsSet.SELECT_TF_OPS} if allow_flex else set())
    if not CONVERT_SAVED_MODEL.usable():
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE_KEY])
        converter.target_spec.supported_ops = sets
        return bytearray(converter.convert())
    return bytearray(
        CONVERT_SAVED_MODEL.get()(
            saved_model_dir=str(saved_model),
            saved_model_version=1,
            saved_model_tags={tf.saved_model.SERVING},
            saved_model_exported_names=[SIGNATURE_KEY],
            experimental_enable_resource_variables=True,
            enable_composite_direct_lowering=True,
            select_user_tf_ops=set(),
            target_ops=sets,
        )
    )


def _explained(saved_model: Path, cause: BaseException, traced: Traced) -> StepError:
    """The failure with the layers that it is about: only the public converter knows where operations come from."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE_KEY])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        converter.convert()
    except Exception as explained:  # as above
        return _convert_error(explained, traced)
    return _convert_error(cause, traced)


def without_duplicates(content: bytearray) -> bytearray:
    """The file with equal constants stored once; untouched where there are none."""
    if not DEDUPLICATE.usable():
        return content
    model = SCHEMA.get().Model.GetRootAs(content, 0)
    buffers = (model.Buffers(k) for k in range(model.BuffersLength()))
    digests = [hashlib.blake2b(b.DataAsNumpy()).digest() for b in buffers if b.DataLength() > _SMALL]
    if len(set(digests)) == len(digests):
        return content
    return bytearray(DEDUPLICATE.get()(bytes(content)))


def _convert_error(cause: BaseException, traced: Traced) -> StepError:
    """The error for what the converter could not do, by operation and Keras layer."""
    problems: dict[str, None] = {}
    for error in getattr(cause, "errors", None) or ():
        name = str(error.operator.name).removeprefix("tf.")
        if name:
            path = _path_of(error)
            problems[f"{name}{numbers_of(path, traced)}{whose(path, traced)}"] = None
    if problems:
        names = ", ".join(problems)
        return UnsupportedError(
            f"TFLite has no built-in operation for: {names}.",
            next_step="Replace it, leave tflite out, or accept TensorFlow's Flex operations with --allow-flex.",
            step="convert",
        )
    text = words_of(cause)
    return StepError(
        f"The TFLite converter failed ({type(cause).__name__}: {text}).",
        next_step="Leave tflite out with -f, or read edgeport.log.",
        step="convert",
    )


def _path_of(error: Any) -> str:
    """The path in the graph of the operation that an error is about."""
    for call in getattr(getattr(error, "location", None), "call", ()) or ():
        name = str(getattr(getattr(call, "source", None), "name", "") or getattr(call, "name", "")).split("@")[0]
        if "/" in name:
            return name
    return ""


_INPUTS, _OUTPUTS = 0, 1


def order_signature(content: bytearray, signature: Signature) -> None:
    """Reorders, in place, the first signature's tensor maps and the main subgraph's inputs and outputs.

    Only four-byte fields change places, so nothing else of the flatbuffer moves.
    """
    model = SCHEMA.get().Model.GetRootAs(content, 0)
    if not model.SignatureDefsLength():
        return
    definition = model.SignatureDefs(0)
    subgraph = model.Subgraphs(definition.SubgraphIndex())
    for side, names in ((_INPUTS, signature.input_names), (_OUTPUTS, signature.output_names)):
        slot = 4 + 2 * side  # the vtable slot of SignatureDef.inputs and .outputs
        length = definition.InputsLength() if side == _INPUTS else definition.OutputsLength()
        maps = [definition.Inputs(k) if side == _INPUTS else definition.Outputs(k) for k in range(length)]
        stored_names = [m.Name().decode() for m in maps]
        tensors = dict(zip(stored_names, (m.TensorIndex() for m in maps), strict=True))
        if sorted(stored_names) != sorted(names):
            continue  # the structure check of validation says so
        _permute_tables(content, vector_start(definition, slot), [stored_names.index(n) for n in names])
        start = vector_start(subgraph, 6 + 2 * side)  # SubGraph.inputs and .outputs
        struct.pack_into(f"<{len(names)}i", content, start, *(tensors[n] for n in names))


def _permute_tables(content: bytearray, start: int, order: Sequence[int]) -> None:
    """Reorders a vector of tables, whose offsets are relative to each element's own position."""
    places = [start + 4 * k for k in range(len(order))]
    targets = [place + struct.unpack_from("<I", content, place)[0] for place in places]
    for place, index in zip(places, order, strict=True):
        struct.pack_into("<I", content, place, targets[index] - place)
