"""The page as calls: what `page.mjs` offers, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from converters.errors import CrashError
from validate.runtimes.browser.chromium import Chromium
from validate.runtimes.browser.server import Server
from validate.runtimes.processes import cpu_s

_HERE = Path(__file__).parent
_LOAD_S = 60.0
_SPINS, _SPIN_MS = 20, 30
_TICKS_S = 0.015
"""CPU times are told in hundredths of a second."""
_UNTIL_LOADED = """
new Promise(done => { const wait = () => globalThis.edgeport ? done(true) : setTimeout(wait, 10); wait(); })
"""
NEXT_STEP = "Run edgeport doctor; another browser can be named with CHROME=PATH."


class PageError(Exception):
    """What the page threw, in its own words."""


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
        """The process that the page runs in: the one of the browser's whose CPU time is always what the page tells."""
        browser = self._tab.browser
        found: set[int] = set()
        for _ in range(_SPINS):
            found = found or set(browser.pages)
            self.call("spin", ms=_SPIN_MS)
            before = {pid: cpu_s(pid) for pid in found}
            metrics = self._tab.ask("Performance.getMetrics", _LOAD_S)["metrics"]
            told = next((float(row["value"]) for row in metrics if row["name"] == "ProcessTime"), 0.0)
            found = {pid for pid in found if before[pid] - _TICKS_S <= told <= cpu_s(pid) + _TICKS_S}
            if len(found) == 1:
                return found.pop()
        return browser.pid

    def close(self) -> None:
        self._tab.close()
        self.server.close()
