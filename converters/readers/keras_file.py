"""Contents of a `.keras` archive: the model's config and the listing of its weights, read without Keras.

The archive is a zip of `metadata.json`, `config.json`, `model.weights.h5` and possibly `assets/`. Nothing is ever
extracted: members are read by exact name, within budgets, through zipfile's own bounds.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from converters.readers.facts import MalformedError, mapped, refusing, text_of
from converters.readers.h5_file import H5Facts, read_h5_part

MAGIC = b"PK\x03\x04"
MAX_CONFIG_BYTES = 64 << 20
MAX_JSON_DEPTH = 400

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MAX_MEMBERS = 20_000
_MAX_RATIO = 100
_SMALL = 1 << 20
_CHUNK = 1 << 20


@dataclass
class KerasFacts:
    """A `.keras` archive.

    Attributes:
        config: the parsed config.json.
        metadata: the parsed metadata.json (`keras_version`, `date_saved`).
        weights: the listing of model.weights.h5.
        assets: the members under `assets/`.
    """

    config: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    weights: H5Facts = field(default_factory=H5Facts)
    assets: list[str] = field(default_factory=list)


def read_keras(path: Path, *, values: bool = False) -> KerasFacts:
    """Reads the facts of a `.keras` archive; every member's checksum is verified on the way; `values` as in `read_h5`.

    Raises:
        RefusedError: an incomplete archive, hostile members, a missing part, or a config that is not a JSON object.
        UsageError: it cannot be read.
    """
    facts = KerasFacts()
    with refusing(path, ".keras archive"), _opened(path) as archive:
        members = _checked_members(archive, path.stat().st_size)
        for name, what in ((_CONFIG, "config"), (_WEIGHTS, "weights")):
            if name not in members:
                raise MalformedError(f"it has no {name}, so the model's {what} are missing")
        facts.config = parse_config(_small_member(archive, members[_CONFIG]), _CONFIG)
        if _METADATA in members:
            facts.metadata = parse_config(_small_member(archive, members[_METADATA]), _METADATA)
        facts.assets = [name for name in members if name.startswith("assets/")]
        facts.weights = _weights(path, archive, members[_WEIGHTS], values)
    return facts


def parse_config(data: bytes | str, what: str) -> dict[str, Any]:
    """A JSON object of bounded size and depth.

    Infinity is let through (Keras writes it for open-ended bounds), NaN is not. Raises MalformedError.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise MalformedError(f"its {what} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    text = data if isinstance(data, str) else text_of(data, f"its {what}")
    try:
        document = json.loads(text, parse_constant=_constant)
    except RecursionError:
        raise MalformedError(f"its {what} is nested too deep") from None
    except MalformedError:
        raise
    except ValueError as cause:
        raise MalformedError(f"its {what} is not JSON ({cause})") from cause
    if not isinstance(document, dict):
        raise MalformedError(f"its {what} is not a JSON object")
    if r"\ud" in text.lower() and _has_lone_surrogate(document):
        raise MalformedError(f"its {what} holds half a character (a lone surrogate)")
    if _deeper_than(document, MAX_JSON_DEPTH):
        raise MalformedError(f"its {what} is nested deeper than {MAX_JSON_DEPTH}")
    return document


def _constant(name: str) -> float:
    if name == "NaN":
        raise MalformedError("its JSON holds NaN, which is no JSON")
    return float(name)


def _has_lone_surrogate(document: Any) -> bool:
    """Whether an escape in the JSON is not text: such a name could be neither printed nor written."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return True
    return False


def _deeper_than(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return True


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except MalformedError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError) as cause:
        raise MalformedError(f"it is not a complete zip archive ({cause})") from cause
    except (NotImplementedError, RuntimeError, ValueError, KeyError) as cause:
        raise MalformedError(f"the zip archive cannot be read ({cause})") from cause


def _checked_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > _MAX_MEMBERS or sum(info.compress_size for info in infos) > size:
        raise MalformedError("its members are too many, or overlap")
    for info in infos:
        if info.filename in members:
            raise MalformedError(f"it holds the member {info.filename!r} twice")
        _check_member(info)
        members[info.filename] = info
    return members


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0]:
        _hostile(name, "has a name that leads out of the archive")
    if stat.S_ISLNK(info.external_attr >> 16):
        _hostile(name, "is a symbolic link")
    if info.flag_bits & 0x1:
        _hostile(name, "is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _hostile(name, "uses a compression that Keras never writes")
    if info.file_size > max(_SMALL, _MAX_RATIO * info.compress_size):
        _hostile(name, f"unpacks to more than {_MAX_RATIO} times its size")


def _hostile(name: str, reason: str) -> NoReturn:
    raise MalformedError(f"its member {name!r} {reason}")


def _small_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MAX_CONFIG_BYTES:
        raise MalformedError(f"its {info.filename} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    return archive.read(info)


def _weights(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, values: bool) -> H5Facts:
    """The listing of the weights' HDF5 file, its checksum verified first.

    Keras stores members uncompressed: such a one is read where it lies. A compressed one (an archive packed again by
    other hands) is unpacked into a temporary file.
    """
    if info.compress_type == zipfile.ZIP_STORED:
        with mapped(path) as data:
            start = _stored_at(data, info)
            if zlib.crc32(data[start : start + info.file_size]) != info.CRC:
                raise MalformedError(f"its {info.filename} is damaged: the checksum does not match")
        return read_h5_part(path, start, info.file_size, values=values)
    with tempfile.NamedTemporaryFile() as unpacked, archive.open(info) as packed:
        shutil.copyfileobj(packed, unpacked, _CHUNK)
        unpacked.flush()
        return read_h5_part(Path(unpacked.name), 0, info.file_size, values=values)


def _stored_at(data: memoryview, info: zipfile.ZipInfo) -> int:
    """Where the bytes of an uncompressed member start: behind a header of 30 bytes, the name and the extra field."""
    if info.header_offset < 0 or info.file_size != info.compress_size:
        raise MalformedError(f"its member {info.filename!r} has impossible sizes")
    name_size, extra_size = struct.unpack_from("<HH", data, info.header_offset + 26)
    start: int = info.header_offset + 30 + name_size + extra_size
    if start + info.file_size > len(data):
        raise MalformedError(f"its member {info.filename!r} is cut short")
    return start
