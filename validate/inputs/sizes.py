"""Unknown sizes of an artifact, apart from a model's: a file does not tell what it needs, so that it is run at some."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from converters.arrays import Array, Arrays
from converters.errors import StepError, UsageError
from converters.shapes import Shapes, ask_for, check_shapes, filled, sizes_to_try
from converters.signature import Dimension, Signature


def shapes_that_run(
    signature: Signature, given: Shapes, run: Callable[[Shapes], Arrays]
) -> dict[str, tuple[Dimension, ...]]:
    """The shape of each input that has an unknown size: as given, untried, else the first that runs and leaves no
    output empty.

    Raises:
        UsageError: a given shape does not fit the file; or no size that is tried runs.
    """
    check_shapes(signature, given)
    left_open = [spec.name for spec in signature.inputs if spec.is_dynamic]
    if all(name in given for name in left_open):
        return filled(signature, given, 1)
    problem = ""
    for shapes in (filled(signature, given, size) for size in sizes_to_try(spec.shape for spec in signature.inputs)):
        try:
            outputs = run(shapes)
        except StepError as error:
            problem = problem or error.message
            continue
        empty = [name for name, value in outputs.items() if not value.size]
        if not empty:
            return shapes
        words = " and ".join(f"{name} at {' x '.join(map(str, sizes[1:]))}" for name, sizes in shapes.items())
        problem = problem or f"its output {empty[0]} is empty for {words}"
    raise UsageError(
        f"No size runs for {', '.join(left_open)}: {problem}.",
        next_step=f"Give it: {ask_for(signature)} (with its own sizes).",
    )


def run_shapes(signature: Signature, arrays: Mapping[str, Array]) -> dict[str, tuple[Dimension, ...]]:
    """The shapes of arrays whose sizes the signature leaves open, the batch as it stands there."""
    return {spec.name: (*spec.shape[:1], *arrays[spec.name].shape[1:]) for spec in signature.inputs if spec.is_dynamic}
