"""Opens model files with the frameworks, each in a forked child of a process that has imported them once.

Reads one JSON line `{"path": ..., "timeout": seconds}` at a time and answers with `{"code": ..., "message": ...}`: the
exit code that edgeport would end in. The child does what edgeport's workers do: scan, open in the file's own runtime,
run once on zeros; whatever it raises is translated as a worker translates it.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from pathlib import Path
from typing import Any

from converters.isolation.answering import translated

os.environ.update(KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")

MEMORY = 4 << 30


def open_and_run(path: Path) -> None:
    import numpy as np

    from converters.checkpoints.identify import identify
    from converters.checkpoints.loading import load
    from converters.checkpoints.scan_file import check
    from converters.signature import BATCH
    from validate.runtimes import open_artifact

    check(path)
    if path.is_dir() or path.suffix in (".keras", ".h5"):
        loaded = load(identify(path))
        signature = loaded.signature
    else:
        runtime = open_artifact(path)
        signature = runtime.signature
    arrays = {
        spec.name: np.zeros(
            [d if isinstance(d, int) and d > 0 else 1 if d == BATCH else 8 for d in spec.shape], spec.dtype
        )
        for spec in signature.inputs
    }
    if path.is_dir() or path.suffix in (".keras", ".h5"):
        import tensorflow as tf

        loaded.function([tf.constant(arrays[name]) for name in signature.input_names])
    else:
        runtime.run(arrays)


def child(path: Path, write_fd: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    answer: dict[str, Any] = {"code": 0, "message": ""}
    try:
        open_and_run(path)
    except BaseException as cause:
        error = translated(cause)
        answer = {"code": error.exit_code, "message": error.message}
    os.write(write_fd, json.dumps(answer).encode())
    os._exit(0)


def served(path: Path, timeout: float) -> dict[str, Any]:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.close(read_fd)
        child(path, write_fd)
    os.close(write_fd)
    ready, _, _ = select.select([read_fd], [], [], timeout)
    data = os.read(read_fd, 1 << 16) if ready else b""
    os.close(read_fd)
    if not ready:
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if data:
        document: dict[str, Any] = json.loads(data)
        return document
    if not ready:
        return {"code": 6, "message": f"past {timeout:g} s"}
    how = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
    return {"code": 7 if how == signal.SIGKILL else 5, "message": f"signal {how}"}


def main() -> None:
    import ai_edge_litert.interpreter  # noqa: F401
    import keras
    import onnxruntime  # noqa: F401
    import tensorflow  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print goes elsewhere
    print(json.dumps({"ready": bool(keras.__version__)}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(served(Path(request["path"]), request["timeout"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
