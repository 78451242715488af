"""Several items in one worker, one after the other: each gets a result or an error, whatever happens to the worker.

The worker names the item that an event is about: `{item, ...}` while it is in hand, at last `{item, result}` or
`{item, error}`.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from converters.errors import CrashError, EdgeportError, error_from_json
from converters.isolation.channel import Message
from converters.isolation.standing import Standing

Outcome = Message | EdgeportError
"""What an item came to: the document that the worker made of it, or the error that it is to blame for."""

OnItem = Callable[[str, Message], None]
"""Told of an item in hand what the worker says of it."""


@dataclass(frozen=True)
class Batch:
    """Items for one worker.

    Attributes:
        items: their names, in the order in which the worker takes them.
        begin: asks the worker for those that are left. What it raises is the fault of none of them, and ends the batch.
    """

    worker: Standing
    items: tuple[str, ...]
    begin: Callable[[Sequence[str]], None]


def each(*batches: Batch, on_event: OnItem = lambda _item, _event: None) -> Iterator[tuple[str, Outcome]]:
    """Yields what became of every item, as it comes. Several batches are under way at the same time.

    An error of an item is its outcome, and the worker goes on. Where the worker itself comes to an end, the item in
    hand is to blame; between two items it is the next, so that the rest comes to an end. The others go on in a fresh
    process. Once nothing is left nobody is to blame.

    Raises:
        EdgeportError: what a batch's `begin` raises.
    """
    under_way = [_Running(batch) for batch in batches if batch.items]
    while under_way:
        running = _first_to_speak(under_way)
        yield from running.hear(on_event)
        if running.through:
            under_way.remove(running)


class _Running:
    """A batch under way."""

    def __init__(self, batch: Batch) -> None:
        self.worker, self._batch = batch.worker, batch
        self._remaining = list(batch.items)
        self.through = False
        self._begin()

    def _begin(self) -> None:
        self._in_hand = self._remaining[0]
        self._batch.begin(tuple(self._remaining))

    def hear(self, on_event: OnItem) -> Iterator[tuple[str, Outcome]]:
        """Takes the worker's next message."""
        try:
            message = self.worker.receive()
            if "result" in message and self._remaining:
                raise CrashError(
                    f"The worker ended without a word of {self._remaining[0]}.",
                    next_step="Run again with --debug and read the log.",
                )
        except EdgeportError as error:
            self.through = not self._remaining
            if self._remaining:
                yield self._settled(self._in_hand if self._in_hand in self._remaining else self._remaining[0], error)
                self._go_on()
            return
        self.through = "result" in message
        if not self.through:
            yield from self._take(message["event"], on_event)

    def _take(self, event: Message, on_event: OnItem) -> Iterator[tuple[str, Outcome]]:
        self._in_hand = str(event["item"])
        if "error" in event:
            yield self._settled(self._in_hand, error_from_json(event["error"]))
        elif "result" in event:
            yield self._settled(self._in_hand, event["result"])
        else:
            on_event(self._in_hand, event)

    def _settled(self, item: str, outcome: Outcome) -> tuple[str, Outcome]:
        self._remaining.remove(item)
        return item, outcome

    def _go_on(self) -> None:
        self.through = not self._remaining
        if self._remaining:
            self._begin()


def _first_to_speak(batches: Sequence[_Running]) -> _Running:
    """The batch whose worker has sent something, or has no time left."""
    if len(batches) == 1:
        return batches[0]
    by_channel = {batch.worker.worker.channel: batch for batch in batches}
    ready = [channel for channel in by_channel if channel.pending]
    if not ready:
        seconds_left = {batch: batch.worker.worker.time_left_s for batch in batches}
        limits = {batch: seconds for batch, seconds in seconds_left.items() if seconds is not None}
        ready, _, _ = select.select(list(by_channel), [], [], min(limits.values(), default=None))
        if not ready:
            return min(limits, key=lambda batch: limits[batch])
    return by_channel[ready[0]]
