"""Prints every private or replaced part of a library that edgeport relies on, and whether the installed one fits."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")


def main() -> int:
    """Returns 1 where a part does not fit."""
    from converters.checkpoints.quick import import_keras
    from converters.compat.patch import Patch, parts_in

    import_keras()
    missing = 0
    for part in parts_in("converters.compat", "validate.compat"):
        fits = part.fits()
        missing += not fits
        use = "replaced" if isinstance(part, Patch) else "used"
        print(f"{'fits' if fits else 'DOES NOT FIT'}  {part.library} {part.made_for}  {use}  {part.where}")
        print(f"      {part.why}; otherwise: {part.otherwise or 'the step fails'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
