"""The worker that holds a source open: what it says, what it makes, and what becomes of that when it dies."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from converters.artifact import Artifact
from converters.checkpoints.identify import identify
from converters.common import Common
from converters.convert import Converter, Failure, Order
from converters.errors import RefusedError
from converters.formats import Format, Precision
from converters.options import ConvertOptions
from converters.routes import Target


@pytest.fixture(scope="module")
def source(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("source") / "small.keras"
    zoo.build("sequential").save(path)
    return path


@pytest.fixture
def converter(source: Path, tmp_path: Path) -> Iterator[Callable[..., Converter]]:
    opened: list[Converter] = []

    def make(*formats: Format, path: Path = source, jobs: int = 1) -> Converter:
        orders = [Order.named(Target(fmt, Precision.FLOAT32), "small", tmp_path) for fmt in formats]
        opened.append(Converter(identify(path), orders, ConvertOptions(jobs=jobs), Common()))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def kill_workers(number: signal.Signals) -> None:
    """Ends the conversion workers of this process, and waits until they are gone."""
    living = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    workers = [p for p in living if "converters._worker" in p.cmdline()]
    assert workers
    for worker in workers:
        worker.send_signal(number)
    for worker in workers:
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet taken notice of


def test_a_worker_that_died_while_it_waited_opens_the_source_again(converter: Callable[..., Converter]) -> None:
    """What the user gave is read while the source is open; the kernel may want the memory."""
    one = converter(Format.TFLITE, Format.ONNX)
    assert one.open().signature.output_names
    kill_workers(signal.SIGKILL)
    made = list(one.float32())
    assert [type(result) for result in made] == [Artifact, Artifact]


def test_its_death_while_it_converts_is_the_fault_of_the_target_in_hand(converter: Callable[..., Converter]) -> None:
    one = converter(Format.SAVEDMODEL, Format.TFLITE, Format.ONNX)
    one.open()
    results: list[Artifact | Failure] = []
    for result in one.float32():
        results.append(result)
        if len(results) == 1:
            kill_workers(signal.SIGSEGV)
    assert len(results) == 3
    (failure,) = (result for result in results[1:] if isinstance(result, Failure))
    assert (failure.to_json()["status"], failure.to_json()["step"]) == ("crashed", "convert")
    assert "SIGSEGV" in failure.error.message


def test_a_source_that_cannot_be_opened_again_is_no_targets_fault(
    source: Path, tmp_path: Path, converter: Callable[..., Converter]
) -> None:
    path = Path(shutil.copy(source, tmp_path / "gone.keras"))
    one = converter(Format.ONNX, path=path)
    one.open()
    path.write_bytes(path.read_bytes()[:-1])
    kill_workers(signal.SIGKILL)
    with pytest.raises(RefusedError, match="was changed after its scan"):
        list(one.float32())


def test_two_workers_make_what_one_makes(tmp_path: Path, converter: Callable[..., Converter]) -> None:
    formats = (Format.SAVEDMODEL, Format.TFLITE, Format.ONNX)
    digests = []
    for jobs in (1, 2):
        one = converter(*formats, jobs=jobs)
        facts = one.open()
        made = [result for result in one.float32() if isinstance(result, Artifact)]
        digests.append({artifact.format: artifact.sha256 for artifact in made})
        assert all(artifact.signature == facts.signature for artifact in made)
        for artifact in made:
            shutil.rmtree(artifact.path) if artifact.path.is_dir() else artifact.path.unlink()
    assert digests[0].keys() == set(formats)
    assert digests[0] == digests[1]
