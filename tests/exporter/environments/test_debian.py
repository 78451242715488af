"""Debian's packages through apt: only what the archive's owner signed, from whichever mirror."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from converters.errors import StepError
from exporter.environments import debian
from exporter.environments.debian import SUITE, Archive, unpacked

from ...tools import needs

pytestmark = needs("apt-get", "dpkg-deb", "gpg", "gpgv")


@dataclass(frozen=True)
class Mirror:
    """A small archive on disk: `tool`, which depends on `base`, for arm64."""

    folder: Path
    keyring: Path
    home: Path

    def sign(self) -> None:
        """Writes and signs the index of what lies in the archive."""
        pool, dists = self.folder / "pool", self.folder / "dists" / SUITE
        binary = dists / "main" / "binary-arm64"
        binary.mkdir(parents=True, exist_ok=True)
        index = "".join(_stanza(path) for path in sorted(pool.glob("*.deb")))
        (binary / "Packages").write_text(index)
        digest = hashlib.sha256(index.encode()).hexdigest()
        release = (
            f"Origin: Debian\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: arm64\nComponents: main\n"
            f"Date: Sat, 28 Nov 2026 00:00:00 UTC\nSHA256:\n {digest} {len(index)} main/binary-arm64/Packages\n"
        )
        (dists / "Release").write_text(release)
        self.gpg("--clearsign", "--yes", "-o", str(dists / "InRelease"), str(dists / "Release"))

    def gpg(self, *arguments: str) -> None:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", *arguments]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def _stanza(path: Path) -> str:
    fields = subprocess.run(["dpkg-deb", "-f", path], check=True, capture_output=True, text=True).stdout
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"{fields.strip()}\nFilename: pool/{path.name}\nSize: {len(content)}\nSHA256: {digest}\n\n"


def _package(folder: Path, work: Path, name: str, depends: str = "") -> Path:
    tree = work / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / name).write_text(f"the file of {name}")
    more = f"Depends: {depends}\n" if depends else ""
    control = f"Package: {name}\nVersion: 1\nArchitecture: arm64\nMaintainer: x\nDescription: x\n{more}"
    (tree / "DEBIAN" / "control").write_text(control)
    path = folder / f"{name}_1_arm64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(path)], check=True, capture_output=True)
    return path


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    folder, home = tmp_path / "mirror", tmp_path / "gnupg"
    (folder / "pool").mkdir(parents=True)
    home.mkdir(mode=0o700)
    made = Mirror(folder, tmp_path / "keyring.gpg", home)
    made.gpg("--passphrase", "", "--quick-generate-key", "archive@example.org", "ed25519", "sign", "never")
    made.gpg("--export", "-o", str(made.keyring))
    _package(folder / "pool", tmp_path, "base")
    _package(folder / "pool", tmp_path, "tool", depends="base")
    made.sign()
    return made


def fetched(mirror: Mirror, folder: Path, keyring: Path | None = None) -> list[Path]:
    archive = Archive(folder, f"file:{mirror.folder}", keyring or mirror.keyring)
    return archive.fetched(["tool"], ["arm64"], lambda _label, _share: None)


def test_a_package_comes_with_what_it_depends_on(mirror: Mirror, tmp_path: Path) -> None:
    packages = fetched(mirror, tmp_path / "apt")
    assert [path.name for path in packages] == ["base_1_arm64.deb", "tool_1_arm64.deb"]
    for package in packages:
        unpacked(package, tmp_path / "root")
    assert (tmp_path / "root" / "usr" / "share" / "tool").read_text() == "the file of tool"


def test_a_package_that_is_not_the_signed_one_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    path = mirror.folder / "pool" / "base_1_arm64.deb"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StepError, match=r"(?i)hash sum mismatch|unexpected size") as error:
        fetched(mirror, tmp_path / "apt")
    assert "--mirror" in error.value.next_step


def test_an_index_that_somebody_else_signed_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    stranger = Mirror(mirror.folder, tmp_path / "stranger.gpg", tmp_path / "other")
    stranger.home.mkdir(mode=0o700)
    stranger.gpg("--passphrase", "", "--quick-generate-key", "stranger@example.org", "ed25519", "sign", "never")
    stranger.gpg("--export", "-o", str(stranger.keyring))
    with pytest.raises(StepError, match=r"not signed|NO_PUBKEY"):
        fetched(mirror, tmp_path / "apt", stranger.keyring)


def test_an_index_without_a_signature_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    (mirror.folder / "dists" / SUITE / "InRelease").unlink()
    with pytest.raises(StepError, match="not signed"):
        fetched(mirror, tmp_path / "apt")


def test_without_a_keyring_or_apt_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepError, match="cannot be verified") as error:
        Archive(tmp_path, "file:/nowhere", tmp_path / "none.gpg").fetched(["x"], ["arm64"], lambda _l, _s: None)
    assert "debian-archive-keyring" in error.value.next_step
    monkeypatch.setattr(debian.shutil, "which", lambda _name: None)
    with pytest.raises(StepError, match="apt-get is not here") as error:
        Archive(tmp_path).fetched(["x"], ["arm64"], lambda _l, _s: None)
    assert "--python-tree" in error.value.next_step


def test_the_mirror_of_this_machine_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text(f"#!/bin/sh\necho \"'https://user@mirror.example.org/d/dists/{SUITE}/InRelease' a 0\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert debian._own_mirror() == "https://user@mirror.example.org/d"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert debian._own_mirror() == "http://deb.debian.org/debian"
