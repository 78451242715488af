"""The interface of every runtime: a signature read from the file itself, and `run`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.texts import Texts
from converters.errors import RefusedError, ResourceError, StepError, UsageError, words_of
from converters.signature import BATCH, Dimension, Signature
from validate.runtimes.devices import Arithmetic, Device
from validate.runtimes.tflm_arena import Arena

_NO_ROW = re.compile(r"is not in \[0, (\d+)\)")
_NO_MEMORY = re.compile(r"[Ff]ailed to allocate|bad_alloc|[Oo]ut of memory|RESOURCE_EXHAUSTED|OOM when")

Prepared = tuple[Callable[[], Any], Callable[[Any], Arrays]]


class DeviceUnavailableError(StepError):
    """The device asked for is not really there. The message names the library or the device that is missing.

    Raise and catch it on the worker's side: across the process boundary it becomes a plain StepError.
    """


@dataclass(frozen=True)
class RuntimeOptions:
    """How to open an artifact.

    Attributes:
        device: where to run; never silently another one.
        threads: intra-operator threads; operators themselves run one after the other.
        graph_optimization: ONNX Runtime's level: `off`, `basic`, `extended` or `all`.
        delegates: TFLite: let the default delegate (XNNPACK) take what it can.
        tf32: CUDA: let matrix units round float32 operands to TF32, as ONNX Runtime does by default.
        interface: LiteRT: `interpreter` or `compiled` (CompiledModel).
        spinning: ONNX Runtime: idle threads spin for work.
        conv_search: CUDA: how cuDNN's convolutions are chosen; None leaves ONNX Runtime's default.
        float32: OpenVINO: computes in float32; else in what it takes for this processor.
        machine: of a device elsewhere, how it is reached; see the class in its target's row.
        profile: ONNX Runtime: write a profile to files that begin so (`session.end_profiling()` ends it).
        opening: how a source is opened; None for an artifact, which says all itself but for `signature`.
        signature: of a file that has several signatures, which one.
        checkpoint: the source, where it has been scanned already; None has it scanned when it is opened.
    """

    device: Device = Device.CPU
    threads: int = 1
    graph_optimization: str = "all"
    delegates: bool = True
    tf32: bool = True
    interface: str = "interpreter"
    spinning: bool = True
    conv_search: str | None = None
    float32: bool = False
    machine: Mapping[str, Any] = field(default_factory=dict, hash=False)
    profile: Path | None = None
    opening: LoadOptions | None = None
    signature: str | None = None
    checkpoint: Checkpoint | None = None

    @property
    def key(self) -> str | None:
        """Which of several signatures."""
        return self.opening.signature if self.opening else self.signature


class Stopwatch(Protocol):
    """Times runs where they happen, in a process that is not ours, with that one's clock.

    Attributes:
        process: the process that runs the model: its memory and its CPU time are the row's.
        phases: `import_ms` and `load_ms` there, `idle_rss_bytes` before the load and `load_peak_bytes` after it.
        facts: of how it measures, for the row.
    """

    process: int
    phases: Mapping[str, float]

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def prepare(self, feeds: Sequence[Arrays]) -> None:
        """Has the inputs ready there; runs go through them in turn."""

    def timed(self, count: int) -> list[int]:
        """Nanoseconds of runs, about `count`; a sample may be the mean of several."""


class Runtime(Protocol):
    """An opened artifact. What not every runtime can do has an answer here that says so; a runtime inherits these.

    Attributes:
        signature: as the file itself states it; see `ordered`.
        device: where it runs.
        ordered: False where the file keys its tensors by name alone (SavedModel), so that their order says nothing.
        notes: what is worth knowing of how it was opened, in sentences.
        version: of the runtime's package where that is on another machine; empty where it is installed here.
        arithmetic: what floats are computed in, as it was opened; None is float32.
        texts: of each input of texts, what it is meant to be fed.
        quantization: by name, scale and zero point of the inputs and outputs that are integers standing for floats.
        stopwatch: what times runs that happen in another process; None where our own clock is right beside them.
        facts: of where it runs, for the row of a timing.
    """

    signature: Signature
    device: Device
    ordered: bool
    notes: tuple[str, ...]
    version: str = ""
    arithmetic: Arithmetic | None = None
    texts: Mapping[str, Texts] = MappingProxyType({})
    quantization: Mapping[str, tuple[float, int]] = MappingProxyType({})
    stopwatch: Stopwatch | None = None
    facts: Mapping[str, Any] = MappingProxyType({})

    @property
    def arena(self) -> Arena | None:
        """The memory that it takes on a board, measured; None in every runtime but TFLM."""
        return None

    @property
    def session(self) -> Any:
        """ONNX Runtime's `InferenceSession`, for IO binding and profiling; None in every other runtime."""
        return None

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        """Outputs by name for inputs by name; arrays of another key than an input's name are ignored.

        Raises:
            UsageError: an input is missing.
            StepError: the runtime failed on these inputs.
        """

    def prepared(self, feed: Arrays) -> Prepared:
        """One run with these inputs, and what names its results: for timing. All feeds must have the same shapes."""
        return partial(self.run, feed), dict

    def refuses(self, feeds: Arrays) -> bool | None:
        """Whether the runtime turns these away, as the file stands: by their shape. None where it cannot be asked."""
        return None


