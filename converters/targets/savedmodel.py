"""SavedModel: the traced function and its variables, byte-identical every time."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from converters.artifact import digest_file, files_of
from converters.tracing import Traced

SIGNATURE_KEY = "serving_default"


def write_saved_model(traced: Traced, folder: Path) -> None:
    """Saves a `tf.Module` with its variables as an ordered tuple: half the time of `model.export`, and a stable order.

    Raises:
        ResourceExhaustedError (translated by the worker): the disk is full.
    """
    import tensorflow as tf

    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(traced.module, str(folder), signatures={SIGNATURE_KEY: traced.concrete}, options=options)
    _settle_fingerprint(folder)


def _settle_fingerprint(folder: Path) -> None:
    """TensorFlow draws the fingerprint's uuid at random; here it is derived from the content (issue 3)."""
    from tensorflow.core.protobuf import fingerprint_pb2

    path = folder / "fingerprint.pb"
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    content = hashlib.sha256()
    for file in files_of(folder):
        if file != path:
            content.update(f"{file.relative_to(folder).as_posix()} {digest_file(file)}\n".encode())
    fingerprint.uuid = str(uuid.UUID(bytes=content.digest()[:16]))
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))
