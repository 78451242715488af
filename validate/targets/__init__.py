"""Targets: the places where a file runs. One table, and the settings in which each is judged and timed there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from converters.checks.base import Options, checked
from converters.checks.values import Flag, Instance, Several, Text, no_such, refusal
from converters.errors import UsageError
from converters.formats import Format
from validate.runtimes.devices import Device
from validate.runtimes.table import row_for
from validate.runtimes.variant import DEFAULT, GraphLevel, Interface, Variant
from validate.targets.environment import environment_of

__all__ = [
    "HOST",
    "TARGETS",
    "Device",
    "Kind",
    "Place",
    "PlacedFile",
    "Places",
    "Target",
    "device_of",
    "target_of",
    "target_words",
]


class Kind(StrEnum):
    """What a figure of a target is: the thing itself, the thing on emulated instructions, or a model's estimate."""

    REAL = "real"
    EMULATED = "emulated"
    ESTIMATED = "estimated"
    NEVER = "never"


@dataclass(frozen=True)
class Target:
    """A place where a file runs.

    Attributes:
        name: as `--on` and the rows call it.
        device: of one that is a machine elsewhere, the kind.
        package: the module that it needs and edgeport does not bring; None where nothing is missing.
        install: the command that brings it.
        settings: what is judged and timed there, each as fields of a `Variant`.
        machine: `module:class` of a machine elsewhere (see `machine.Machine`); empty where the file is opened here.
        numbers, time: what its answers and its latencies are. What is `never` seen is not judged, or not timed, there.
        detail: what stands behind a colon, as help shows it: `HOST` of `ssh:HOST`; empty where nothing does.
        choices: of a target that has its own, what may stand there; the first where nothing does.
        environment: whether `edgeport target install` makes it an environment of its own.
    """

    name: str
    device: Device
    package: str | None = None
    install: str = ""
    settings: tuple[Mapping[str, Any], ...] = ({},)
    machine: str = ""
    detail: str = ""
    choices: tuple[str, ...] = ()
    environment: bool = False
    numbers: Kind = Kind.REAL
    time: Kind = Kind.REAL

    @property
    def installed(self) -> bool:
        """Whether its package or environment is there; of the device its runtime tells when a file is opened."""
        if self.environment:
            return environment_of(self.name) is not None
        return self.package is None or find_spec(self.package) is not None


TARGETS: tuple[Target, ...] = (
    Target("host", Device.CPU),
    Target("cuda", Device.CUDA),
    Target("tensorrt", Device.TENSORRT),
    Target("openvino", Device.OPENVINO, "openvino", "pip install 'edgeport[openvino]'", ({}, {"float32": True})),
    Target(
        "browser", Device("browser"), install="edgeport target install browser",
        machine="validate.targets.browser:BrowserMachine", choices=("", "webgpu"), environment=True,
    ),
    Target(
        "arm64", Device("arm64"), install="edgeport target install arm64", machine="validate.targets.arm64:Arm64",
        choices=("cortex-a76", "cortex-a72", "cortex-a53"), environment=True, numbers=Kind.EMULATED, time=Kind.NEVER,
    ),
    Target("tflm", Device.TFLM, "tflite_micro", "pip install 'edgeport[tflm]'", time=Kind.NEVER),
    *(
        Target(name, Device(name), "ethosu", "pip install 'edgeport[ethos-u]'", numbers=Kind.NEVER, time=Kind.ESTIMATED)
        for name in ("ethos-u55", "ethos-u65", "ethos-u85")
    ),
    Target(
        "qnn", Device("qnn"), install="edgeport target install qnn", machine="validate.targets.qnn:Qnn",
        environment=True, numbers=Kind.EMULATED, time=Kind.NEVER,
    ),
    Target("ssh", Device("ssh"), machine="validate.targets.ssh:Board", detail="HOST"),
    Target("adb", Device("adb"), settings=({}, {"gpu": True}), detail="SERIAL", numbers=Kind.NEVER),
)  # fmt: skip
"""Every target. What opens which format there stands in `runtimes.RUNTIMES`."""


def target_of(device: Device) -> Target:
    """The target of a device."""
    return next(target for target in TARGETS if target.device.kind == device.kind)


def device_of(word: str) -> Device:
    """The device that a user names, as a target or in the older words of `--device`. Raises UsageError."""
    kind, colon, detail = word.partition(":")
    target = next((t for t in TARGETS if kind in {t.name, t.device}), None)
    if target is None or (colon and not (target.detail or detail in target.choices)):
        raise no_such("target", word, target_words())
    if target.choices:
        detail = detail or target.choices[0]
    if target.detail and not detail:
        raise UsageError(f"The target {kind} needs to be told which one.", next_step=f"Give {kind}:{target.detail}.")
    return Device(f"{target.device}:{detail}") if detail else target.device


