"""Debian's packages for another processor, unpacked into a folder: by apt, which is told to keep to that folder.

apt verifies the signature of the archive's index with the keyring given, and each package by its digest in that index.
It reads the machine's own settings (proxies, credentials), and nothing of the system is written: nothing is installed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.errors import StepError
from converters.progress import Progress
from exporter.environments.commands import STEP, carried_out

SUITE, PYTHON = "bookworm", "python3.11"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_DEFAULT_MIRROR = "http://deb.debian.org/debian"
_INDEX = re.compile(rf"'(?P<base>[^']+)/dists/{SUITE}/InRelease'")
_DOWNLOADED = re.compile(r"dlstatus:\d+:(?P<percent>[\d.]+):")
_AGAIN = "Run the same command again: what was downloaded is kept. `--mirror URL` names another archive."


@dataclass(frozen=True)
class Archive:
    """An archive of Debian, read through apt.

    Attributes:
        folder: where apt keeps its lists and what it downloaded.
        mirror: its address; None takes the machine's own, or Debian's.
        keyring: whose signature its index must have.
    """

    folder: Path
    mirror: str | None = None
    keyring: Path = KEYRING

    def fetched(self, packages: Sequence[str], architectures: Sequence[str], progress: Progress) -> list[Path]:
        """Downloads packages and all that they depend on; `name:architecture`, or of the first architecture.

        Raises:
            StepError: apt or the keyring is not here, the archive cannot be reached, or its signature does not hold.
        """
        self._check()
        config = self._configured(architectures)
        progress("reading Debian's signed index", 0.0)
        carried_out([*_apt(config), "update"], "Reading Debian's index", _AGAIN)

        def on_line(line: str) -> None:
            if match := _DOWNLOADED.match(line):
                progress("downloading Debian's packages", 0.1 + 0.9 * float(match["percent"]) / 100)

        arguments = ["install", "--download-only", "-y", "-o", "APT::Status-Fd=1", "--", *packages]
        carried_out([*_apt(config), *arguments], "Downloading Debian's packages", _AGAIN, on_line)
        return sorted((self.folder / "archives").glob("*.deb"))

    def _check(self) -> None:
        for program in ("apt-get", "dpkg-deb", "gpgv"):
            if shutil.which(program) is None:
                raise StepError(
                    f"{program} is not here, by which Debian's packages are fetched and verified.",
                    next_step="Give an arm64 file system with Python 3.11 or newer by --python-tree DIR, and a static "
                    "qemu-aarch64 by --qemu PROGRAM.",
                    step=STEP,
                )
        if not self.keyring.is_file():
            raise StepError(
                f"{self.keyring} is not here, so the signature of Debian's index cannot be verified.",
                next_step="Install debian-archive-keyring, or name Debian's keyring with --keyring FILE.",
                step=STEP,
            )

    def _configured(self, architectures: Sequence[str]) -> Path:
        """Writes what makes apt keep to the folder: read after the machine's own settings, so that it holds."""
        for name in ("lists/partial", "archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_text("")
        options = f"arch={','.join(architectures)} signed-by={self.keyring.resolve()}"
        mirror = re.sub(
            "^file:", "copy:", self.mirror or _own_mirror()
        )  # apt leaves the files of `file:` where they lie
        (self.folder / "sources.list").write_text(f"deb [{options}] {mirror} {SUITE} main\n")
        config = self.folder / "apt.conf"
        config.write_text(_CONFIG.format(folder=self.folder, first=architectures[0]))
        with config.open("a") as file:
            file.writelines(f'APT::Architectures:: "{architecture}";\n' for architecture in architectures)
        return config


def unpacked(package: Path, folder: Path) -> None:
    """Unpacks a package's files, as the user who runs this."""
    carried_out(["dpkg-deb", "-x", str(package), str(folder)], f"Unpacking {package.name}", _AGAIN)


def _apt(config: Path) -> list[str]:
    return ["apt-get", "-c", str(config), "-q"]


def _own_mirror() -> str:
    """The archive that this machine's apt uses for Debian, so that a company's is used; else Debian's own."""
    try:
        told = carried_out(["apt-get", "--print-uris", "update"], "Reading apt's sources", _AGAIN)
    except StepError:
        return _DEFAULT_MIRROR
    match = _INDEX.search(told)
    return match["base"] if match else _DEFAULT_MIRROR


_CONFIG = """\
#clear APT::Architectures;
#clear APT::Update;
#clear DPkg;
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}";
Dir::Cache::archives "{folder}/archives";
APT::Architecture "{first}";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
"""
