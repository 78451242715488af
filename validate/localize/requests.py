"""Requests to workers: the checkpoint's, which stays with the model that it loaded, and one for each file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.arrays import Array
from converters.checkpoints.parts import parts_of
from converters.errors import CrashError, ResourceError, StepError
from converters.isolation import Message, Standing, run_step
from validate.agreement.arrays import path_of, read
from validate.localize.align import File
from validate.localize.results import LocalizeJob
from validate.targets import HOST

_HERE = "validate.localize"
_THREADS = 2


def standing(job: LocalizeJob, reference: Path, folder: Path) -> Standing:
    """The checkpoint's worker, which writes its answers into `folder`."""
    common = job.common
    inputs = (common.inputs,) if common.inputs else ()
    return Standing(
        "converters.checkpoints.quick:import_keras",
        limits=common.limits,
        log=common.log,
        reads=(*parts_of(reference, common.opening), *inputs),
        writes=(folder,),
    )


@dataclass
class WorkerRequests:
    """Questions about one checkpoint, and about files on the inputs that it ran on.

    Attributes:
        work: the folder of the answers' arrays.
        input_names: as the checkpoint has them, once it ran.
    """

    work: Path
    reference: Path
    job: LocalizeJob
    worker: Standing
    input_names: tuple[str, ...] = ()
    _count: int = 0

    def checkpoint(self, beyond: str) -> Message:
        """Runs the checkpoint and its oracle; see `reference.run_reference`."""
        common = self.job.common
        document = self._of_checkpoint(
            "run_reference",
            {
                "samples": common.samples,
                "seed": common.seed,
                "beyond": beyond,
                "inputs": str(common.inputs.resolve()) if common.inputs else None,
                "input_range": list(common.input_range) if common.input_range else None,
                "shapes": dict(common.shapes),
            },
        )
        self.input_names = tuple(spec["name"] for spec in document["signature"]["inputs"])
        return document

    def local(self, layers: Sequence[str], candidate_values: Mapping[int, Array]) -> Mapping[str, Sequence[float]]:
        """Errors that these layers add themselves; see `reference.measure_local`.

        Args:
            candidate_values: the candidate's value of the k-th layer, for these layers and those before them.
        """
        for k, value in candidate_values.items():
            np.save(path_of(self.work, "held", k), value)
        errors: Mapping[str, Sequence[float]] = self._of_checkpoint("measure_local", {"layers": list(layers)})["errors"]
        self._drop("held")
        return errors

    def _of_checkpoint(self, function: str, request: Message) -> Message:
        about = {"path": str(self.reference.resolve()), "opening": self.job.common.opening.to_json()}
        return self.worker.step(
            f"{_HERE}.reference:{function}", {**self._everywhere(), **about, **request}, step="localize"
        )

    def _everywhere(self) -> Message:
        return {"work": str(self.work), "threads": _THREADS}

    def _of_file(self, function: str, path: Path, request: Message, *, sandboxed: bool = True) -> Message:
        common = self.job.common
        about = {"path": str(path.resolve()), "input_names": list(self.input_names), "key": common.signature}
        request = {**about, **self._everywhere(), **request}
        return run_step(
            f"{_HERE}.{function}",
            request,
            step="localize",
            limits=common.limits,
            log=common.log,
            reads=parts_of(path),
            writes=[self.work],
            sandboxed=sandboxed,
        )

    def other_checkpoint(self, path: Path) -> dict[str, Array]:
        """A candidate's layers by name."""
        stem = self._stem("cand")
        names = self._of_file("reference:run_checkpoint", path, {"stem": stem})["layers"]
        values = {name: read(self.work, stem, k) for k, name in enumerate(names)}
        return {name: value for name, value in values.items() if value is not None}

    def tensors(self, path: Path, *, run: bool = True) -> File:
        """All tensors of a file; its operations alone where it is not run."""
        stem = self._stem("file")
        return File.of(self.work, stem, self._of_file("tensors:read_tensors", path, {"stem": stem, "run": run}))

    def readable(self, path: Path) -> tuple[File, tuple[str, ...]]:
        """A candidate's tensors; its operations alone, and a note, where it dies of having them read."""
        if self.job.options.bisect or self.job.place_of(path) != HOST:
            return self.tensors(path, run=False), ()
        try:
            return self.tensors(path), ()
        except (CrashError, StepError, ResourceError) as error:
            file = self.tensors(path, run=False)
            return file, (f"Not all tensors of {path.name} could be read at once: {error.message}",)

    def cut(self, path: Path, tensors: Sequence[str]) -> list[Array] | None:
        """Values of these tensors, of the file cut at them and run as it really runs; None where it does not run so."""
        stem, place = self._stem("cut"), self.job.place_of(path)
        asked = {
            "stem": stem,
            "tensors": list(tensors),
            "device": place.device,
            "variant": place.variant.to_json(),
            "machine": dict(self.job.places.machine(place.device)),
        }
        try:
            self._of_file("subgraph_run:run_cut", path, asked, sandboxed=not place.device.is_elsewhere)
        except (CrashError, StepError):
            return None
        values = [np.load(path_of(self.work, stem, k)) for k in range(len(tensors))]
        self._drop(stem)
        return values

    def forget(self, file: File) -> None:
        """Takes a file's tensors off the disk: of eleven candidates they would fill it."""
        self._drop(file.stem)

    def _drop(self, stem: str) -> None:
        for path in self.work.glob(f"{stem}.*.npy"):
            path.unlink()

    def _stem(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"
