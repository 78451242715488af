"""Makes a drawn model's files as edgeport makes them and judges each, by two who know nothing of one another.

One is the verdict of `edgeport validate`: what it says disagrees is wrong. The other runs the file by its bare runtime
and holds it against Keras, called eagerly on two batches: within 1e-5 of the output's scale is right. What lies further
away has a second look: the same model is drawn in float64, and the file may be ten times as far from that as Keras
itself is, or as Keras moves when its inputs move by one part in 2**23. Beyond that it is apart, where the verdict
agrees; beyond 1e-3, with another shape or a value that is no number it is wrong whatever the verdict says.
"""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.checkpoints.load_options import LoadOptions
from converters.errors import EdgeportError
from converters.formats import Format
from validate.agreement.rows import VerdictStatus

from .draw import Drawn, draw
from .making import make, opened_anew
from .running import OPEN
from .verdict import verdicts

NEAR, NOISE = 1e-5, 10.0
FAR = 1e-3
LARGEST = 1e5
FORMATS = (Format.SAVEDMODEL, Format.ONNX, Format.TFLITE)


@dataclass(frozen=True)
class Result:
    """What became of one format of one model.

    `made`, `refused`, `wrong`, `apart`, `broken` where no runtime runs the file, `crash` where an error is not
    edgeport's own.

    Attributes:
        verdict: that of `edgeport validate`, or why there is none; empty where it was not asked for.
    """

    status: str
    detail: str = ""
    error: float = 0.0
    verdict: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class NoModelError(Exception):
    """Keras itself cannot run or save what was drawn."""


def judged(
    seed: str, folder: Path, said: Callable[[str], None], *, quick: bool = False
) -> tuple[dict[str, Result], str]:
    """By format, what became of the model of this seed; and its layers. `said` is told each step before it is taken.

    Args:
        quick: asks for the verdict on files that the other judge calls apart alone.

    Raises:
        NoModelError: Keras cannot run or save it.
    """
    said("draw")
    try:
        drawn = draw(seed)
    except Exception as cause:  # Keras' and TensorFlow's kinds are many
        raise NoModelError(f"{type(cause).__name__}: {str(cause)[:200]}") from cause
    results = files_judged(drawn, folder, said)
    asked = [fmt for fmt, result in results.items() if result.status in ({"apart"} if quick else {"made", "apart"})]
    if asked:
        said("verdict")
        results |= _with_verdicts({fmt: results[fmt] for fmt in asked}, folder, drawn)
    return results, layers_of(drawn.model)


def _with_verdicts(results: dict[str, Result], folder: Path, drawn: Drawn) -> dict[str, Result]:
    files = [_file(folder, Format(fmt)) for fmt in results]
    sizes = {name: ("batch", *array.shape[1:]) for name, array in drawn.feeds[0].items()}
    open_sizes = {t.name: sizes[t.name] for t in drawn.model.inputs if None in t.shape[1:]}
    try:
        found = verdicts(folder / "model.keras", files, open_sizes)
    except EdgeportError as error:
        return {fmt: replace(result, verdict=f"none: {error.message}") for fmt, result in results.items()}
    status = {VerdictStatus.DISAGREE: "wrong", VerdictStatus.ERROR: "broken"}
    return {
        fmt: replace(
            result,
            status=status.get(verdict.status, result.status),
            detail=verdict.reason if verdict.status in status else result.detail,
            verdict=f"{verdict.status}: {'; '.join((verdict.reason, *verdict.notes))}"[:1000],
        )
        for (fmt, result), verdict in zip(results.items(), found, strict=True)
    }


def _file(folder: Path, fmt: Format) -> Path:
    return folder / f"model.float32.{fmt.value}"


def files_judged(
    drawn: Drawn, folder: Path, said: Callable[[str], None], opening: LoadOptions = LoadOptions()
) -> dict[str, Result]:
    """By format, what became of a model. Raises NoModelError."""
    import keras

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        expected = [reference(drawn.model, feed) for feed in drawn.feeds]
        _check_usable(expected)
        drawn.model.save(folder / "model.keras")
        _check_saved(folder / "model.keras", drawn, expected)
        keras.backend.clear_session()  # automatic names begin anew, as in a process that opens the file
    except Exception as cause:  # as above
        raise NoModelError(f"{type(cause).__name__}: {str(cause)[:200]}") from cause
    results: dict[str, Result] = {}
    opened_anew()
    for fmt in FORMATS:
        said(fmt.value)
        results[fmt.value] = _judged_format(fmt, folder, drawn, expected, opening)
    return results


def _check_usable(expected: list[list[Any]]) -> None:
    for value in (value for outputs in expected for value in outputs):
        if value.size == 0 or not np.isfinite(value).all() or np.abs(value).max() > LARGEST:
            raise NoModelError("values that are empty, not finite or huge")


def _check_saved(path: Path, drawn: Drawn, expected: list[list[Any]]) -> None:
    """Raises NoModelError: Keras answers otherwise once it has loaded what it saved."""
    import keras

    loaded = keras.models.load_model(path, safe_mode=False)
    found = [reference(loaded, feed) for feed in drawn.feeds]
    for row, rights in zip(found, expected, strict=True):
        if any(_distance(value, right) > NEAR for value, right in zip(row, rights, strict=True)):
            raise NoModelError("Keras answers otherwise once it has loaded what it saved")


