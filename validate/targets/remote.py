"""A file opened on another machine: a `Runtime` whose runs are messages to a worker there.

So that agreement, golden answers and special values are the same code everywhere.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import shutil
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from converters.arrays import Array, Arrays
from converters.checkpoints.parts import parts_of
from converters.errors import CrashError, EdgeportError, StepTimeoutError
from converters.isolation import Message
from converters.signature import Signature
from validate.runtimes import base, runtime_of
from validate.runtimes.base import DeviceUnavailableError, Runtime, RuntimeOptions
from validate.runtimes.devices import Arithmetic, Device
from validate.targets import Kind, target_of
from validate.targets.machine import Connected, Speaker, machine_of
from validate.targets.serving import SETTINGS
from validate.targets.tensors import packed, unpacked

_ANSWER_S, _EMULATED_ANSWER_S = 600.0, 3600.0
"""How long one answer may take: a target that hangs is named after that, where `--timeout` does not end it sooner."""


class RemoteRuntime(Runtime):
    """A file that a worker elsewhere has opened.

    Args:
        path: the file; its content is sent, unless the machine sees our files.
        content: sends these bytes instead of the file's.

    Raises:
        RefusedError: the file is damaged, or holds what the runtime there does not read.
        DeviceUnavailableError: the machine, or the runtime on it, is not there.
        StepError: it cannot be reached, or is gone.
    """

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> None:
        self.path, self.device = path, options.device
        self._session = _session(options.device, json.dumps(dict(options.machine), sort_keys=True))
        self._id, told = self._session.open(path, {name: getattr(options, name) for name in SETTINGS}, content)
        self.signature = Signature.from_json(told["signature"])
        self.ordered, self.notes, self.version = bool(told["ordered"]), tuple(told["notes"]), str(told["version"])
        self.notes += _other_version(path, str(told["runtime"]), self.version, self.device)
        self.arithmetic = Arithmetic(told["arithmetic"]) if told["arithmetic"] else None
        self.quantization = {name: (scale, zero_point) for name, (scale, zero_point) in told["quantization"].items()}

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        feeds = base.ordered_inputs(self.signature, inputs, self.path)
        return unpacked(self._session.ask({"run": self._id, "feeds": packed(feeds)})["outputs"])

    def refuses(self, feeds: Arrays) -> bool | None:
        feeds = base.ordered_inputs(self.signature, feeds, self.path)
        answer: bool | None = self._session.ask({"refuses": self._id, "feeds": packed(feeds)})["refuses"]
        return answer

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, EdgeportError):  # it never opened, or the worker is gone
            self._session.forget(self._id)


class _Session:
    """A machine and the one worker on it that opens this process's files. One that died is started afresh."""

    def __init__(self, device: Device, settings: Mapping[str, Any]) -> None:
        self._device, self._settings = device, settings
        self._ids = itertools.count()
        self._machine = contextlib.ExitStack()
        self._connected: Connected | None = None
        self._speaker: Speaker | None = None
        self._patience_s = _EMULATED_ANSWER_S if target_of(device).numbers is Kind.EMULATED else _ANSWER_S

    def open(self, path: Path, options: Mapping[str, Any], content: bytes | None) -> tuple[int, Message]:
        """The number by which the worker knows the file from now on, and what it told of it."""
        connected = self._start(int(options["threads"]))
        number = next(self._ids)
        there = connected.paths.get(str(path.absolute())) if content is None else None
        files: dict[str, str] = {}
        if there is None and connected.shared:
            here, seen = connected.shared
            there = f"{seen}/{_put(path, content, here / str(number)).relative_to(here)}"
        elif there is None:
            files = _sent(path, content)
        told = self.ask({"open": number, "path": there, "files": files, "options": dict(options)})
        opened: Message = told["opened"]
        return number, opened

    def ask(self, message: Message) -> Message:
        """The worker's answer. Raises what the worker reports; one that died or hangs is ended."""
        if self._speaker is None:
            raise CrashError(f"The worker on {self._device} is gone.", next_step="Run it again.", step="validate")
        try:
            self._speaker.send(message)
            answer = self._speaker.receive(self._patience_s)
        except (CrashError, StepTimeoutError):
            self.close()
            raise
        if "unavailable" in answer:
            told = answer["unavailable"]
            raise DeviceUnavailableError(told["reason"], next_step=told["next"])
        return answer

    def forget(self, number: int) -> None:
        """Has the worker close a file."""
        if self._speaker is not None:
            self.ask({"close": number})
        if self._connected is not None and self._connected.shared:
            shutil.rmtree(self._connected.shared[0] / str(number), ignore_errors=True)

    def close(self) -> None:
        """Ends the worker and leaves the machine; the next file is opened by another."""
        speaker, self._speaker, self._connected = self._speaker, None, None
        if speaker is not None:
            speaker.close()
        self._machine.close()

    def _start(self, threads: int) -> Connected:
        if self._connected is None:
            self._connected = self._machine.enter_context(machine_of(self._device, self._settings).connected(()))
        if self._speaker is None:
            self._speaker = self._connected.worker({"do": "run"}, threads)
        return self._connected


@cache
def _session(device: Device, settings: str) -> _Session:
    session = _Session(device, json.loads(settings))
    atexit.register(session.close)
    return session


def _other_version(path: Path, runtime: str, version: str, device: Device) -> tuple[str, ...]:
    """That a runtime there is not the one here: what its answers differ by may be the version's."""
    own = runtime_of(path)
    if runtime != own.name or version in {"", own.version}:
        return ()
    target = target_of(device)
    remedy = f"; `{target.install} --force` brings the same" if target.environment else ""
    return (f"{runtime} is {version} on {device} and {own.version} here{remedy}",)


def _put(path: Path, content: bytes | None, folder: Path) -> Path:
    """The model's own file with those beside it, put into a new folder."""
    for part in parts_of(path):
        place = folder / part.relative_to(path.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        if part == path and content is not None:
            place.write_bytes(content)
        else:
            shutil.copyfile(part, place)
    return folder / path.name


def _sent(path: Path, content: bytes | None) -> dict[str, str]:
    """The model's own file first, then those beside it, by their place beside it, in base64."""
    own, *others = parts_of(path)
    files = {own.name: own.read_bytes() if content is None else content}
    files |= {part.relative_to(path.parent).as_posix(): part.read_bytes() for part in others}
    return {name: b64encode(data).decode() for name, data in files.items()}
