"""Opens a source for its facts, then makes its float32 files. The parent's side.

checkpoint -> `Converter.open` -> facts -> `Converter.float32` -> artifacts
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.checkpoints.checkpoint import Checkpoint
from converters.common import Common
from converters.errors import CrashError, EdgeportError, ResourceError, StepTimeoutError, UnsupportedError
from converters.facts import Facts
from converters.formats import Format, artifact_name
from converters.isolation import Batch, Message, Outcome, Standing, each
from converters.options import ConvertOptions
from converters.progress import Progress
from converters.routes import COSTS, Target
from converters.signature import Signature

STEP = "convert"
_WORKER = "converters.workers.float32"
_STATUS = {CrashError: "crashed", StepTimeoutError: "timeout", ResourceError: "oom", UnsupportedError: "unsupported"}


@dataclass(frozen=True)
class Order:
    """One artifact to make, and where it is to lie."""

    target: Target
    path: Path

    @classmethod
    def named(cls, target: Target, model: str, folder: Path) -> Order:
        """The order under the name that artifacts of a model have."""
        return cls(target, folder / artifact_name(model, target.precision, target.format))

    def to_json(self) -> Message:
        """The request to a worker; `item` is its name in a batch."""
        return {
            "item": str(self.target),
            "format": self.target.format.value,
            "precision": self.target.precision.value,
            "path": str(self.path),
        }


@dataclass(frozen=True)
class Failure:
    """A target that was not made, and the error that says why; the manifest's row."""

    target: Target
    error: EdgeportError

    def to_json(self) -> dict[str, Any]:
        error = self.error
        return {
            "format": self.target.format.value,
            "precision": self.target.precision.value,
            "step": error.step,
            "status": next((word for kind, word in _STATUS.items() if isinstance(error, kind)), "failed"),
            "reason": error.message,
            "next": error.next_step,
            "exit_code": error.exit_code,
        }

    @classmethod
    def of(cls, target: Target, error: EdgeportError) -> Failure:
        error.step = error.step or STEP
        return cls(target, error)


class Converter:
    """A source, open in a worker that loads and traces it once. Use it as a context manager.

    Where the worker dies, the target in hand becomes a failure and a fresh worker opens the source again for the rest.
    With `jobs` there is a second worker for ONNX, which opens the source at the same time.

    Args:
        orders: the float32 files that are to be made.
        on_progress: told a label and the share that is done, 0..1.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        orders: Sequence[Order],
        options: ConvertOptions,
        common: Common,
        on_progress: Progress | None = None,
    ) -> None:
        self._checkpoint, self._options = checkpoint, options
        self._common = common
        self._orders = {str(order.target): order for order in orders}
        self._progress = ConversionProgress(self._orders, COSTS, on_progress)
        self._folders = sorted({order.path.parent for order in orders})
        for folder in self._folders:
            folder.mkdir(exist_ok=True)
        self._workers = contextlib.ExitStack()
        groups = _side_by_side(orders) if options.jobs > 1 else [orders]
        self._groups = {self._workers.enter_context(self._worker(common)): group for group in groups}
        self._opening: list[Standing] = []

    def _worker(self, common: Common) -> Standing:
        reads, writes = (*self._checkpoint.parts, *filter(None, [common.inputs])), self._folders
        return Standing(limits=common.limits, log=common.log, reads=reads, writes=writes)

    def open(self) -> Facts:
        """Loads and traces the source in every worker; the first one's answer is returned.

        Raises:
            EdgeportError: it could not be loaded or traced: nothing can be made of it.
        """
        self._opening = list(self._groups)
        for worker in self._opening:
            worker.begin(f"{_WORKER}:open_source", self._request(), step=STEP)
        facts = Facts.from_json(self._opening.pop(0).result())
        self._progress.loaded()
        return facts

    def float32(self) -> Iterator[Artifact | Failure]:
        """Makes what was ordered; yields what became of each as soon as it lies whole on disk.

        Raises:
            EdgeportError: the source could not be opened again.
        """
        batches = [self._batch(worker, group) for worker, group in self._groups.items()]
        for item, outcome in each(*batches, on_event=lambda item, _event: self._progress.begun(item)):
            yield filed(self._orders[item], outcome)
            self._progress.done(item)

    def _batch(self, worker: Standing, orders: Sequence[Order]) -> Batch:
        def begin(items: Sequence[str]) -> None:
            if worker in self._opening:
                self._opening.remove(worker)
                worker.result()
            more = {"targets": [self._orders[item].to_json() for item in items]}
            worker.begin(f"{_WORKER}:write_float32", self._request() | more, step=STEP)
            worker.receive()  # the source is open: an error before that is not the fault of a target

        return Batch(worker, tuple(str(order.target) for order in orders), begin)

    def _request(self) -> Message:
        options = self._options
        return {
            "checkpoint": self._checkpoint.to_json(),
            "batch": options.batch,
            "opset": options.opset,
            "allow_flex": options.allow_flex,
            "shapes": dict(self._common.shapes),
            "inputs": None if self._common.inputs is None else str(self._common.inputs.resolve()),
            "folder": str(self._folders[0]),
            "check": self._common.check,
        }

    def close(self) -> None:
        """Ends the workers; safe to call twice."""
        self._workers.close()

    def __enter__(self) -> Converter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def filed(order: Order, outcome: Outcome, notes: tuple[str, ...] = ()) -> Artifact | Failure:
    """The artifact on disk that a worker reported, or why it was not made.

    Args:
        notes: for the artifact, after the worker's own.
    """
    target = order.target
    if isinstance(outcome, EdgeportError):
        return Failure.of(target, outcome)
    artifact = Artifact.on_disk(
        order.path,
        target.format,
        target.precision,
        Signature.from_json(outcome["signature"]),
        conversion_path=outcome["road"],
        notes=(*outcome["notes"], *notes),
    )
    return replace(artifact, checked=outcome["checked"])


def _side_by_side(orders: Sequence[Order]) -> list[list[Order]]:
    """TFLite may be made from the SavedModel; ONNX needs neither."""
    onnx = [order for order in orders if order.target.format is Format.ONNX]
    return [group for group in ([order for order in orders if order not in onnx], onnx) if group]


_LOAD_SHARE = 0.3


class ConversionProgress:
    """Shares of the time: loading, then each target's cost.

    Args:
        targets: what is to be made.
        costs: of each target, by its words (`onnx float32`).
        on_progress: told a label and the share that is done, 0..1.
    """

    def __init__(self, targets: Iterable[Any], costs: Mapping[str, float], on_progress: Progress | None) -> None:
        self._costs = costs
        self._total_cost = sum(costs[str(t)] for t in targets) or 1.0
        self._finished_cost = 0.0
        self._on_progress = on_progress
        self._tell("loading the checkpoint", 0.0)

    def _tell(self, label: str, share: float) -> None:
        if self._on_progress:
            self._on_progress(label, share)

    def loaded(self) -> None:
        """The source is loaded and traced."""
        self._tell("tracing", _LOAD_SHARE)

    def begun(self, target: str) -> None:
        """A target is in hand."""
        share = _LOAD_SHARE + (1 - _LOAD_SHARE) * self._finished_cost / self._total_cost
        self._tell(f"converting to {target}", min(share, 1.0))

    def done(self, target: str) -> None:
        """A target is made, or failed."""
        self._finished_cost += self._costs[target]
        self.begun(target)
