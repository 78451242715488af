"""The conversation over pipes: documents, however the bytes arrive."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from converters.isolation import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, int]]:
    """A channel that reads what is written to a descriptor."""
    (theirs, write), (read, ours) = os.pipe(), os.pipe()
    channel = Channel(theirs, ours)
    yield channel, write
    channel.close()
    os.close(read)


def test_documents_come_in_pieces_and_several_at_once(ends: tuple[Channel, int]) -> None:
    channel, write = ends
    os.write(write, b'{"a": 1}\n{"b"')
    assert channel.receive(1) == {"a": 1}
    assert not channel.pending
    with pytest.raises(TimeoutError):
        channel.receive(0.01)
    os.write(write, b': 2}\n{"c": 3}\n{"d": ')
    assert channel.receive(1) == {"b": 2}
    assert channel.pending
    assert channel.receive(1) == {"c": 3}
    os.write(write, b"4}")
    with pytest.raises(TimeoutError):
        channel.receive(0.01)
    os.write(write, b"\n")
    os.close(write)
    assert channel.receive(1) == {"d": 4}
    assert channel.receive(1) is None


@pytest.mark.parametrize("line", [b"[1]\n", b"nonsense\n"])
def test_what_is_no_document_is_refused(ends: tuple[Channel, int], line: bytes) -> None:
    channel, write = ends
    os.write(write, line)
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one
        channel.receive(1)
    os.close(write)
