"""Programs and npm packages that tests need: found, or the test is skipped with how to get them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from converters.isolation import sandbox

_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])  # where an sshd lies
_NODE_MODULES = Path(__file__).parents[1] / "build" / "npm" / "node_modules"


def found(*names: str) -> str | None:
    """The path of the first of these programs that is installed."""
    return next((path for name in names if (path := shutil.which(name, path=_PATH))), None)


def program(*names: str) -> str:
    """The path of the first of these programs that is installed, or the test is skipped."""
    return found(*names) or pytest.skip(missing(names[0]))


def npm_package(name: str) -> Path:
    """The folder of an npm package, or the test is skipped."""
    folder = _NODE_MODULES / name
    return folder if (folder / "package.json").is_file() else pytest.skip(missing(f"the npm package {name}"))


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a test unless all of these programs are installed."""
    absent = [name for name in programs if found(name) is None]
    return pytest.mark.skipif(bool(absent), reason=missing(", ".join(absent)))


def missing(what: str) -> str:
    """The reason of a skip for want of what scripts/bring_tools brings."""
    return f"needs {what}: scripts/bring_tools brings it"


def _why_no_sandbox() -> str:
    if found("bwrap") is None:
        return missing("bwrap")
    return sandbox.unavailable()


needs_sandbox = pytest.mark.skipif(bool(_why_no_sandbox()), reason=_why_no_sandbox())
