"""Items in a worker: each comes to a result or an error, whatever ends the worker. Targets are real functions."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from converters.errors import CrashError, EdgeportError, RefusedError, StepTimeoutError, UnsupportedError
from converters.isolation import Batch, Limits, Standing, each

TARGETS = """
import os, signal, time
from converters.errors import RefusedError, UnsupportedError
from converters.isolation import error_document

def _end(how):
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "raise":
        raise RefusedError("It is bad.", next_step="Mend it.", file="x")
    if how == "hang":
        time.sleep(600)

def make(request, channel):
    for item in request["items"]:
        _end(request["before"].get(item))
        channel.event(item=item, pid=os.getpid())
        _end(request["during"].get(item))
        if item in request["unfit"]:
            channel.event(item=item, error=error_document(UnsupportedError("It cannot be.", next_step="Let it be.")))
        elif item not in request["forgotten"]:
            channel.event(item=item, result={"pid": os.getpid(), "made": item})
        _end(request["after"].get(item))
    return {}
"""
KINDS = ("before", "during", "after")


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    path = Path(sysconfig.get_paths()["purelib"]) / f"edgeport_batch_targets_{os.getpid()}.py"
    path.write_text(TARGETS)
    yield f"{path.stem}:make"
    path.unlink()


@pytest.fixture
def batch(target: str) -> Iterator[Callable[..., Batch]]:
    """A batch whose worker does at `before`, `during` and `after` an item what is said there of it."""
    workers: list[Standing] = []

    def make(items: str, limits: Limits = Limits(), **more: Any) -> Batch:
        worker = Standing(limits=limits)
        workers.append(worker)
        request = {**{kind: {} for kind in KINDS}, "unfit": [], "forgotten": [], **more}

        def begin(left: Sequence[str]) -> None:
            worker.begin(target, {**request, "items": list(left)}, step="make")

        return Batch(worker, tuple(items), begin)

    yield make
    for worker in workers:
        worker.close()


def outcomes(*batches: Batch) -> dict[str, Any]:
    """By item, what it came to: what was made, or the kind of error. Every item once."""
    found: dict[str, Any] = {}
    for item, outcome in each(*batches):
        assert item not in found
        found[item] = type(outcome) if isinstance(outcome, EdgeportError) else outcome["made"]
    return found


def test_results_and_errors_come_in_order_from_one_process(batch: Callable[..., Batch]) -> None:
    told: list[str] = []
    found = list(each(batch("abc", unfit=["b"]), on_event=lambda item, event: told.append(item)))
    assert [item for item, _ in found] == told == ["a", "b", "c"]
    error = found[1][1]
    assert isinstance(error, UnsupportedError)
    assert (error.message, error.next_step) == ("It cannot be.", "Let it be.")
    assert found[0][1]["pid"] == found[2][1]["pid"]


@pytest.mark.parametrize(("how", "kind"), [("crash", CrashError), ("raise", RefusedError)])
@pytest.mark.parametrize(
    ("when", "item", "blamed"),
    [("during", "b", "b"), ("before", "a", "a"), ("before", "b", "b"), ("after", "a", "b"), ("during", "c", "c")],
)
def test_who_is_to_blame_and_that_the_rest_goes_on(
    batch: Callable[..., Batch], how: str, kind: type[EdgeportError], when: str, item: str, blamed: str
) -> None:
    assert outcomes(batch("abc", **{when: {item: how}})) == {**{i: i for i in "abc"}, blamed: kind}


def test_every_item_may_end_its_worker(batch: Callable[..., Batch]) -> None:
    assert outcomes(batch("abc", during=dict.fromkeys("abc", "crash"))) == dict.fromkeys("abc", CrashError)


def test_an_end_after_the_last_item_is_nobodys_fault(batch: Callable[..., Batch]) -> None:
    assert outcomes(batch("ab", after={"b": "crash"})) == {"a": "a", "b": "b"}


def test_an_item_that_is_passed_over_is_an_error(batch: Callable[..., Batch]) -> None:
    assert outcomes(batch("abc", forgotten=["b"])) == {"a": "a", "b": CrashError, "c": "c"}


def test_what_beginning_raises_ends_the_batch(batch: Callable[..., Batch]) -> None:
    """A source that cannot be opened is the fault of no target."""
    made = batch("ab", during={"a": "crash"})
    calls: list[Sequence[str]] = []

    def begin(left: Sequence[str]) -> None:
        calls.append(left)
        if len(calls) > 1:
            raise RefusedError("It is gone.", next_step="Bring it back.")
        made.begin(left)

    with pytest.raises(RefusedError, match="It is gone"):
        outcomes(Batch(made.worker, made.items, begin))
    assert calls == [("a", "b"), ("b",)]


def test_nothing_to_make_starts_nothing(batch: Callable[..., Batch]) -> None:
    assert outcomes(batch("")) == {}


def test_two_batches_run_at_the_same_time(batch: Callable[..., Batch]) -> None:
    """The first one hangs until it is stopped; the other one's items are there long before."""
    for seconds in (2.0, 8.0, 32.0):  # until the second has its items within it
        first = batch("ab", limits=Limits(timeout_s=seconds), during={"a": "hang"})
        second = batch("cde", during={"d": "crash"})
        found = [(item, type(outcome)) for item, outcome in each(first, second)]
        if [item for item, _ in found][:3] == ["c", "d", "e"]:
            break
    assert found == [("c", dict), ("d", CrashError), ("e", dict), ("a", StepTimeoutError), ("b", dict)]
