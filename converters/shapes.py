"""Sizes of inputs that a signature leaves open: the user's word for them, and what is tried without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from converters.checks.values import no_such
from converters.errors import UsageError
from converters.signature import BATCH, Dimension, Signature, TensorSpec

OPTION = "--shape"
Shapes = Mapping[str, tuple[Dimension, ...]]
"""By input name, its shape: `batch` or a number, then numbers."""

_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 16, 8, 4)
_LONGER = (4096, 8192, 16384, 32768, 65536)


def check_shapes(signature: Signature, shapes: Shapes) -> None:
    """Raises UsageError for a name that is no input, another rank, or a size other than a known one."""
    specs = {spec.name: spec for spec in signature.inputs}
    for name, sizes in shapes.items():
        if name not in specs:
            raise no_such("input", name, specs)
        stated = specs[name].shape
        if len(sizes) != len(stated):
            raise UsageError(
                f"{OPTION} {name}={_text(sizes)} has {len(sizes)} sizes, and the input has {len(stated)}: "
                f"({', '.join(map(str, stated))}).",
                next_step=f"Give {len(stated)}, the batch first: {OPTION} {name}={_text(_example(specs[name]))}",
            )
        for k, (size, known) in enumerate(zip(sizes, stated, strict=True)):
            if isinstance(known, int) and size != known and not (k == 0 and size == BATCH):
                raise UsageError(
                    f"{OPTION} {name}={_text(sizes)} gives {size} where the input has {known}: "
                    f"({', '.join(map(str, stated))}).",
                    next_step=f"Only unknown sizes can be chosen: {OPTION} {name}={_text(_example(specs[name]))}",
                )


def sizes_to_try(shapes: Iterable[Sequence[Dimension | None]]) -> tuple[int, ...]:
    """What is tried for unknown sizes, in this order, until nothing is empty.

    Where no input has two of them, long ones too: a recording is long before its first layer has done.

    Args:
        shapes: of all inputs, as a signature or a file has them.
    """
    most = max((sum(not isinstance(size, int) or size < 0 for size in sizes[1:]) for sizes in shapes), default=0)
    return _SIZES if most > 1 else (*_SIZES, *_LONGER)


def filled(signature: Signature, shapes: Shapes, size: int) -> dict[str, tuple[Dimension, ...]]:
    """The shape of each input that has an unknown size: as given, else with `size` for each; the batch as it is."""
    return {
        spec.name: (*spec.shape[:1], *shapes.get(spec.name, spec.concrete(1, size))[1:])
        for spec in signature.inputs
        if spec.is_dynamic
    }


def ask_for(signature: Signature) -> str:
    """The words that settle the first input whose size is unknown."""
    spec = next((spec for spec in signature.inputs if spec.is_dynamic), signature.inputs[0])
    return f"{OPTION} {spec.name}={_text(_example(spec))}"


def timed_batch(shapes: Shapes) -> int | None:
    """The batch that the user's shapes have a number for; None without any. Raises UsageError: they differ."""
    sizes = {sizes[0] for sizes in shapes.values() if sizes and isinstance(sizes[0], int)}
    if len(sizes) > 1:
        raise UsageError(
            f"{OPTION} gives the batches {', '.join(map(str, sorted(sizes)))}.",
            next_step="Give the same for each input.",
        )
    return next(iter(sizes), None)


def check_batch(shapes: Shapes, batches: Sequence[int]) -> None:
    """Raises UsageError for shapes whose batch has a number that is none of those of `--batch`."""
    batch = timed_batch(shapes)
    if batch is not None and batches and batch not in batches:
        raise UsageError(
            f"{OPTION} gives a batch of {batch}, and --batch {', '.join(map(str, batches))}.",
            next_step=f"Give one of them, or write `{BATCH}` in {OPTION}.",
        )


def shape_text(sizes: Sequence[Dimension]) -> str:
    """For people, without the batch: `320 x 320 x 3`."""
    return " x ".join(map(str, sizes[1:]))


def shapes_text(shapes: Mapping[str, Sequence[Dimension]]) -> str:
    """For people: `image 320 x 320 x 3`; empty where there is none."""
    return ", ".join(f"{name} {shape_text(sizes)}" for name, sizes in shapes.items())


def _example(spec: TensorSpec) -> tuple[Dimension, ...]:
    return (*spec.shape[:1], *spec.concrete(1, 64)[1:])


def _text(sizes: tuple[Dimension, ...]) -> str:
    return ",".join(map(str, sizes))
