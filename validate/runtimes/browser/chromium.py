"""A headless Chromium of our own: found, never downloaded; spoken to over its debugging pipe, which ends it with us.

Its profile is a temporary folder. It updates nothing, reports nothing and reaches no address but the loopback's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from converters.errors import CrashError, StepTimeoutError
from validate.runtimes.base import DeviceUnavailableError
from validate.runtimes.processes import end_with_descendants

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VARIABLE = "CHROME"
INSTALL = f"Install Chromium or Chrome, or say where it is with {VARIABLE}=PATH."
_START_S, _CLOSE_S = 60.0, 10.0
_LONGEST = 52
"""Characters of the folder of temporary files: the path of a socket below it has 107 at most."""
_AGAIN = "Run it again; if it happens again, give a smaller model or batch there."
_NO_SANDBOX = "--no-sandbox"
_FLAGS = (
    "--headless=new", "--disable-gpu-compositing", "--disable-dev-shm-usage", "--no-first-run",
    "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-default-apps", "--disable-breakpad", "--disable-domain-reliability",
    "--disable-client-side-phishing-detection", "--metrics-recording-only", "--no-pings", "--mute-audio",
    "--hide-scrollbars", "--no-startup-window", "--password-store=basic", "--use-mock-keychain",
    "--remote-debugging-pipe", "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-features=PreloadTopChromeWebUI,SpareRendererForSitePerProcess,Translate,OptimizationHints,MediaRouter,WebRtcHideLocalIpsWithMdns,InterestFeedContentSuggestions",
)  # fmt: skip
_NOISE = re.compile(r"dbus|crashpad|org\.freedesktop|DevTools listening")
"""Of what it logs, what a machine without a desktop always gives."""
_HANDING_OVER = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads its commands from descriptor 3 and answers to 4."""


def browser_path() -> str:
    """The browser: what CHROME names, or the first that is installed. Raises DeviceUnavailableError."""
    given = os.environ.get(VARIABLE)
    path = shutil.which(given) if given else next((path for name in NAMES if (path := shutil.which(name))), None)
    if path is None:
        what = f"{VARIABLE} names {given}, which is no program" if given else "no Chromium or Chrome is installed"
        raise DeviceUnavailableError(f"browser is not available: {what}.", next_step=INSTALL)
    return path


class Chromium:
    """A browser process. `close` ends it and removes its profile.

    Attributes:
        version: as it calls itself, `Chrome/156.0.0.0`.
        sandboxed: whether its own sandbox holds its pages; root has none, nor a system without user namespaces.

    Raises:
        DeviceUnavailableError: there is none, or it does not start.
    """

    def __init__(self) -> None:
        path = browser_path()
        usual = tempfile.gettempdir()
        self._folder = tempfile.mkdtemp(prefix="p", dir=usual if len(usual) <= _LONGEST else "/tmp")
        self._log = Path(self._folder) / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._out, self._in, self._rest, self._number = -1, -1, b"", 0
        self._crashed: set[str] = set()
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

    def tab(self) -> Tab:
        """An empty tab."""
        target = self.ask("Target.createTarget", _START_S, url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", _START_S, targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, target, session)
        for domain in ("Page", "Inspector", "Performance"):
            tab.ask(f"{domain}.enable", _START_S)
        return tab

    def _launch(self, path: str) -> None:
        (commands, ours), (theirs, answers) = os.pipe(), os.pipe()
        flags = [*_FLAGS, *([] if self.sandboxed else [_NO_SANDBOX]), f"--user-data-dir={self._folder}/profile"]
        env = os.environ | dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"), self._folder)
        self._out, self._in, self._rest = ours, theirs, b""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _HANDING_OVER, str(commands), str(answers), path, *flags],
                pass_fds=(commands, answers),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
            )
        os.close(commands)
        os.close(answers)

    def ask(self, method: str, timeout_s: float | None = None, session: str = "", **params: Any) -> dict[str, Any]:
        """Sends a command, to a tab's session where one is named, and returns its result.

        Raises:
            StepTimeoutError: no answer came in time.
            CrashError: the browser or its page is gone, or it refuses the command.
        """
        self._number += 1
        number, deadline = self._number, None if timeout_s is None else time.monotonic() + timeout_s
        self._send({"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})})
        while session not in self._crashed:
            answer = self._next(deadline)
            if answer.get("method") == "Inspector.targetCrashed":
                self._crashed.add(answer.get("sessionId", ""))
            if answer.get("id") == number:
                if "error" in answer:
                    raise CrashError(
                        f"The browser refused {method}: {answer['error'].get('message')}.", next_step=_AGAIN
                    )
                return dict(answer["result"])
        raise CrashError("The browser's page crashed: it may have run out of memory.", next_step=_AGAIN)

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is None:
            raise CrashError("The browser has ended.", next_step=_AGAIN)
        data = memoryview(json.dumps(message).encode() + b"\0")
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except BrokenPipeError:
            raise self._gone() from None

    def _next(self, deadline: float | None) -> dict[str, Any]:
        """Its next message, be it an answer or an event."""
        while b"\0" not in self._rest:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._in], [], [], left)
            if not ready:
                raise StepTimeoutError("The browser did not answer in time.", next_step=_AGAIN)
            part = os.read(self._in, 1 << 20)
            if not part:
                raise self._gone()
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    @property
    def pages(self) -> list[int]:
        """The process ids of its pages; empty where the browser does not tell."""
        try:
            rows = self.ask("SystemInfo.getProcessInfo", _START_S)["processInfo"]
        except CrashError:
            return []
        return [int(row["id"]) for row in rows if row["type"] == "renderer"]

    @property
    def pid(self) -> int:
        """Its own process, from which all others come."""
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        """Ends every process of the browser and removes its profile."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        end_with_descendants(process)
        for fd in (self._out, self._in):
            os.close(fd)

    def _said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._said().splitlines() if line.strip()]
        fatal = [line for line in lines if "FATAL" in line]
        telling = fatal or [line for line in lines if not _NOISE.search(line)] or ["it said nothing"]
        return telling[-1][:300]

    def _gone(self) -> CrashError:
        return CrashError(f"The browser is gone ({self._last_words()}).", next_step=_AGAIN)


class Tab:
    """A tab of a browser: it dies alone where its page crashes."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self.browser = browser
        self._target, self._session = target, session

    def ask(self, method: str, timeout_s: float | None = None, **params: Any) -> dict[str, Any]:
        """As `Chromium.ask`."""
        return self.browser.ask(method, timeout_s, self._session, **params)

    def close(self) -> None:
        """Closes it, where the browser is still there."""
        with contextlib.suppress(CrashError, StepTimeoutError):
            self.browser.ask("Target.closeTarget", _CLOSE_S, targetId=self._target)
