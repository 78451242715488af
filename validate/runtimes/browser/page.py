"""The page as calls: what `page.mjs` offers, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from converters.errors import CrashError
from validate.runtimes.browser.chromium import INSTALL, Chromium
from validate.runtimes.browser.server import Server

_HERE = Path(__file__).parent
_LOAD_S = 60.0


class PageError(Exception):
    """What the page threw, in its own words."""


class Page:
    """Our page in a browser of its own.

    Args:
        library: the folder of onnxruntime-web's files.
    """

    def __init__(self, library: Path) -> None:
        self.server = Server()
        for name in ("page.html", "page.mjs"):
            self.server.content[name] = _HERE / name
        for file in library.iterdir():
            if file.suffix in {".mjs", ".wasm"}:
                self.server.content[f"ort/{file.name}"] = file
        try:
            self.browser = Chromium()
        except BaseException:
            self.server.close()
            raise
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        answer = self.browser.ask("Page.navigate", _LOAD_S, url=f"{self.server.url}page.html")
        if "errorText" in answer:
            raise CrashError(f"The browser did not open its page: {answer['errorText']}.", next_step=INSTALL)
        waiting = (
            "new Promise(done => { const wait = () => globalThis.edgeport ? done(true) : setTimeout(wait, 10); wait(); })"
        )
        self.browser.ask("Runtime.evaluate", _LOAD_S, expression=waiting, awaitPromise=True)

    def call(self, name: str, **argument: Any) -> Any:
        """What a function of the page gives.

        Raises:
            PageError: it threw.
            CrashError: the page or the browser is gone.
        """
        expression = f"edgeport({json.dumps(name)}, {json.dumps(argument)})"
        answer = self.browser.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise PageError(str(answer["exceptionDetails"].get("text", "it failed")))
        value = answer["result"].get("value") or {}
        if "error" in value:
            raise PageError(value["error"])
        return value["result"]

    def close(self) -> None:
        self.browser.close()
        self.server.close()
