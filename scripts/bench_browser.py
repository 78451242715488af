"""The target browser against a page written by hand: the same file in onnxruntime-web, timed in turn.

    python scripts/bench_browser.py ARTIFACT... [--threads 1] [--rounds 60] [--turns 5]

The page by hand has nothing of edgeport: it opens the file, runs it and looks at its clock, in a Chromium of its own.
`paired` is edgeport's clock over the hand's, slot after slot in random order, as the median of the ratios of the slots'
medians with its 95 % interval; `turns` is the p50 that `edgeport bench` gives over the p50 of a fresh page by hand, one
after the other. One JSON document. It needs the target browser installed.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import statistics
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from validate.latency import BenchJob, measure
from validate.runtimes import Device, RuntimeOptions, open_artifact
from validate.runtimes.browser.chromium import browser_path
from validate.runtimes.browser.library import VARIABLE
from validate.targets.browser import PACKAGE
from validate.targets.environment import environment_of

WARM_UP, SLOT = 300, 60
_PAGE = """<!doctype html><script type="module">
import * as ort from './ort.wasm.min.mjs';
ort.env.wasm.numThreads = THREADS;
const session = await ort.InferenceSession.create('./model.onnx');
const { name, shape } = session.inputMetadata[0];
const dims = shape.map((size) => (typeof size === 'string' ? 1 : size));
const values = Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => Math.random());
const feed = { [name]: new ort.Tensor('float32', values, dims) };
for (;;) {
  const count = await (await fetch('./next')).json();
  const times = [];
  for (let k = 0; k < count; k++) {
    const start = performance.now();
    await session.run(feed);
    times.push(performance.now() - start);
  }
  await fetch('./took', { method: 'POST', body: JSON.stringify(times) });
}
</script>"""


class ByHand:
    """A page in a browser of its own that runs a file so often as it is told, and tells how long each run took."""

    def __init__(self, artifact: Path, library: Path, threads: int) -> None:
        orders: queue.Queue[int] = queue.Queue()
        self._orders, self._took = orders, queue.Queue[list[float]]()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(artifact, library, threads, orders, self._took))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        flags = ["--headless=new", "--disable-gpu", f"--user-data-dir={self._profile.name}"]
        flags += ["--no-sandbox"] if os.geteuid() == 0 else []
        self._browser = subprocess.Popen(
            [browser_path(), *flags, f"http://127.0.0.1:{self._server.server_port}/page.html"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def times_ms(self, count: int) -> list[float]:
        """Milliseconds of each of so many runs."""
        self._orders.put(count)
        return self._took.get(timeout=300)

    def __enter__(self) -> Self:
        self.times_ms(WARM_UP)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._browser.terminate()
        self._browser.wait()
        self._server.shutdown()
        self._profile.cleanup()


def _handler(
    artifact: Path, library: Path, threads: int, orders: queue.Queue[int], took: queue.Queue[list[float]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self, content: bytes, kind: str = "application/octet-stream") -> None:
            self.send_response(200)
            for name, value in (
                ("Cross-Origin-Opener-Policy", "same-origin"),
                ("Cross-Origin-Embedder-Policy", "require-corp"),
                ("Content-Type", kind),
                ("Content-Length", str(len(content))),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            if name == "next":
                self._answer(str(orders.get()).encode())
            elif name == "page.html":
                self._answer(_PAGE.replace("THREADS", str(threads)).encode(), "text/html")
            elif name == "model.onnx":
                self._answer(artifact.read_bytes())
            elif (library / name).is_file():
                kinds = {".mjs": "text/javascript", ".wasm": "application/wasm"}
                self._answer((library / name).read_bytes(), kinds.get(Path(name).suffix, "application/octet-stream"))
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            times = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(b"")
            took.put(times)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


def paired(artifact: Path, library: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Slots of both pages in turn, in random order."""
    runtime = open_artifact(artifact, RuntimeOptions(Device("page"), threads=threads))
    clock = runtime.stopwatch
    assert clock is not None
    rng, order = np.random.default_rng(0), random.Random(0)
    (spec,) = runtime.signature.inputs
    clock.prepare([{spec.name: rng.random(spec.concrete(1), np.float32)}])
    slots: dict[str, list[float]] = {"edgeport": [], "by hand": []}
    with ByHand(artifact, library, threads) as hand:
        for _ in range(WARM_UP // SLOT):
            clock.timed(SLOT)
        takers = {
            "edgeport": lambda: statistics.median(clock.timed(SLOT)) / 1e6,
            "by hand": lambda: statistics.median(hand.times_ms(SLOT)),
        }
        for _ in range(rounds):
            for name in order.sample(sorted(takers), 2):
                slots[name].append(takers[name]())
    ratios = np.array(slots["edgeport"]) / np.array(slots["by hand"])
    drawn = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    medians = {name: round(statistics.median(values), 4) for name, values in slots.items()}
    return {"p50_ms": medians, "ratio": [round(float(x), 4) for x in (np.median(ratios), low, high)], **clock.facts}


def turns(artifact: Path, library: Path, threads: int, count: int) -> list[dict[str, float]]:
    """The whole of both, one after the other."""
    figures = []
    for _ in range(count):
        with ByHand(artifact, library, threads) as hand:
            theirs = statistics.median(hand.times_ms(3000))
        job = BenchJob.of(devices=(Device("browser"),), threads=(threads,), max_seconds=8)
        ours = measure([artifact], job).timings[0].p50_ms
        figures.append({"edgeport": ours.value if ours else float("nan"), "by hand": theirs})
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--turns", type=int, default=5)
    chosen = parser.parse_args()
    environment = environment_of("browser")
    if environment is None:
        parser.error("the target browser is not installed: edgeport target install browser")
    package = environment.folder / PACKAGE
    os.environ[VARIABLE] = str(package)
    results = {}
    for artifact in chosen.artifacts:
        results[artifact.name] = {
            "paired": paired(artifact, package / "dist", chosen.threads, chosen.rounds),
            "turns": turns(artifact, package / "dist", chosen.threads, chosen.turns),
        }
    print(
        json.dumps({"threads": chosen.threads, "onnxruntime-web": environment.versions[PACKAGE], **results}, indent=2)
    )


if __name__ == "__main__":
    main()
