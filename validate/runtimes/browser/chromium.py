"""A headless Chromium of our own: found, never downloaded; spoken to over its debugging pipe, which ends it with us.

Its profile is a temporary folder. It updates nothing, reports nothing and reaches no address but the loopback's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from converters.errors import CrashError, StepTimeoutError
from converters.isolation import guard
from validate.runtimes.base import DeviceUnavailableError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VARIABLE = "CHROME"
INSTALL = f"Install Chromium or Chrome, or say where it is with {VARIABLE}=PATH."
_START_S = 60.0
_NO_SANDBOX = "--no-sandbox"
_FLAGS = (
    "--headless=new", "--disable-gpu-compositing", "--disable-dev-shm-usage", "--no-first-run",
    "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-default-apps", "--disable-breakpad", "--disable-domain-reliability",
    "--disable-client-side-phishing-detection", "--metrics-recording-only", "--no-pings", "--mute-audio",
    "--hide-scrollbars", "--password-store=basic", "--use-mock-keychain", "--remote-debugging-pipe",
    "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-features=Translate,OptimizationHints,MediaRouter,WebRtcHideLocalIpsWithMdns,InterestFeedContentSuggestions",
)  # fmt: skip
_HANDING_OVER = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads its commands from descriptor 3 and answers to 4."""


def find_browser() -> str | None:
    """The path of the browser: what CHROME names, or the first that is installed."""
    given = os.environ.get(VARIABLE)
    return shutil.which(given) if given else next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A browser process with one page. `close` ends it and removes its profile.

    Attributes:
        version: as it calls itself, `Chrome/156.0.0.0`.
        sandboxed: whether its own sandbox holds its pages; it does not run as root.

    Raises:
        DeviceUnavailableError: there is none, or it does not start.
    """

    def __init__(self) -> None:
        path = find_browser()
        if path is None:
            given = os.environ.get(VARIABLE)
            what = f"{VARIABLE} names {given}, which is no program" if given else "no Chromium or Chrome is installed"
            raise DeviceUnavailableError(f"browser is not available: {what}.", next_step=INSTALL)
        self._folder = tempfile.mkdtemp(prefix="edgeport-browser-")
        self._log = Path(self._folder) / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._out, self._in, self._rest, self._number = -1, -1, b"", 0
        self._page: str | None = None
        self.sandboxed = os.geteuid() != 0
        try:
            self._start(path)
        except BaseException:
            self.close()
            raise

    def _start(self, path: str) -> None:
        try:
            self._launch(path)
            self.version = str(self.ask("Browser.getVersion", _START_S)["product"]).replace("HeadlessChrome", "Chrome")
        except CrashError:
            if not self.sandboxed or "sandbox" not in self._said().lower():
                raise DeviceUnavailableError(
                    f"browser is not available: {path} does not start ({self._last_words()}).", next_step=INSTALL
                ) from None
            self._end()
            self.sandboxed = False  # this system gives it no user namespaces
            self._start(path)
            return
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._page = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Inspector"):
            self.ask(f"{domain}.enable")

    def _launch(self, path: str) -> None:
        (commands, ours), (theirs, answers) = os.pipe(), os.pipe()
        flags = [*_FLAGS, *([] if self.sandboxed else [_NO_SANDBOX]), f"--user-data-dir={self._folder}/profile"]
        env = os.environ | {name: self._folder for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR")}
        self._out, self._in, self._rest = ours, theirs, b""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _HANDING_OVER, str(commands), str(answers), path, *flags],
                pass_fds=(commands, answers),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )
        os.close(commands)
        os.close(answers)
        guard.watch(self._process.pid)

    def ask(self, method: str, timeout_s: float | None = None, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result.

        Raises:
            StepTimeoutError: no answer came in time.
            CrashError: the browser or its page is gone, or it refuses the command.
        """
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._page:
            message["sessionId"] = self._page
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            data = memoryview(json.dumps(message).encode() + b"\0")
            while data:
                data = data[os.write(self._out, data) :]
        except BrokenPipeError:
            raise self._gone() from None
        while True:
            answer = self._next(deadline)
            if answer.get("method") == "Inspector.targetCrashed":
                raise CrashError("The browser's page crashed: it may have run out of memory.", next_step=_SMALLER)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise CrashError(f"The browser refused {method}: {answer['error'].get('message')}.", next_step=INSTALL)
                return dict(answer["result"])

    def _next(self, deadline: float | None) -> dict[str, Any]:
        while b"\0" not in self._rest:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._in], [], [], left)
            if not ready:
                raise StepTimeoutError("The browser did not answer in time.", next_step="Give it more --timeout.")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise self._gone()
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def renderer(self) -> int | None:
        """The process id of the page; None where the browser does not tell."""
        page, self._page = self._page, None  # a question to the browser itself
        try:
            rows = self.ask("SystemInfo.getProcessInfo")["processInfo"]
        except CrashError:
            return None
        finally:
            self._page = page
        found = [int(row["id"]) for row in rows if row["type"] == "renderer"]
        return found[-1] if found else None

    @property
    def pid(self) -> int:
        """The browser's own process; it leads the group of all of them."""
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        """Ends every process of the browser and removes its profile."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        process, self._process, self._page = self._process, None, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        guard.forget(process.pid)
        for fd in (self._out, self._in):
            os.close(fd)

    def _said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _last_words(self) -> str:
        lines = [line for line in self._said().splitlines() if line.strip()]
        return lines[-1].strip()[:200] if lines else "it said nothing"

    def _gone(self) -> CrashError:
        return CrashError(f"The browser is gone ({self._last_words()}).", next_step=_SMALLER)


_SMALLER = "Try again; if it happens again, time a smaller model or batch there."
