"""The processes of a comparison: one for each runtime, which imports it before it is needed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.artifact import size_of
from converters.checkpoints.parts import parts_of
from converters.common import Common
from converters.errors import EdgeportError
from converters.formats import Precision
from converters.isolation import Batch, Grants, Limits, Message, Standing, worker_environment
from validate.agreement.job import JudgeJob
from validate.runtimes import runtime_name
from validate.targets import HOST, Kind, Place, target_of

TENSORFLOW = frozenset({"keras", "saved_model"})
"""The runtimes that are TensorFlow."""


@dataclass(frozen=True)
class Entry:
    """A candidate of a comparison: a file, the place where it is run, and the precision whose gate holds it."""

    path: Path
    place: Place = HOST
    precision: Precision = Precision.FLOAT32

    @property
    def process(self) -> str:
        """The process that runs it. Raises what `runtime_name` does."""
        return process_of(runtime_name(self.path, self.place.device), self.place)

    def few(self, samples: int) -> int | None:
        """How many of the samples, the first ones, it is judged on where its instructions are emulated, which takes
        long; None for all that is run elsewhere, of a small file with few samples too."""
        if target_of(self.place.device).numbers is not Kind.EMULATED:
            return None
        return None if self.first >= max(samples, _MOST) else self.first

    @property
    def first(self) -> int:
        """How many of such a file's samples are worth emulating: 2 of SE-Inception v3 in float32, 32 of a small one."""
        return max(_FEWEST, min(_MOST, _EMULATED_BYTES // max(1, size_of(self.path))))


ELSEWHERE = "elsewhere"
_EMULATED_BYTES, _FEWEST, _MOST = 200_000_000, 2, 32
"""Weights times samples, about, and the limits of that; emulated, a million multiply-adds take about a millisecond."""


def process_of(runtime: str, place: Place = HOST) -> str:
    """A process by its runtime. What runs on a GPU has one of its own, which sees it; so has a machine elsewhere."""
    if place.device.is_elsewhere:
        return f"{ELSEWHERE}:{place.device}"
    return f"{runtime}:{place.device}" if place.device.is_gpu else runtime


_WORKER, _STEP = "validate.agreement.worker", "validate"
_IMPORTS = f"{_WORKER}.imports"


@dataclass(frozen=True)
class Processes:
    """The processes by `Entry.process`, and the folder by which they pass arrays to the parent and to each other."""

    folder: Path
    by_name: Mapping[str, Standing]

    def step(
        self, process: str, function: str, request: Message, on_event: Callable[[Message], None], grants: Grants
    ) -> Message:
        """Runs `validate.agreement.worker.<function>` in a process. Raises what `run_step` does."""
        return self.by_name[process].step(
            f"{_WORKER}.{function}",
            request,
            step=_STEP,
            on_event=on_event,
            reads=grants.reads,
            writes=grants.writes,
        )

    def batch(
        self,
        process: str,
        function: str,
        items: Sequence[str],
        request: Callable[[Sequence[str]], Message],
        reads: Sequence[Path],
    ) -> Batch:
        """Items for `validate.agreement.worker.<function>` in a process; `request` asks for the pending ones."""
        worker, target = self.by_name[process], f"{_WORKER}.{function}"
        return Batch(
            worker, tuple(items), lambda pending: worker.begin(target, request(pending), step=_STEP, reads=reads)
        )

    def rest(self, process: str) -> None:
        """Ends a process: its memory is the others'."""
        self.by_name[process].rest()


def tensorflow_worker(limits: Limits, log: Path | None, reads: Sequence[Path]) -> Standing:
    """The one process of TensorFlow that a comparison needs: for a checkpoint as reference, and for SavedModels.

    A caller who starts it while artifacts are still being made has its import for nothing.

    Args:
        reads: what the comparison will open: the reference's files, the folder of the artifacts, the inputs.
    """
    return Standing(f"{_IMPORTS}:tensorflow", limits=limits, log=log, reads=reads)


@contextlib.contextmanager
def processes(reference: Path, candidates: Sequence[Entry], job: JudgeJob) -> Iterator[Processes]:
    """The processes of one comparison. TensorFlow's may be the caller's, which is left at rest.

    Where the reference is TensorFlow's, which takes seconds, those of the candidates start beside it (not on one core).
    """
    files_of: dict[str, list[Path]] = {name: [] for name in ("tflite", "onnxruntime")}
    on_gpu: dict[str, bool] = {}
    for entry in (Entry(reference), *candidates):
        with contextlib.suppress(EdgeportError):  # what is not an artifact: its verdict will say so
            files_of.setdefault(entry.process, []).extend(parts_of(entry.path))
            on_gpu[entry.process] = entry.place.device.is_gpu
    start_early = runtime_name(reference) in TENSORFLOW and len(os.sched_getaffinity(0)) > 1
    with contextlib.ExitStack() as stack:
        tensorflow = job.tensorflow
        if tensorflow is None:
            files = [part for name in sorted(TENSORFLOW) for part in files_of.get(name, ())]
            tensorflow = stack.enter_context(
                tensorflow_worker(
                    job.common.limits, job.common.log, [*files, *reads_of_reference(reference, job.common)]
                )
            )
        stack.callback(tensorflow.rest)
        folder = tempfile.TemporaryDirectory(prefix="edgeport-validate-", dir=tensorflow.folder)
        work = Path(stack.enter_context(folder))
        by_name = dict.fromkeys(TENSORFLOW, tensorflow)
        for name in [name for name in files_of if name not in TENSORFLOW]:
            library = name.partition(":")[0]
            worker = Standing(
                f"{_IMPORTS}:{'tensorflow' if library in TENSORFLOW else library}",
                limits=job.common.limits,
                log=job.common.log,
                reads=files_of[name],
                writes=[work],
                env=worker_environment(gpu=on_gpu.get(name, False)),
                sandboxed=library != ELSEWHERE,
            )
            by_name[name] = stack.enter_context(worker)
            if start_early and files_of[name]:
                worker.start("validate")
        yield Processes(work, by_name)


def reads_of_reference(path: Path, common: Common) -> tuple[Path, ...]:
    """The files that the reference's step reads: the reference and the inputs to run it on."""
    inputs = (common.inputs,) if common.inputs else ()
    return (*parts_of(path, common.opening), *inputs)
