"""What a user may choose of an installation."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
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
        registry: npm's; None takes the one that npm is set up with here.
        npm_archive: the package from npm, and no registry is asked.
    """

    mirror: str | None = None
    keyring: Path | None = None
    tree: Path | None = None
    qemu: Path | None = None
    wheels: Path | None = None
    registry: str | None = None
    npm_archive: Path | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for what is no address: it is written into a line that apt reads, or into npm's."""
        for option, address, example in (
            ("--mirror", self.mirror, "http://HOST/debian"),
            ("--registry", self.registry, "https://HOST/npm"),
        ):
            if address is not None and not _ADDRESS.fullmatch(address):
                raise UsageError(
                    f"{option} has to be an address, not {address!r}.", next_step=f"Give one like {example}."
                )

    def check_for(self, target: str) -> None:
        """Raises UsageError for what was chosen and means nothing to this target."""
        chosen = [entry.name for entry in fields(self) if getattr(self, entry.name) is not None]
        if vain := [_OPTIONS[name] for name in chosen if name not in _TAKES[target]]:
            raise UsageError(
                f"{', '.join(vain)} means nothing to the target {target}.",
                next_step=f"It takes {', '.join(_OPTIONS[name] for name in _TAKES[target])}.",
            )


_TAKES = {"arm64": ("mirror", "keyring", "tree", "qemu", "wheels"), "browser": ("registry", "npm_archive")}
_OPTIONS = {entry.name: f"--{entry.name.replace('_', '-')}" for entry in fields(Request)} | {"tree": "--python-tree"}
