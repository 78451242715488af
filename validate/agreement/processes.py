"""The processes of a comparison: one for each runtime, which imports it before it is needed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.checkpoints.parts import parts_of
from converters.common import Common
from converters.errors import EdgeportError
from converters.isolation import Batch, Grants, Limits, Message, Standing
from validate.agreement.job import JudgeJob
from validate.runtimes import runtime_name

TENSORFLOW = frozenset({"keras", "saved_model"})
"""The runtimes that are TensorFlow."""

_OTHERS = ("tflite", "onnxruntime")
_WORKER, _STEP = "validate.agreement.worker", "validate"
_IMPORTS = f"{_WORKER}.imports"


@dataclass(frozen=True)
class Processes:
    """The processes by runtime, and the folder by which they pass arrays to the parent and to each other."""

    folder: Path
    by_runtime: Mapping[str, Standing]

    def step(
        self, runtime: str, function: str, request: Message, on_event: Callable[[Message], None], grants: Grants
    ) -> Message:
        """Runs `validate.agreement.worker.<function>` in a runtime's process. Raises what `run_step` does."""
        return self.by_runtime[runtime].step(
            f"{_WORKER}.{function}",
            request,
            step=_STEP,
            on_event=on_event,
            reads=grants.reads,
            writes=grants.writes,
        )

    def batch(
        self,
        runtime: str,
        function: str,
        items: Sequence[str],
        request: Callable[[Sequence[str]], Message],
        reads: Sequence[Path],
    ) -> Batch:
        """Items for `validate.agreement.worker.<function>` in a process; `request` asks for the pending ones."""
        worker, target = self.by_runtime[runtime], f"{_WORKER}.{function}"
        return Batch(
            worker, tuple(items), lambda pending: worker.begin(target, request(pending), step=_STEP, reads=reads)
        )

    def rest(self, runtime: str) -> None:
        """Ends a runtime's process: its memory is the others'."""
        self.by_runtime[runtime].rest()


def tensorflow_worker(limits: Limits, log: Path | None, reads: Sequence[Path]) -> Standing:
    """The one process of TensorFlow that a comparison needs: for a checkpoint as reference, and for SavedModels.

    A caller who starts it while artifacts are still being made has its import for nothing.

    Args:
        reads: what the comparison will open: the reference's files, the folder of the artifacts, the inputs.
    """
    return Standing(f"{_IMPORTS}:tensorflow", limits=limits, log=log, reads=reads)


@contextlib.contextmanager
def processes(reference: Path, candidates: Sequence[Path], job: JudgeJob) -> Iterator[Processes]:
    """The processes of one comparison. TensorFlow's may be the caller's, which is left at rest.

    Where the reference is TensorFlow's, which takes seconds, those of the candidates start beside it (not on one core).
    """
    runtimes = {path: _runtime_of(path) for path in (reference, *candidates)}
    start_early = runtimes[reference] in TENSORFLOW and len(os.sched_getaffinity(0)) > 1
    with contextlib.ExitStack() as stack:
        tensorflow = job.tensorflow
        if tensorflow is None:
            files = [part for path, name in runtimes.items() if name in TENSORFLOW for part in parts_of(path)]
            tensorflow = stack.enter_context(
                tensorflow_worker(
                    job.common.limits, job.common.log, [*files, *reads_of_reference(reference, job.common)]
                )
            )
        stack.callback(tensorflow.rest)
        folder = tempfile.TemporaryDirectory(prefix="edgeport-validate-", dir=tensorflow.folder)
        work = Path(stack.enter_context(folder))
        by_runtime = dict.fromkeys(TENSORFLOW, tensorflow)
        for runtime in _OTHERS:
            files = [part for path, name in runtimes.items() if name == runtime for part in parts_of(path)]
            worker = Standing(
                f"{_IMPORTS}:{runtime}", limits=job.common.limits, log=job.common.log, reads=files, writes=[work]
            )
            by_runtime[runtime] = stack.enter_context(worker)
            if start_early and files:
                worker.start("validate")
        yield Processes(work, by_runtime)


def reads_of_reference(path: Path, common: Common) -> tuple[Path, ...]:
    """The files that the reference's step reads: the reference and the inputs to run it on."""
    inputs = (common.inputs,) if common.inputs else ()
    return (*parts_of(path, common.opening), *inputs)


def _runtime_of(path: Path) -> str | None:
    """None for what is not an artifact: its verdict will say so."""
    try:
        return runtime_name(path)
    except EdgeportError:
        return None
