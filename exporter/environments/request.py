"""What a user may choose of an installation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """Where the parts of an environment come from. What is None is fetched.

    Attributes:
        mirror: the address of Debian's archive; None takes the one that this machine's apt uses.
        keyring: whose signature its index must have; None takes Debian's.
        tree: a file system with Python 3.11 or newer for the target's processor, to be copied.
        qemu: the emulator, linked statically.
        wheels: a folder of wheels, and no index is asked.
    """

    mirror: str | None = None
    keyring: Path | None = None
    tree: Path | None = None
    qemu: Path | None = None
    wheels: Path | None = None
