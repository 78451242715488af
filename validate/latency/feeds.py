"""The inputs of a timing, ready before the clock starts, and the answers to expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.texts import ANY, Texts
from converters.errors import RefusedError, StepError, UsageError
from converters.formats import Precision
from converters.isolation import Message
from converters.shapes import Shapes, check_shapes
from converters.signature import BATCH, Signature, TensorSpec
from validate.inputs import shapes_that_run
from validate.inputs.texts import draw_texts, texts_that_run
from validate.runtimes.base import Runtime

DISTINCT = 8

# Largest error, as a share of the golden output's largest magnitude, of an answer that is merely less precise. It
# does not judge agreement (validate.agreement does): it only keeps out the figures of a model that computes otherwise.
_GROSS_ERROR = {Precision.FLOAT32: 0.01, Precision.FLOAT16: 0.05}
_GROSS_ERROR_QUANTIZED = 0.5


@dataclass(frozen=True)
class Feeds:
    """Inputs that a worker cycles through.

    Attributes:
        inputs: dictionaries of contiguous arrays.
        expected: golden outputs of the first `len(expected)` of them; empty where no golden vectors fit.
    """

    inputs: tuple[Arrays, ...]
    expected: tuple[Arrays, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the inputs and the golden outputs take."""
        return sum(array.nbytes for feed in (*self.inputs, *self.expected) for array in feed.values())


@dataclass(frozen=True)
class Golden:
    """Golden inputs and outputs by name, samples along the first axis."""

    inputs: Arrays
    outputs: Arrays

    @classmethod
    def read(cls, path: Path) -> Golden:
        """Reads `input/<name>` and `output/<name>` of an `.npz`.

        Raises:
            RefusedError: it is not an `.npz`, or holds no inputs.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError) as cause:
            raise _unreadable(path, str(cause)) from cause
        inputs, outputs = (
            {name.removeprefix(prefix): np.atleast_1d(a) for name, a in arrays.items() if name.startswith(prefix)}
            for prefix in ("input/", "output/")
        )
        if not inputs or min(len(array) for array in inputs.values()) == 0:
            raise _unreadable(path, "it has no input/<name> arrays with samples")
        return cls(inputs, outputs)

    def shapes(self, signature: Signature) -> Shapes:
        """By name, the shape of each golden input that the signature leaves open."""
        return {
            spec.name: (*spec.shape[:1], *array.shape[1:])
            for spec in signature.inputs
            if spec.is_dynamic and (array := self.inputs.get(spec.name)) is not None and array.ndim == len(spec.shape)
        }


def make_feeds(
    signature: Signature,
    batch: int,
    seed: int,
    golden: Golden | None,
    shapes: Shapes = MappingProxyType({}),
    texts: Mapping[str, Texts] = MappingProxyType({}),
) -> Feeds:
    """The inputs for one worker: the golden ones alone, where they fit, else eight synthetic ones.

    Never both: the figures would be of a mixture.

    Args:
        shapes: of inputs that leave sizes open; golden inputs of others are left out.
        texts: what inputs of texts are meant to be fed.

    Raises:
        UsageError: the model cannot take this batch, or the golden arrays do not fit it.
    """
    _check_batch(signature, batch)
    rng = np.random.default_rng(seed)
    if golden is None or not _same_sizes(shapes, golden) or not _same_kind(signature, golden):
        return Feeds(tuple(_synthetic(signature, batch, rng, shapes, texts) for _ in range(DISTINCT)))
    picks = _picks(min(len(array) for array in golden.inputs.values()), batch)
    inputs = [{s.name: _rows(golden.inputs[s.name], s, pick) for s in signature.inputs} for pick in picks]
    names = [name for name in signature.output_names if name in golden.outputs]
    expected = tuple({name: golden.outputs[name][pick] for name in names} for pick in picks) if names else ()
    return Feeds(tuple(inputs), expected)


def feeds_of(request: Message, runtime: Runtime, golden: Golden | None) -> tuple[Feeds, Shapes]:
    """The inputs of a timing with this request, and the shape of each that has an unknown size.

    Raises:
        UsageError: what `make_feeds` and `shapes_that_run` raise.
    """
    signature, batch, seed = runtime.signature, int(request["batch"]), int(request["seed"])
    given = {name: tuple(sizes) for name, sizes in request["shapes"].items()}
    check_shapes(signature, given)
    told = {} if golden is None else golden.shapes(signature)

    def drawn(shapes: Shapes, texts: Mapping[str, Texts]) -> Arrays:
        return _synthetic(signature, batch, np.random.default_rng(seed), shapes, texts)

    known = {name: one.narrower[-1] for name, one in runtime.texts.items()}
    shapes = shapes_that_run(signature, {**told, **given}, lambda shapes: runtime.run(drawn(shapes, known)))
    texts = texts_that_run(runtime.texts, lambda texts: drawn(shapes, texts), runtime.run, batch) if known else {}
    return make_feeds(signature, batch, seed, golden, shapes, texts), shapes


def check_answers(
    expected: Arrays,
    outputs: Mapping[str, Array],
    precision: Precision | None,
    allowed: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Raises StepError where the outputs differ from the golden vectors: the speed of a wrong answer is worthless.

    Gross errors only: another shape, a value that is not finite, or an error beyond what the precision explains.

    Args:
        allowed: by output, how far from the reference its verdict found right: never a wrong answer here.
    """
    for name, golden in expected.items():
        if name not in outputs:
            raise _wrong(f"its output {name} is missing")
        output = np.asarray(outputs[name])
        if output.shape != golden.shape:
            raise _wrong(f"its output {name} has the shape {list(output.shape)} instead of {list(golden.shape)}")
        if golden.dtype.kind == "S":
            if not np.array_equal(output, golden):
                raise _wrong(f"its output {name} has other texts than the golden one")
            continue
        if output.dtype.kind != golden.dtype.kind:
            continue  # an artifact with integer outputs of its own (--io int8): not comparable without its scales
        finite = np.isfinite(golden)
        if not np.isfinite(output[finite]).all():
            raise _wrong(f"its output {name} has values that are not finite")
        error = np.abs(output[finite].astype(np.float64) - golden[finite].astype(np.float64)).max(initial=0.0)
        scale = np.abs(golden[finite].astype(np.float64)).max(initial=0.0)
        if error > max(_gross_error(precision) * scale + 1e-6, allowed.get(name, 0.0)):
            raise _wrong(
                f"its output {name} differs from the golden one by {error:.3g} where values reach {scale:.3g} "
                f"(held to {held_to(precision, allowed)})"
            )