def target_words() -> tuple[str, ...]:
    """Every target as a user may write it: `ssh:HOST`, `arm64[:cortex-a76|cortex-a72]`."""
    return tuple(_word(target) for target in TARGETS)


def _word(target: Target) -> str:
    if target.choices:
        return f"{target.name}[:{'|'.join(filter(None, target.choices))}]"
    return f"{target.name}:{target.detail}" if target.detail else target.name


class _Devices:
    """The check of one device."""

    def __call__(self, value: Any) -> Device:
        if not isinstance(value, str):
            raise refusal("--on", value, "a target's name")
        return device_of(value)

    read = __call__


@dataclass(frozen=True)
class Place:
    """Where and how a file is run: what is judged so is timed so."""

    device: Device = Device.CPU
    variant: Variant = DEFAULT

    @property
    def target(self) -> str:
        """Its target, and which one where there are several: `openvino`, `ssh:pi@board`."""
        detail = f":{self.device.detail}" if self.device.detail else ""
        return f"{target_of(self.device).name}{detail}"

    @property
    def setting(self) -> str:
        """The settings in words: `default`, or those that differ from it."""
        return self.variant.label or "default"

    def of(self, path: Path) -> PlacedFile:
        """A file here."""
        return PlacedFile(path, self.target, self.setting)


@dataclass(frozen=True)
class PlacedFile:
    """A file at a place, in the words of the rows of verdicts and timings."""

    path: Path
    target: str
    setting: str


HOST = Place()
_TUNED: dict[Format, tuple[Variant, ...]] = {
    Format.TFLITE: (DEFAULT, Variant(xnnpack=False), Variant(interface=Interface.COMPILED)),
    **dict.fromkeys(
        (Format.ONNX, Format.ORT),
        (DEFAULT, Variant(spinning=False), Variant(graph=GraphLevel.EXTENDED), Variant(graph=GraphLevel.BASIC)),
    ),
}
"""By format, what `--tune` tries."""


@dataclass(frozen=True)
class Places(Options):
    """Where files are judged and timed, as a user chooses. Every device with every variant is a row of its own.

    Attributes:
        devices: where to run.
        require: devices that are run on too, and without which a run fails.
        variants: session settings; one that means nothing to a row's runtime is taken once.
        tune: tries every setting of a runtime, in the place of `variants`.
        ssh_python, ssh_options: of boards: the interpreter there, and more arguments for ssh.
    """

    devices: tuple[Device, ...] = checked(Several("--device", _Devices(), least=1), (Device.CPU,))
    require: tuple[Device, ...] = checked(Several("--require", _Devices()), ())
    variants: tuple[Variant, ...] = checked(Several("variants", Instance("variants", Variant), least=1), (DEFAULT,))
    tune: bool = checked(Flag("--tune"), False)
    ssh_python: str = checked(Text("--ssh-python"), "python3")
    ssh_options: tuple[str, ...] = checked(Several("--ssh-options", Text("--ssh-options")), ())

    @property
    def all_devices(self) -> tuple[Device, ...]:
        """Required devices too, each once."""
        return tuple(dict.fromkeys([*self.devices, *self.require]))

    def machine(self, device: Device) -> Mapping[str, Any]:
        """How a machine elsewhere is reached, besides what the device says."""
        return {"python": self.ssh_python, "ssh_options": list(self.ssh_options)} if device.kind == "ssh" else {}

    def for_format(self, fmt: Format) -> tuple[Place, ...]:
        """Every place for a format, in the order of the devices; also those where nothing opens it."""
        variants = _TUNED.get(fmt, (DEFAULT,)) if self.tune else self.variants
        places = [
            Place(device, replace(variant, **setting).for_row(fmt, device))
            for device in self.all_devices
            for variant in variants
            for setting in target_of(device).settings
        ]
        return tuple(dict.fromkeys(places))

    def judged(self, fmt: Format) -> tuple[Place, ...]:
        """Where a file is judged: on the host, in its default setting, and at every other place that opens it."""
        unseen = self.unseen(fmt)
        others = [p for p in self.for_format(fmt) if p not in unseen and row_for(fmt, p.device)]
        return tuple(dict.fromkeys([HOST, *others]))

    def unseen(self, fmt: Format) -> tuple[Place, ...]:
        """Where a file was asked to run whose numbers nobody sees there."""
        return tuple(place for place in self.for_format(fmt) if target_of(place.device).numbers is Kind.NEVER)
