"""What a user may choose of an installation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from converters.errors import UsageError

_ADDRESS = re.compile(r"(https?|file|ftp):/[^\s\[\]]+")


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

    def __post_init__(self) -> None:
        """Raises UsageError for a mirror that is no address: it is written into a line that apt reads."""
        if self.mirror is not None and not _ADDRESS.fullmatch(self.mirror):
            raise UsageError(
                f"--mirror has to be an address, not {self.mirror!r}.", next_step="Give one like http://HOST/debian."
            )