def held_to(precision: Precision | None, allowed: Mapping[str, float]) -> str:
    """What the answers are held to, in words."""
    share = f"{_gross_error(precision):.0%} of the greatest golden value"
    return f"{share}, or to what the verdict found right" if allowed else f"{share}: there is no verdict to go by"


def _gross_error(precision: Precision | None) -> float:
    return _GROSS_ERROR.get(precision, _GROSS_ERROR_QUANTIZED) if precision else _GROSS_ERROR_QUANTIZED


def _check_batch(signature: Signature, batch: int) -> None:
    for spec in signature.inputs:
        size = spec.shape[0] if spec.shape else BATCH
        if isinstance(size, int) and size != batch:
            raise UsageError(
                f"The input {spec.name} is fixed to a batch of {size} (its shape is {list(spec.shape)}), "
                f"so a batch of {batch} cannot be timed.",
                next_step=f"Time it with --batch {size}, or export it with --batch dynamic.",
            )


def _same_sizes(shapes: Shapes, golden: Golden) -> bool:
    return all(golden.inputs[name].shape[1:] == sizes[1:] for name, sizes in shapes.items() if name in golden.inputs)


def _same_kind(signature: Signature, golden: Golden) -> bool:
    """Whether the golden inputs can be fed at all; False for an artifact whose inputs are integers of its own.

    Raises:
        UsageError: an input is missing or has another shape.
    """
    for spec in signature.inputs:
        array = golden.inputs.get(spec.name)
        if array is None:
            raise UsageError(
                f"The golden vectors have no input {spec.name}; they have {', '.join(golden.inputs)}.",
                next_step="Give golden vectors that were made for this model.",
            )
        fits = all(isinstance(d, str) or d == n for d, n in zip(spec.shape[1:], array.shape[1:], strict=False))
        if array.ndim != len(spec.shape) or not fits:
            raise UsageError(
                f"The golden input {spec.name} has the shape {list(array.shape)}, the model takes {list(spec.shape)}.",
                next_step="Give golden vectors that were made for this model.",
            )
        if array.dtype.kind != ("S" if spec.is_text else np.dtype(spec.dtype).kind):
            return False
    return True


def _picks(samples: int, batch: int) -> list[Array]:
    """The golden samples of each feed: consecutive ones, wrapping around. Each sample is used, no feed occurs twice."""
    starts = range(0, samples, min(batch, samples))
    picks = [(start + np.arange(batch)) % samples for start in starts]
    for start in range(samples):  # a batch nearly as large as the set: shifted windows are distinct too
        if len(picks) >= DISTINCT:
            break
        if start not in starts:
            picks.append((start + np.arange(batch)) % samples)
    return picks


def _rows(array: Array, spec: TensorSpec, pick: Array) -> Array:
    return np.ascontiguousarray(array[pick], dtype=None if spec.is_text else spec.dtype)


def _synthetic(
    signature: Signature, batch: int, rng: np.random.Generator, shapes: Shapes, texts: Mapping[str, Texts]
) -> Arrays:
    sizes = {spec.name: spec.at(shapes.get(spec.name), batch) for spec in signature.inputs}
    return {
        spec.name: draw_texts(texts.get(spec.name, ANY), sizes[spec.name], rng)
        if spec.is_text
        else _random(spec, sizes[spec.name], rng)
        for spec in signature.inputs
    }


def _random(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Floats in [0, 1), bytes over their range, wider integers 0 or 1.

    0 and 1 because an integer may be the index of an embedding.
    """
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        dtype = np.dtype("O")
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        low, high = (0, 1) if dtype.itemsize > 1 else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
        return rng.integers(low, high, shape, dtype=dtype, endpoint=True)
    if dtype.kind == "f":
        return rng.uniform(0.0, 1.0, shape).astype(dtype)
    raise UsageError(
        f"The input {spec.name} is of type {spec.dtype}, for which inputs cannot be made up.",
        next_step="Time it inside its bundle, where golden inputs lie beside it.",
    )


def _unreadable(path: Path, cause: str) -> RefusedError:
    return RefusedError(
        f"{path.name} cannot be read as golden vectors: {cause}.",
        next_step="Give an .npz with input/<name> and output/<name> arrays, as edgeport run writes it.",
        file=path,
    )


def _wrong(what: str) -> StepError:
    return StepError(
        f"The artifact ran, but {what}: a wrong answer is no timing.",
        next_step="Compare it with its checkpoint (edgeport validate), or time it in its bundle, with its verdict.",
        step="bench",
    )
