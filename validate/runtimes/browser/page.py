"""The page as calls: what `page.mjs` offers, by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import CrashError
from validate.runtimes.browser.chromium import Chromium
from validate.runtimes.browser.server import Server
from validate.runtimes.processes import main_thread_s

_HERE = Path(__file__).parent
_LOAD_S = 60.0
_SPINS, _SPIN_MS = 20, 30
_SLACK_S = 0.002
_UNTIL_LOADED = """
new Promise(done => { const wait = () => globalThis.edgeport ? done(true) : setTimeout(wait, 10); wait(); })
"""
NEXT_STEP = "Run edgeport doctor; another browser can be named with CHROME=PATH."


class PageError(Exception):
    """What the page threw, in its own words."""


@dataclass(frozen=True)
class _Spent:
    """CPU seconds of main threads, from some time of each thread's life on.

    Attributes:
        told: the page's, in its own words.
        before, after: each process's, read right before and after.
    """

    told: float
    before: Mapping[int, float]
    after: Mapping[int, float]

    def fits(self, then: _Spent, pid: int) -> bool:
        """Whether a process spent since then what the page says that it did."""
        if pid not in self.before or pid not in then.before:
            return False
        least, most = self.before[pid] - then.after[pid], self.after[pid] - then.before[pid]
        return least - _SLACK_S <= self.told - then.told <= most + _SLACK_S


class Page:
    """Our page in a tab of its own, with a server of its own behind it.

    Args:
        library: the folder of onnxruntime-web's files.

    Raises:
        CrashError: the browser, or the page, is gone.
    """

    def __init__(self, browser: Chromium, library: Path) -> None:
        self._tab, self.server = browser.tab(), Server()
        self.server.content |= {name: _HERE / name for name in ("page.html", "page.mjs")}
        self.server.content |= {f"ort/{p.name}": p for p in library.iterdir() if p.suffix in {".mjs", ".wasm"}}
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        answer = self._tab.ask("Page.navigate", _LOAD_S, url=f"{self.server.url}page.html")
        if "errorText" in answer:
            raise CrashError(f"The browser did not open its page: {answer['errorText']}.", next_step=NEXT_STEP)
        self._tab.ask("Runtime.evaluate", _LOAD_S, expression=_UNTIL_LOADED, awaitPromise=True)

    def call(self, name: str, **argument: Any) -> Any:
        """What a function of the page gives.

        Raises:
            PageError: it threw.
            CrashError: the page or the browser is gone.
        """
        expression = f"edgeport({json.dumps(name)}, {json.dumps(argument)})"
        answer = self._tab.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        value = answer["result"].get("value") or {"error": answer.get("exceptionDetails", {}).get("text", "no answer")}
        if "error" in value:
            raise PageError(value["error"])
        return value["result"]

    @property
    def process(self) -> int:
        """The process that the page runs in: the browser's whose main thread spends what the page says of its own.

        The browser's first process where that cannot be told.
        """
        found, then = set(self._tab.browser.pages), self._spent()
        for _ in range(_SPINS):
            self.call("spin", ms=_SPIN_MS)
            now = self._spent()
            found = {pid for pid in found if now.fits(then, pid)}
            if len(found) == 1:
                return found.pop()
        return self._tab.browser.pid

    def _spent(self) -> _Spent:
        pages = self._tab.browser.pages
        before = {pid: main_thread_s(pid) for pid in pages}
        metrics = self._tab.ask("Performance.getMetrics", _LOAD_S)["metrics"]
        told = next((float(row["value"]) for row in metrics if row["name"] == "ThreadTime"), 0.0)
        return _Spent(told, before, {pid: main_thread_s(pid) for pid in pages})

    def close(self) -> None:
        self._tab.close()
        self.server.close()
