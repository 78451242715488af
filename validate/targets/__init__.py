"""Targets: the places where a file runs. One table, and the settings in which each is judged and timed there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from converters.checks.base import Options, checked
from converters.checks.values import Flag, Instance, Several, Word
from converters.formats import Format
from validate.runtimes.devices import Device
from validate.runtimes.table import row_for
from validate.runtimes.variant import DEFAULT, GraphLevel, Interface, Variant

__all__ = ["HOST", "TARGETS", "Device", "Place", "PlacedFile", "Places", "Target", "target_of"]


@dataclass(frozen=True)
class Target:
    """A place where a file runs.

    Attributes:
        name: as `--on` and the rows call it.
        package: the module that it needs and edgeport does not bring; None where nothing is missing.
        install: the command that brings it.
        settings: what is judged and timed there, each as fields of a `Variant`.
        untimed: why no times are taken there, as a sentence; empty where they are.
    """

    name: str
    device: Device
    package: str | None = None
    install: str = ""
    settings: tuple[Mapping[str, Any], ...] = ({},)
    untimed: str = ""

    @property
    def installed(self) -> bool:
        """Whether its package is there; whether the device is, its runtime says when a file is opened."""
        return self.package is None or find_spec(self.package) is not None


_NOT_A_BOARD = "tflm is never timed: its reference kernels on this machine say nothing of the time that a board takes."
TARGETS: tuple[Target, ...] = (
    Target("host", Device.CPU),
    Target("cuda", Device.CUDA),
    Target("tensorrt", Device.TENSORRT),
    Target("openvino", Device.OPENVINO, "openvino", "pip install 'edgeport[openvino]'", ({}, {"float32": True})),
    Target("tflm", Device.TFLM, "tflite_micro", "pip install 'edgeport[tflm]'", untimed=_NOT_A_BOARD),
)
"""Every target. What opens which format there stands in `runtimes.RUNTIMES`."""


def target_of(device: str) -> Target:
    """The target of a device."""
    return next(target for target in TARGETS if target.device == device)


@dataclass(frozen=True)
class Place:
    """Where and how a file is run: what is judged so is timed so."""

    device: Device = Device.CPU
    variant: Variant = DEFAULT

    @property
    def target(self) -> str:
        return target_of(self.device).name

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
    """

    devices: tuple[Device, ...] = checked(Several("--device", Word("device", (Device,)), least=1), (Device.CPU,))
    require: tuple[Device, ...] = checked(Several("--require", Word("device", (Device,))), ())
    variants: tuple[Variant, ...] = checked(Several("variants", Instance("variants", Variant), least=1), (DEFAULT,))
    tune: bool = checked(Flag("--tune"), False)

    @property
    def all_devices(self) -> tuple[Device, ...]:
        """Required devices too, each once."""
        return tuple(dict.fromkeys([*self.devices, *self.require]))

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
        others = [place for place in self.for_format(fmt) if row_for(fmt, place.device)]
        return tuple(dict.fromkeys([HOST, *others]))
