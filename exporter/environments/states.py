"""What is installed of each target, read and not tried. Apart from what installs it, which listing does not load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from validate.targets import TARGETS, Target
from validate.targets.environment import environment_of

INSTALLED, MISSING, UNKNOWN = "installed", "not installed", "see doctor"


@dataclass(frozen=True)
class State:
    """A target: `installed`, `not installed`, or unknown: a GPU, or a machine of the user's."""

    name: str
    state: str
    install: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    trust: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "versions": dict(self.versions)}


def states() -> list[State]:
    """Every target's, in the order of the table."""
    return [_state(target) for target in TARGETS]


def _state(target: Target) -> State:
    environment = environment_of(target.name) if target.environment else None
    if environment is not None:
        return State(target.name, INSTALLED, "", environment.versions, environment.size_bytes, environment.trust)
    if target.device.is_gpu or target.detail:
        return State(target.name, UNKNOWN)
    return State(target.name, INSTALLED) if target.installed else State(target.name, MISSING, target.install)
