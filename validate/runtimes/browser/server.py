"""What a page may load and where it leaves its answers: a server on the loopback, behind a secret in every path."""

from __future__ import annotations

import secrets
import shutil
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

_TYPES = {".html": "text/html; charset=utf-8", ".mjs": "text/javascript", ".wasm": "application/wasm"}
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # with the next one: threads, and a clock of 5 microseconds
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; connect-src 'self'; "
    "worker-src 'self' blob:",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Quiet(ThreadingHTTPServer):
    """One that asks nobody for this machine's name, and says nothing where a page is closed while it loads."""

    daemon_threads = True

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: what a page lacks, the page says."""


class Server:
    """Serves what it was given by name, and nothing else.

    Attributes:
        content: by name, bytes or a file.
        left: by name, what the page left.
    """

    def __init__(self) -> None:
        self.content: dict[str, bytes | Path] = {}
        self.left: dict[str, bytes] = {}
        secret = secrets.token_urlsafe(24)
        self._server = _Quiet(("127.0.0.1", 0), _handler(self, secret))
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}/{secret}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(owner: Server, secret: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _name(self) -> str | None:
            """What is asked for; None for whoever does not know the secret, or came by another name of this machine."""
            prefix = f"/{secret}/"
            known = secrets.compare_digest(self.path[: len(prefix)].encode(), prefix.encode())
            return self.path[len(prefix) :] if known and self.headers.get("Host") == owner.host else None

        def _begin(self, status: HTTPStatus, length: int, kind: str = "application/octet-stream") -> None:
            self.send_response(status)
            for name, value in (_HEADERS | {"Content-Type": kind, "Content-Length": str(length)}).items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self) -> None:
            name = self._name()
            content = None if name is None else owner.content.get(name)
            if name is None or content is None:
                self._begin(HTTPStatus.NOT_FOUND, 0)
                return
            kind = _TYPES.get(Path(name).suffix, "application/octet-stream")
            if isinstance(content, bytes):
                self._begin(HTTPStatus.OK, len(content), kind)
                self.wfile.write(content)
                return
            with content.open("rb") as file:
                self._begin(HTTPStatus.OK, content.stat().st_size, kind)
                shutil.copyfileobj(file, self.wfile, 1 << 20)

        def do_POST(self) -> None:
            name, length = self._name(), int(self.headers.get("Content-Length", 0))
            if name is None:
                self.close_connection = True
                self._begin(HTTPStatus.NOT_FOUND, 0)
                return
            owner.left[name] = self.rfile.read(length)
            self._begin(HTTPStatus.NO_CONTENT, 0)

        def log_message(self, *_: object) -> None:
            """Nothing: the secret is in every line."""

    return Handler