def turned_away(run: Callable[[Arrays], Arrays], feeds: Arrays) -> bool:
    """Whether a run of these fails: what `Runtime.refuses` tells where a runtime checks shapes itself."""
    try:
        run(feeds)
    except StepError:
        return True
    return False


def dimensions(name: str, sizes: tuple[int | str | None, ...]) -> tuple[Dimension, ...]:
    """A runtime's shape in the signature's words: unknown at 0 is `"batch"`, elsewhere `"<name>_dim<k>"`."""
    result: list[Dimension] = []
    for k, size in enumerate(sizes):
        if isinstance(size, int) and size >= 0:
            result.append(size)
        else:
            result.append(BATCH if k == 0 or size == BATCH else f"{name}_dim{k}")
    return tuple(result)


def ordered_inputs(signature: Signature, inputs: Mapping[str, Array], path: Path) -> Arrays:
    """The inputs that the signature asks for, in its order."""
    missing = [name for name in signature.input_names if name not in inputs]
    if missing:
        raise UsageError(
            f"{path.name} needs the inputs {', '.join(missing)}, which were not given.",
            next_step=f"Give arrays named {', '.join(signature.input_names)}.",
            file=path,
        )
    return {name: np.ascontiguousarray(inputs[name]) for name in signature.input_names}


def fixed_batch(signature: Signature) -> int | None:
    """The batch size that the file insists on: the common first dimension of its inputs; None where it is free."""
    sizes = {spec.shape[0] for spec in signature.inputs if spec.shape}
    if len(sizes) == 1:
        (size,) = sizes
        if isinstance(size, int):
            return size
    return None


def refuse_other_batches(signature: Signature) -> None:
    """Raises RefusedError where samples cannot be told apart along the first axis of an input."""
    for spec in signature.inputs:
        if not spec.shape and spec.is_text:
            what = "is a single text, as of a file's bytes, which has no samples"
            advice = "from behind what decodes it (of a graph: --graph-input NODE=batch,... names that tensor)"
        elif not spec.shape:
            what, advice = "is a scalar, which has no samples", "with the scalar as a constant in the graph"
        elif BATCH in spec.shape[1:] and isinstance(spec.shape[0], int):
            what = f"has its batch on axis {spec.shape.index(BATCH)}, not on axis 0: {list(spec.shape)}"
            advice = "with a Transpose in front, so that the batch comes first"
        else:
            continue
        raise RefusedError(
            f"The input {spec.name} {what}. Files are judged sample by sample along axis 0 of every input.",
            next_step=f"Export the model {advice}.",
            step="validate",
        )


def damaged(path: Path, what: str, cause: BaseException) -> NoReturn:
    """Raises the RefusedError for a file that its runtime cannot open."""
    text = words_of(cause)
    raise RefusedError(
        f"{path.name} cannot be opened as {what}: {text}",
        next_step="Make the file again: it may be truncated, or of another kind than its name says.",
        file=path,
    ) from cause


def failed(path: Path, cause: BaseException) -> NoReturn:
    """Raises the StepError for a file that opens and does not run, or ResourceError where memory did not suffice."""
    text = words_of(cause)
    if isinstance(cause, MemoryError) or _NO_MEMORY.search(text):
        raise ResourceError(
            f"{path.name} needs more memory than there is: {text}",
            next_step="Use a smaller batch or input, or a machine with more memory.",
            file=path,
        ) from cause
    next_step = "Check the inputs' shapes against the file's signature (edgeport inspect), or make the file again."
    rows = _NO_ROW.search(text)
    if rows:  # an embedding behind a float input: no signature tells that these are indices
        next_step = f"Its inputs are indices from 0 to {int(rows[1]) - 1}: give --inputs that hold such values alone."
    raise StepError(f"{path.name} failed while running: {text}", next_step=next_step, file=path) from cause
