"""What is installed of each target, read and not tried. Apart from what installs it, which listing does not load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from validate.targets import TARGETS, Device, Target, target_of
from validate.targets.environment import Environment, environment_of
from validate.targets.machine import part_gone

INSTALLED, MISSING, DAMAGED, UNKNOWN = "installed", "not installed", "damaged", "see doctor"


@dataclass(frozen=True)
class State:
    """A target: `installed`, `not installed`, `damaged`, or unknown: a GPU, or a machine of the user's.

    `install` is the command that brings or mends it.
    """

    name: str
    state: str
    install: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    trust: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "versions": dict(self.versions)}


def intact(name: str) -> Environment | None:
    """The environment of a target; None where it is not installed, or damaged."""
    environment = environment_of(name)
    return None if environment is None or part_gone(target_of(Device(name)), environment) else environment


def states() -> list[State]:
    """Every target's, in the order of the table."""
    return [_state(target) for target in TARGETS]


def _state(target: Target) -> State:
    environment = environment_of(target.name) if target.environment else None
    if environment is not None:
        if part_gone(target, environment):
            return State(target.name, DAMAGED, f"{target.install} --force")
        return State(target.name, INSTALLED, "", environment.versions, environment.size_bytes, environment.trust)
    if target.device.is_gpu or target.detail:
        return State(target.name, UNKNOWN)
    return State(target.name, INSTALLED) if target.installed else State(target.name, MISSING, target.install)
