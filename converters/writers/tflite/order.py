"""Puts a `.tflite` file's inputs and outputs into the signature's order; the converter sorts them by name."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from converters.compat.tensorflow import SCHEMA, vector_start
from converters.signature import Signature

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
        found = [m.Name().decode() for m in maps]
        tensors = dict(zip(found, (m.TensorIndex() for m in maps), strict=True))
        if sorted(found) != sorted(names):
            continue  # the structure check of validation says so
        _permute_tables(content, vector_start(definition, slot), [found.index(n) for n in names])
        start = vector_start(subgraph, 6 + 2 * side)  # SubGraph.inputs and .outputs
        struct.pack_into(f"<{len(names)}i", content, start, *(tensors[n] for n in names))


def _permute_tables(content: bytearray, start: int, order: Sequence[int]) -> None:
    """A vector of tables holds offsets relative to each element's own position."""
    places = [start + 4 * k for k in range(len(order))]
    targets = [place + struct.unpack_from("<I", content, place)[0] for place in places]
    for place, index in zip(places, order, strict=True):
        struct.pack_into("<I", content, place, targets[index] - place)