def layers_of(model: Any) -> str:
    """The kinds of its layers, and of those inside them."""
    words = []
    for layer in model.layers:
        inner = getattr(layer, "layer", None) or getattr(layer, "forward_layer", None)
        below = f"({layers_of(layer)})" if hasattr(layer, "layers") else f"({type(inner).__name__})" if inner else ""
        words.append(type(layer).__name__ + below)
    return " ".join(words)


def reference(model: Any, feed: dict[str, Any]) -> list[Any]:
    """Keras, run eagerly; through XLA where TensorFlow has no kernel for the order of channels."""
    import keras
    import tensorflow as tf

    dtype = keras.config.floatx()
    tensors = [tf.constant(v.astype(dtype) if v.dtype.kind == "f" else v) for v in feed.values()]

    def call(*given: Any) -> Any:
        return model(keras.tree.pack_sequence_as(model.input, list(given)), training=False)

    try:
        outputs = call(*tensors)
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        outputs = tf.function(call, jit_compile=True)(*tensors)
    return [np.asarray(value) for value in keras.tree.flatten(outputs)]


def _judged_format(fmt: Format, folder: Path, drawn: Drawn, expected: list[list[Any]], opening: LoadOptions) -> Result:
    path = _file(folder, fmt)
    try:
        names = make(folder / "model.keras", fmt, path, opening)
    except EdgeportError as error:
        return Result("refused", error.message)
    except Exception:  # an error that is not edgeport's own ends the command with a traceback
        return Result("crash", traceback.format_exc()[-1500:])
    try:
        run = OPEN[fmt](path)
        outputs = [[row[name] for name in names] for row in map(run, drawn.feeds)]
    except Exception as cause:
        return Result("broken", f"{type(cause).__name__}: {cause}"[:500])
    return compared(outputs, expected, drawn)


def compared(outputs: list[list[Any]], expected: list[list[Any]], drawn: Drawn) -> Result:
    pairs = [(k, j) for k, row in enumerate(expected) for j in range(len(row))]
    if any(len(outputs[k]) != len(expected[k]) for k, _ in pairs):
        return Result("wrong", "another number of outputs")
    for k, j in pairs:
        if np.shape(outputs[k][j]) != expected[k][j].shape:
            return Result("wrong", f"shape {np.shape(outputs[k][j])} for {expected[k][j].shape}", math.inf)
    error = max(_distance(outputs[k][j], expected[k][j]) for k, j in pairs)
    if math.isinf(error):
        return Result("wrong", "a value that is not a number", error)
    if error <= NEAR:
        return Result("made", error=error)
    alone = _sample_by_sample(drawn)
    if all(
        _distance(outputs[k][j], alone[k][j]) <= NEAR for k, j in pairs if alone[k][j].shape == expected[k][j].shape
    ):
        return Result("made", "as Keras has each sample alone", error)
    exact, moved = _second_look(drawn)
    for k, j in pairs:
        allowed = NOISE * max(_distance(expected[k][j], exact[k][j]), _distance(moved[k][j], expected[k][j]))
        if _distance(outputs[k][j], exact[k][j], expected[k][j]) > max(NEAR, allowed):
            return Result("wrong" if error > FAR else "apart", f"output {j}: {error:.2g} of the scale", error)
    return Result("made", "second look", error)


def _distance(value: Any, other: Any, scale_of: Any = None) -> float:
    """The largest difference over the scale of `other`; infinite where a value is not a number."""
    value, other = np.asarray(value, "float64"), np.asarray(other, "float64")
    if not np.isfinite(value).all():
        return math.inf
    scale = float(np.abs(other if scale_of is None else scale_of).max())
    return float(np.abs(value - other).max()) / max(scale, 1e-3)


def _sample_by_sample(drawn: Drawn) -> list[list[Any]]:
    """Keras' outputs of each sample alone.

    Keras takes what it adds for a bias where the batch is as large as there are channels: (3, 3) + (3, 1) comes out
    transposed, of a batch of three.
    """
    found = []
    for feed in drawn.feeds:
        count = len(next(iter(feed.values())))
        rows = [reference(drawn.model, {n: v[k : k + 1] for n, v in feed.items()}) for k in range(count)]
        found.append([np.concatenate(parts) for parts in zip(*rows, strict=True)])
    return found


def _second_look(drawn: Drawn) -> tuple[list[list[Any]], list[list[Any]]]:
    """The outputs in float64, and those of Keras in float32 with inputs one step of float32 away.

    Where Keras itself does not run the model in float64, its outputs in float32 stand for both.
    """
    moved = [reference(drawn.model, {n: _nudged(v) for n, v in feed.items()}) for feed in drawn.feeds]
    weights = drawn.model.get_weights()
    with _floatx("float64"), contextlib.suppress(TypeError, ValueError):
        double = drawn.again()
        double.set_weights(weights)
        return [reference(double, feed) for feed in drawn.feeds], moved
    return [reference(drawn.model, feed) for feed in drawn.feeds], moved


def _nudged(values: Any) -> Any:
    if values.dtype.kind != "f":
        return values
    signs = np.where(np.random.default_rng(0).random(values.shape) < 0.5, -1, 1)
    return (values * (1 + signs * 2.0**-23)).astype(values.dtype)


@contextlib.contextmanager
def _floatx(dtype: str) -> Iterator[None]:
    import keras

    before = keras.config.floatx()
    spectrogram = keras.layers.MelSpectrogram
    matrix = spectrogram.linear_to_mel_weight_matrix
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    spectrogram.linear_to_mel_weight_matrix = functools.partialmethod(matrix, dtype=dtype)  # else it is of float32
    try:
        yield
    finally:
        spectrogram.linear_to_mel_weight_matrix = matrix
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)
