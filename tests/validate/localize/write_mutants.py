"""Writes every mutant of a checkpoint that has one broken layer: `write_mutants.py CHECKPOINT FOLDER FORMAT...`.

`places.json` in the folder says which layer was broken.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from converters.checkpoints.identify import identify
from converters.checkpoints.loading import load
from exporter.run.twins import write
from validate.agreement.worker.taps.function import TappedFunction
from validate.mutants.catalogue import broken
from validate.mutants.faults import MUTATIONS


def main(checkpoint: Path, folder: Path, formats: list[str]) -> None:
    loaded = load(identify(checkpoint))
    tapped = TappedFunction(loaded.function, loaded.signature, watched=True)
    (spec,) = loaded.signature.inputs
    tapped.run({spec.name: np.random.default_rng(0).uniform(0, 16, (8, *spec.shape[1:])).astype("float32")})
    places = {}
    for mutation in MUTATIONS:
        place = mutation.find(loaded.model, tapped.extremes.ranges)
        if place is None or place.layer is None:
            continue
        for form in formats:
            target = folder / f"{mutation.name}-{form}"
            target.mkdir(parents=True)
            with broken(loaded.model, place):
                path = write(loaded.model, form, "float32", target)
            places[str(path)] = place.layer
    (folder / "places.json").write_text(json.dumps(places))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
