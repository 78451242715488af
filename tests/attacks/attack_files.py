"""Builds hostile and broken model files out of a good one: each is made when needed, none is stored."""

from __future__ import annotations

import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Edit = Callable[[dict[str, Any]], None]
Build = Callable[[Path, Path], Path]
"""(folder of good samples, empty folder) -> the hostile file."""


def members_of(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def write_zip(path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]], *, packed: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def with_config(good: Path, path: Path, config: bytes) -> Path:
    return write_zip(path, list((members_of(good) | {"config.json": config}).items()))


def edited(samples: Path, folder: Path, edit: Edit) -> Path:
    """The good model with its config changed."""
    good = samples / "picture.keras"
    config = json.loads(members_of(good)["config.json"])
    edit(config)
    return with_config(good, folder / "model.keras", json.dumps(config).encode())


def layer(config: dict[str, Any], class_name: str) -> dict[str, Any]:
    return next(item for item in config["config"]["layers"] if item["class_name"] == class_name)


def extra_member(name: str | zipfile.ZipInfo, data: bytes = b"x") -> Build:
    def build(samples: Path, folder: Path) -> Path:
        return write_zip(folder / "model.keras", [*members_of(samples / "picture.keras").items(), (name, data)])

    return build


def symlink_member() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("assets/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def without(name: str) -> Build:
    def build(samples: Path, folder: Path) -> Path:
        members = members_of(samples / "picture.keras")
        del members[name]
        return write_zip(folder / "model.keras", list(members.items()))

    return build


def raw_config(config: bytes) -> Build:
    return lambda samples, folder: with_config(samples / "picture.keras", folder / "model.keras", config)


def config_edit(edit: Edit) -> Build:
    return lambda samples, folder: edited(samples, folder, edit)


def cut(name: str, keep: float, suffix: str) -> Build:
    def build(samples: Path, folder: Path) -> Path:
        data = (samples / name).read_bytes()
        path = folder / f"cut{suffix}"
        path.write_bytes(data[: int(len(data) * keep)])
        return path

    return build


def content(name: str, data: bytes) -> Build:
    def build(samples: Path, folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return build


def bomb(member: str) -> Build:
    """200 MB of zeros in a member of a few hundred kB."""

    def build(samples: Path, folder: Path) -> Path:
        members = members_of(samples / "picture.keras") | {member: bytes(200_000_000)}
        return write_zip(folder / "bomb.keras", list(members.items()), packed=True)

    return build


def encrypted(samples: Path, folder: Path) -> Path:
    """Sets the flag of encryption in every header, as an archive with a password has it."""
    data = bytearray((samples / "picture.keras").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 4)
    path = folder / "model.keras"
    path.write_bytes(data)
    return path


def damaged_weights(samples: Path, folder: Path) -> Path:
    """One bit of a weight turned: HDF5 has no checksum, the zip around it does."""
    data = bytearray((samples / "picture.keras").read_bytes())
    with zipfile.ZipFile(samples / "picture.keras") as file:
        info = file.getinfo("model.weights.h5")
    data[info.header_offset + 200 + info.file_size // 2] ^= 1
    path = folder / "model.keras"
    path.write_bytes(data)
    return path


def h5_edit(edit: Callable[[h5py.File, Path], None], name: str = "picture.h5") -> Build:
    def build(samples: Path, folder: Path) -> Path:
        path = folder / "model.h5"
        path.write_bytes((samples / name).read_bytes())
        canary = folder / "canary.h5"
        with h5py.File(canary, "w") as other:
            other["secret"] = np.arange(4.0)
        with h5py.File(path, "r+") as file:
            edit(file, canary)
        return path

    return build


def external_link(file: h5py.File, canary: Path) -> None:
    file["model_weights/stolen"] = h5py.ExternalLink(str(canary), "/secret")


def soft_link(file: h5py.File, _: Path) -> None:
    file["model_weights/alias"] = h5py.SoftLink("/model_weights/stem")


def external_storage(file: h5py.File, canary: Path) -> None:
    file.create_dataset("model_weights/raw", (8,), "f4", external=[(str(canary), 0, 32)])


def virtual_dataset(file: h5py.File, canary: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(canary), "secret", (4,))
    file.create_virtual_dataset("model_weights/virtual", layout)


def shape_bomb(elements: int) -> Callable[[h5py.File, Path], None]:
    def edit(file: h5py.File, _: Path) -> None:
        file.create_dataset("model_weights/huge", (elements,), "f4", chunks=(1024,))

    return edit


def lambda_in_h5(file: h5py.File, _: Path) -> None:
    config = json.loads(file.attrs["model_config"])
    config["config"]["layers"][1] |= {"class_name": "Lambda"}
    file.attrs["model_config"] = json.dumps(config)


def bare_h5(samples: Path, folder: Path) -> Path:
    path = folder / "data.h5"
    with h5py.File(path, "w") as file:
        file["measurements"] = np.arange(4.0)
    return path


def saved_model_without(*names: str) -> Build:
    def build(samples: Path, folder: Path) -> Path:
        path = copy_saved_model(samples, folder)
        for name in names:
            (path / name).unlink()
        return path

    return build


def saved_model_with(name: str, data: bytes) -> Build:
    def build(samples: Path, folder: Path) -> Path:
        path = copy_saved_model(samples, folder)
        (path / name).write_bytes(data)
        return path

    return build


def copy_saved_model(samples: Path, folder: Path) -> Path:
    source, path = samples / "picture.savedmodel", folder / "model.savedmodel"
    for file in source.rglob("*"):
        if file.is_file():
            target = path / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return path


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def saved_model_of(op: str, *, in_function: bool) -> bytes:
    """A saved_model.pb with one node of that operation, in the graph or hidden in a function of its library."""
    node = field(1, b"innocent") + field(2, op.encode())
    function = field(1, field(1, b"f")) + field(3, node)
    graph = field(2, field(1, function)) if in_function else field(1, node)
    return b"\x08\x01" + field(2, field(1, field(4, b"serve")) + field(2, graph))


def deep_protobuf(depth: int) -> bytes:
    """An ONNX model whose graphs lie in each other's attributes."""
    graph = b""
    for _ in range(depth):
        node = field(4, b"If") + field(5, field(6, graph))
        graph = field(1, node)
    return b"\x08\x08" + field(8, b"\x10\x12") + field(7, graph)


def external_onnx(edit: Callable[[Path], None]) -> Build:
    """The good ONNX model with external data, and something done to the data's file."""

    def build(samples: Path, folder: Path) -> Path:
        for name in ("external.onnx", "external.onnx.data"):
            (folder / name).write_bytes((samples / name).read_bytes())
        edit(folder / "external.onnx.data")
        return folder / "external.onnx"

    return build


def as_symlink(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))
    data.symlink_to(data.with_name("elsewhere"))


def as_hard_link(data: Path) -> None:
    os.link(data, data.with_name("second-name"))


def as_fifo(data: Path) -> None:
    data.unlink()
    os.mkfifo(data)


def external_location(location: str) -> Build:
    def build(samples: Path, folder: Path) -> Path:
        entry = field(13, field(1, b"location") + field(2, location.encode()))
        tensor = b"\x08\x01\x10\x01" + field(8, b"w") + entry + b"\x70\x01"
        path = folder / "out.onnx"
        (folder.parent / "secret").write_bytes(bytes(64))
        path.write_bytes(b"\x08\x08" + field(8, b"\x10\x12") + field(7, field(5, tensor)))
        return path

    return build


def tflite_with(offset_from_root: int, value: int) -> Build:
    """The good TFLite model with one 32-bit word of its root table changed."""

    def build(samples: Path, folder: Path) -> Path:
        data = bytearray((samples / "picture.float32.tflite").read_bytes())
        root = struct.unpack_from("<I", data, 0)[0]
        struct.pack_into("<I", data, root + offset_from_root, value)
        path = folder / "model.tflite"
        path.write_bytes(data)
        return path

    return build
