"""Makes the environment of the target browser: onnxruntime-web from npm's registry, held to a digest that we know.

The browser itself is the user's: it is looked for, and never downloaded.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from converters.artifact import digest_file
from converters.errors import IntegrityError, StepError, UsageError
from converters.progress import Progress
from exporter.environments.commands import STEP, carried_out
from exporter.environments.installing import Site
from exporter.environments.request import Request
from exporter.environments.trial import tried
from validate.runtimes.browser.chromium import browser_path
from validate.targets.browser import PACKAGE, BrowserMachine
from validate.targets.environment import Environment

VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, as npm's registry states it."""
_ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
_PARTS = (
    "package.json",
    "dist/ort.wasm.min.mjs", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm",
    "dist/ort.webgpu.min.mjs", "dist/ort-wasm-simd-threaded.asyncify.mjs", "dist/ort-wasm-simd-threaded.asyncify.wasm",
)  # fmt: skip
"""What pages load, of a package three times as large."""
_HINT = f"Give another registry with --registry URL, or the archive {_ARCHIVE} with --npm-archive FILE."
_PATIENCE_S = 60.0


def made(site: Site, request: Request, progress: Progress) -> Environment:
    """Makes it in an empty folder.

    Raises:
        DeviceUnavailableError: there is no browser.
        StepError: the package could not be fetched, or does not work in the browser.
        IntegrityError: it is not the one that we know.
    """
    browser_path()
    progress("fetching onnxruntime-web", 0.05)
    archive = request.npm_archive or _fetched(site.downloads, request.registry)
    _verified(archive, ours=request.npm_archive is None)
    progress("unpacking onnxruntime-web", 0.6)
    _unpacked(archive, site.folder / PACKAGE)
    progress("trying it in the browser", 0.7)
    tried(lambda path: BrowserMachine(library=site.folder / PACKAGE).connected((path,)), (".onnx",))
    progress("done", 1.0)
    files = ({"name": _ARCHIVE, "sha256": digest_file(archive)},)
    return Environment(site.folder, "", {PACKAGE: VERSION}, files, f"{INTEGRITY[:6]} of {_ARCHIVE} known to edgeport")


def _fetched(downloads: Path, registry: str | None) -> Path:
    """The archive: npm brings it, as the user has set it up; without npm it is asked of the registry over HTTPS."""
    archive = downloads / _ARCHIVE
    if archive.is_file():
        return archive
    npm = shutil.which("npm")
    if npm is None:
        return _asked(f"{registry or registry_of(os.environ)}/{PACKAGE}/-/{_ARCHIVE}", archive)
    command = [
        npm,
        "pack",
        f"{PACKAGE}@{VERSION}",
        "--pack-destination",
        str(downloads),
        "--ignore-scripts",
        "--silent",
    ]
    carried_out([*command, *(["--registry", registry] if registry else [])], "Fetching it with npm", _HINT)
    return archive


def registry_of(environment: Mapping[str, str]) -> str:
    """The registry that the environment names for npm. Raises StepError: it names none, and npm is not here to know."""
    names = ("NPM_CONFIG_REGISTRY", "npm_config_registry")
    named = next((environment[name] for name in names if environment.get(name)), None)
    if named is None:
        raise StepError("npm is not here, which knows where its packages come from.", next_step=_HINT, step=STEP)
    return named.rstrip("/")


def _asked(address: str, archive: Path) -> Path:
    if not address.startswith("https://"):
        raise UsageError("Without npm a registry is asked over https:// alone.", next_step=_HINT)
    part = archive.with_suffix(".part")
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE_S) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
    except (urllib.error.URLError, TimeoutError) as cause:
        raise StepError(f"{PACKAGE} could not be fetched: {cause}.", next_step=_HINT, step=STEP) from cause
    return part.rename(archive)


def _verified(archive: Path, *, ours: bool) -> None:
    """Holds it to the digest. One that we fetched goes, so that the next try fetches it anew."""
    digest = hashlib.sha512()
    with archive.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if f"sha512-{base64.b64encode(digest.digest()).decode()}" != INTEGRITY:
        if ours:
            archive.unlink()
        raise IntegrityError(
            f"{archive.name} is not the archive of {PACKAGE} {VERSION}: its SHA-512 is another.",
            next_step=_HINT,
            file=archive,
        )


def _unpacked(archive: Path, folder: Path) -> None:
    """The parts that pages load."""
    wanted = {f"package/{part}" for part in _PARTS}
    with tarfile.open(archive, "r:gz") as tar:
        members = [member for member in tar if member.isfile() and member.name in wanted]
        for member in members:
            member.name = member.name.removeprefix("package/")
        tar.extractall(folder, members, filter="data")
    if len(members) != len(wanted):
        raise IntegrityError(f"{archive.name} lacks files that a page needs.", next_step=_HINT, file=archive)
