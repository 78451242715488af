"""Makes the environment of the target qnn: onnxruntime-qnn with the ONNX Runtime that it goes with, for this Python."""

from __future__ import annotations

import platform
import sys

from converters.errors import StepError
from converters.progress import Progress
from exporter.environments.commands import STEP
from exporter.environments.installing import Site
from exporter.environments.request import Request
from exporter.environments.trial import tried
from exporter.environments.wheels import Interpreter, installed, versions_here
from validate.targets.environment import Environment
from validate.targets.qnn import SITE, Qnn

PACKAGES = {"onnxruntime-qnn": "2.7.0", "onnxruntime": "1.32.0"}
"""Tried together by us; the provider is loaded by an ONNX Runtime that it was built for."""

LEAST_LIBC = (2, 35)
LICENCE = "onnxruntime_qnn/Qualcomm_LICENSE.pdf"


def made(site: Site, request: Request, progress: Progress) -> Environment:
    """Makes it in an empty folder.

    Raises:
        StepError: this machine is another than those that the package is built for, or it could not be fetched.
    """
    libc = _libc()
    packages = {**PACKAGES, **versions_here({"numpy": ("numpy",), "flatbuffers": ("flatbuffers",)})}
    progress("fetching wheels", 0.1)
    (site.folder / SITE).mkdir()
    python = Interpreter((sys.version_info[0], sys.version_info[1]), libc, platform.machine())
    files = installed(packages, python, site.folder / SITE, request.wheels)
    trust = f"pip's index; Qualcomm's own licence lies in {SITE}/{LICENCE}"
    environment = Environment(site.folder, sys.executable, packages, tuple(files), trust)
    progress("trying it", 0.8)
    tried(lambda path: Qnn(environment=environment).connected((path,)), (".int8.onnx",))
    progress("done", 1.0)
    return environment


def _libc() -> tuple[int, int]:
    """The version of this machine's C library. Raises StepError where the package has no wheel for it."""
    name, version = platform.libc_ver()
    found = tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else (0, 0)
    if platform.machine() != "x86_64" or sys.platform != "linux" or found < LEAST_LIBC:
        raise StepError(
            f"qnn needs Linux on x86-64 with glibc {LEAST_LIBC[0]}.{LEAST_LIBC[1]} or newer; this is "
            f"{platform.system()} on {platform.machine()} with {name or 'another C library'} {version}.",
            next_step="Install it on such a machine.",
            step=STEP,
        )
    return found[0], found[1]
