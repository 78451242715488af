"""The skips that CI lets pass: each has a row here, and the row's reason must hold on the machine that skips.

Under `CI=true` a skip without a row, or with one whose reason does not hold, fails the run. Elsewhere a skip is a skip.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest


def _nothing_may_be_installed() -> bool:
    return os.geteuid() != 0 or shutil.which("apt-get") is None


def _no_npm_may_be_installed() -> bool:
    return shutil.which("npm") is None and _nothing_may_be_installed()


def _no_user_namespaces() -> bool:
    return not _runs("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "true")


def _no_mounts() -> bool:
    return not _runs("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt")


def _a_gpu() -> bool:
    return Path("/dev/nvidiactl").exists() or _runs("nvidia-smi", "-L")


def _another_processor() -> bool:
    cpu = Path("/proc/cpuinfo")
    return platform.machine() != "x86_64" or not cpu.is_file() or "avx2" not in cpu.read_text().split()


def _little_room() -> bool:
    return psutil.virtual_memory().total < 16e9 or shutil.disk_usage(tempfile.gettempdir()).free < 12e9


def _not_linux() -> bool:
    return sys.platform != "linux"


def _not_linux_on_x86_64() -> bool:
    return _not_linux() or platform.machine() != "x86_64"


def _no_packages_for_arm64() -> bool:
    """Whether Debian's archive cannot be reached, or pip's index has no wheels for it."""
    from converters.errors import StepError
    from exporter.environments.debian import Archive

    wheels = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "numpy"]
    with tempfile.TemporaryDirectory() as folder:
        if not _runs(*wheels, "--platform", "manylinux_2_28_aarch64", "-d", folder):
            return True
        try:
            Archive(Path(folder)).fetched((), ("arm64",), lambda _label, _share: None)
        except StepError:
            return True
    return False


def _runs(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


@dataclass(frozen=True)
class Excuse:
    """Why a test may be skipped: `said` is found in the skip's reason, `why` is true of this machine if `holds`."""

    said: str
    why: str
    holds: Callable[[], bool]


EXCUSES = (
    Excuse("the npm package", "there is no npm, and it cannot be installed", _no_npm_may_be_installed),
    Excuse("scripts/bring_tools brings it", "without root and apt-get nothing is installed", _nothing_may_be_installed),
    Excuse("bwrap cannot make namespaces", "this system gives us no user namespaces", _no_user_namespaces),
    Excuse("needs the right to mount", "this system lets us mount nothing", _no_mounts),
    Excuse("needs a machine without", "a GPU is here", _a_gpu),
    Excuse("needs a processor", "only x86-64 with AVX2 is known to round so", _another_processor),
    Excuse("GB of free memory", "memory or disk is small", _little_room),
    Excuse("needs sched_setaffinity", "Linux alone lets a process choose its cores", _not_linux),
    Excuse("the packages of the target arm64", "nothing for arm64 can be fetched here", _no_packages_for_arm64),
    Excuse("the extra `tflm`", "tflite-micro has wheels for Linux x86-64 alone", _not_linux_on_x86_64),
    Excuse("the locks are for Linux x86-64", "this is another system", _not_linux_on_x86_64),
)  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """A skip held against the excuses."""

    test: str
    reason: str
    excused: bool
    why: str


def judged(test: str, reason: str, excuses: Sequence[Excuse]) -> Judged:
    """Whether the first excuse that is made for this reason is true here."""
    excuse = next((row for row in excuses if row.said in reason), None)
    if excuse is None:
        return Judged(test, reason, False, "tests/skips.py has no row for it")
    holds = excuse.holds()
    return Judged(test, reason, holds, excuse.why if holds else f"not so: {excuse.why}")


class SkipGate:
    """A plugin of pytest that judges all skips of a session, those of xdist's workers too, when it ends."""

    def __init__(self, excuses: Sequence[Excuse] = EXCUSES) -> None:
        self._excuses = excuses
        self._reasons: dict[str, str] = {}
        self._judged: list[Judged] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._reasons[report.nodeid] = reason.removeprefix("Skipped: ")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._judged = [judged(test, reason, self._excuses) for test, reason in sorted(self._reasons.items())]
        passing = session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
        if passing and not all(skip.excused for skip in self._judged):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._judged:
            terminalreporter.section("skips, which CI lets pass only with an excuse")
        for skip in self._judged:
            word = "excused" if skip.excused else "REFUSED"
            terminalreporter.line(f"{word} {skip.test}: {skip.reason} ({skip.why})", red=not skip.excused)
