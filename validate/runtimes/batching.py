"""Files of a fixed batch size, fed a larger batch in pieces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from converters.arrays import Arrays
from converters.errors import UsageError
from converters.signature import BATCH, Signature
from validate.runtimes.base import fixed_batch


def run_in_fixed_batches(signature: Signature, inputs: Arrays, run: Callable[[Arrays], Arrays]) -> Arrays:
    """Runs in one go where the batch is free, else in pieces of the size that the file insists on.

    Raises:
        UsageError: the samples do not divide into such pieces, or an output has no batch dimension to join along.
    """
    size = fixed_batch(signature)
    counts = {array.shape[0] for array in inputs.values() if array.ndim}
    if size is None or size == 0 or counts == {size} or len(counts) != 1:
        return run(inputs)
    (count,) = counts
    batched_outputs = all(spec.shape and spec.shape[0] in {size, BATCH} for spec in signature.outputs)
    if count % size or not batched_outputs:
        raise UsageError(
            f"The model takes batches of {size} alone and was given {count} samples.",
            next_step=f"Give a multiple of {size} samples, or export with --batch dynamic.",
        )
    pieces = [run({k: v[i : i + size] for k, v in inputs.items()}) for i in range(0, count, size)]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in signature.output_names}
