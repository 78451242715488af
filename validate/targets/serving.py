"""The other machine's side of `remote`: opens files in their own runtimes, and runs them on what it is sent.

Messages, of which each has one answer, or `{error}`:

- `{open: id, path, files, options}` -> `{opened: {...}}`: a file of this machine, or `files` by name in base64, the
  model's own first. Where the runtime is not installed: `{unavailable: {reason, next}}`.
- `{run: id, feeds}` -> `{outputs}`; see `tensors`.
- `{refuses: id, feeds}` -> `{refuses: true, false or null}`: see `Runtime.refuses`.
- `{close: id}` -> `{closed: id}`.
"""

from __future__ import annotations

import tempfile
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.errors import EdgeportError
from converters.isolation import Channel, Message
from validate.runtimes import Device, DeviceUnavailableError, RuntimeOptions, RuntimeRow, open_artifact, runtime_of
from validate.runtimes.base import Runtime
from validate.targets.tensors import packed, unpacked

SETTINGS = ("threads", "graph_optimization", "delegates", "interface", "spinning", "signature")
"""Of RuntimeOptions, what means something on a machine elsewhere."""


def serve_runs(request: Message, channel: Channel) -> Message:
    """Answers one message after another until the other side closes the pipe.

    The request names a `device` of that machine where it is another than its CPU.
    """
    device = Device(request.get("device", Device.CPU))
    opened: dict[int, Runtime] = {}
    with tempfile.TemporaryDirectory(prefix="edgeport-") as folder:
        while (message := channel.receive()) is not None:
            try:
                channel.send(_answer(message, device, opened, Path(folder)))
            except DeviceUnavailableError as error:
                channel.send({"unavailable": {"reason": error.message, "next": error.next_step}})
            except EdgeportError as error:
                channel.send({"error": error.to_json()})
    return {}


def _answer(message: Message, device: Device, opened: dict[int, Runtime], folder: Path) -> Message:
    if "open" in message:
        path = _file_of(message, folder / str(message["open"]))
        runtime = open_artifact(path, RuntimeOptions(device, **message["options"]))
        opened[message["open"]] = runtime
        return {"opened": _told(runtime, runtime_of(path, device))}
    if "run" in message:
        return {"outputs": packed(opened[message["run"]].run(unpacked(message["feeds"])))}
    if "refuses" in message:
        return {"refuses": opened[message["refuses"]].refuses(unpacked(message["feeds"]))}
    opened.pop(message["close"], None)
    return {"closed": message["close"]}


def _file_of(message: Mapping[str, Any], folder: Path) -> Path:
    """The file to open, written down first where it was sent."""
    if message.get("path"):
        return Path(message["path"])
    for name, content in message["files"].items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b64decode(content))
    own: str = next(iter(message["files"]))
    return folder / own


def _told(runtime: Runtime, row: RuntimeRow) -> Message:
    """What `remote.RemoteRuntime` answers for it."""
    return {
        "runtime": row.name,
        "version": runtime.version or row.version,
        "signature": runtime.signature.to_json(),
        "ordered": runtime.ordered,
        "notes": list(runtime.notes),
        "arithmetic": runtime.arithmetic,
        "quantization": {name: list(pair) for name, pair in runtime.quantization.items()},
    }
