"""A real browser on a page: Debian's chromium, driven over its debugging pipe (Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import copy
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.report.evidence import Evidence

from ...tools import program

_QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--hide-scrollbars", "--remote-debugging-pipe", "--mute-audio",
)  # fmt: skip


class Browser:
    """One page of one browser process; `events` are the protocol's events so far, oldest first."""

    def __init__(self, chromium: str, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()  # commands to it, and its answers: file descriptors 3 and 4 there
        line = [chromium, *_QUIET, f"--user-data-dir={profile}", "about:blank"]
        shell = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "-", *line],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._out, self._in, self._rest, self._number = ours[1], theirs[0], b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._out)
        os.close(self._in)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser is gone"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def open(self, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Shows a file and waits until it has loaded; `events` then holds those of this page alone."""
        self.events.clear()
        phone = width < 600
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=page.as_uri())
        while not self.named("Page.loadEventFired"):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, which the page's own policy does not hold back."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def named(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of one name."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def requested(self) -> list[str]:
        """The addresses that the page asked for, data addresses left out."""
        urls = [str(event["request"]["url"]) for event in self.named("Network.requestWillBeSent")]
        return [url for url in urls if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        """What the browser logged: errors, warnings, blocked loads, uncaught exceptions."""
        logged = [str(event["entry"]["text"]) for event in self.named("Log.entryAdded")]
        thrown = [str(event["exceptionDetails"]["text"]) for event in self.named("Runtime.exceptionThrown")]
        return logged + thrown + [json.dumps(event["args"]) for event in self.named("Runtime.consoleAPICalled")]

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def print_to(self, path: Path) -> None:
        """The page on A4 paper, as PDF."""
        printed = self.ask("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)
        path.write_bytes(base64.b64decode(printed["data"]))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium = program("chromium", "chromium-browser", "google-chrome")
    opened = Browser(chromium, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture
def evidence() -> Evidence:
    """Images, the checkpoint's answers, those of two artifacts, of which one errs once, and raw samples."""
    rng = np.random.default_rng(5)
    right = np.eye(10, dtype=np.float32)[[3, 1, 4, 1]] * 0.9 + 0.01
    wrong = right.copy()
    wrong[2] = np.eye(10, dtype=np.float32)[7]
    return Evidence(
        {"image": rng.uniform(0, 16, (4, 8, 8, 1)).astype(np.float32)},
        {"digit": right},
        {"digits.float32.tflite": {"digit": right}, "digits.float32.onnx": {"digit": wrong}},
        {1: rng.lognormal(-1.5, 0.1, 400), 2: rng.lognormal(-2.0, 0.3, 400)},
    )


@pytest.fixture
def full_document(sample_document: dict[str, Any]) -> dict[str, Any]:
    """The sample with layers and a profile, as `localize` and `bench --profile` leave them there."""
    document = copy.deepcopy(sample_document)
    ratios = (0.9, 1.1, None, 40.0, 60.0)
    layers = [
        {
            "name": f"conv_{k}",
            "noise_ratio": ratio,
            "limit": 12.0,
            "observed": ratio is not None,
            "diverges": k == 3,
            "local_ratio": 39.0 if k == 3 else None,
        }
        for k, ratio in enumerate(ratios)
    ]
    groups = [{"name": "convolution", "us": 80.0, "share": 0.8, "macs": 10, "operations": 2}]
    profile = {
        "artifact": document["artifacts"][2]["path"],
        "device": "cpu",
        "kinds": groups,
        "layers": groups,
        "share_of_peak": 0.3,
    }
    document["environment"] |= {
        "profiles": [profile],
        "localized": [{"artifact": document["artifacts"][1]["path"], "layers": layers}],
    }
    document["recommended"] |= {"choice": {"cpu": document["artifacts"][2]["path"]}, "objective": "latency"}
    return document
