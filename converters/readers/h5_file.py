"""Contents of an HDF5 file: a whole Keras model (`.h5`) or weights alone (`.weights.h5`).

The HDF5 library is C code that can loop for ever, or worse, on damaged bytes (a few flipped bits in a global heap
suffice). So it runs in a worker process with a limit on time and memory; the caller gets plain facts, or a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from converters.errors import CrashError, ResourceError, StepTimeoutError
from converters.isolation import Limits, run_step, worker_environment
from converters.readers.facts import MalformedError, WeightFact, refusing

MAGIC = b"\x89HDF\r\n\x1a\n"

_LIMITS = Limits(timeout_s=15.0, memory_bytes=2 << 30)


@dataclass(frozen=True)
class H5Facts:
    """An HDF5 file of Keras.

    Attributes:
        model_config: the JSON text of the model; None in a weights file.
        keras_version: of the writer, where it says so.
        weights: as stored, less the state of optimizers and random generators.
        stored_elements: of all data sets, those included.
        is_keras: it has the layout of Keras.
        nonfinite: names of the weights that hold NaN or infinity, where the values were asked for.
    """

    model_config: str | None = None
    keras_version: str = ""
    weights: tuple[WeightFact, ...] = field(default_factory=tuple)
    stored_elements: int = 0
    is_keras: bool = False
    nonfinite: tuple[str, ...] = ()


def read_h5(path: Path, *, values: bool = False) -> H5Facts:
    """Reads the facts of an HDF5 file on disk; with `values` also whether its numbers are finite.

    Raises:
        RefusedError: damaged, linked to other files, or declaring far more than it holds.
        UsageError: it cannot be read.
    """
    with refusing(path, "HDF5 file"):
        return read_h5_part(path, 0, path.stat().st_size, values=values)


def read_h5_part(path: Path, start: int, size: int, *, values: bool = False) -> H5Facts:
    """Reads an HDF5 file that lies at `start` in another one, such as an archive. Raises MalformedError."""
    request = {"path": str(path.absolute()), "start": start, "size": size, "values": values}
    try:
        facts = run_step(
            "converters.readers.h5_worker:read",
            request,
            step="scan",
            limits=Limits() if values else _LIMITS,
            env=worker_environment(threads=1),
            reads=[path],
        )
    except (CrashError, StepTimeoutError, ResourceError) as cause:
        raise MalformedError(f"the HDF5 library does not survive reading it ({cause.message})") from cause
    if "malformed" in facts:
        raise MalformedError(str(facts["malformed"]))
    weights = tuple(WeightFact(name, tuple(shape), dtype) for name, shape, dtype in facts.pop("weights"))
    return H5Facts(weights=weights, nonfinite=tuple(facts.pop("nonfinite")), **facts)
