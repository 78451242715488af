"""Coverage-guided fuzzing of our own readers of foreign files.

    python scripts/fuzz_readers.py [--letters LETTERS] CORPUS [libFuzzer flags]

The readers are pure Python and run before any framework does; whatever the bytes, they return or raise EdgeportError,
within seconds and within bounds of memory. Everything else is a finding: atheris then writes the input to `crash-*`.
Of HDF5 it is our walk through the file that is fuzzed, in this process: what the C library does to damaged bytes (it
can loop, or crash) is what the worker around it is for, and an input that ends it is no finding of ours. So fuzz it by
itself, with its seeds alone in CORPUS: `--letters h` in front of the folder takes inputs as files of that reader only.

CORPUS is a folder of seeds. `tests/attacks/make_samples.py FOLDER` and `make_sources.py FOLDER` in
`tests/converters/checkpoints` make files (of `.ort` any that edgeport wrote will do), `--seeds FOLDER CORPUS` makes
seeds of them. Usual flags:
`-max_total_time=1800 -timeout=20 -rss_limit_mb=2048 -max_len=262144 -seed=1 -print_final_stats=1`.
Needs the package atheris (`pip install atheris`), which is no dependency of edgeport.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_INSTRUMENTED = (
    "converters.checkpoints.scan", "converters.readers.keras_file", "converters.readers.onnx_file",
    "converters.readers.onnx_graph", "converters.readers.saved_model_file", "converters.readers.tflite_file",
    "converters.readers.tflite_graph", "converters.readers.graph_file", "converters.readers.ort_file",
    "converters.readers.h5_worker", "exporter.manifest.reader",
)  # fmt: skip
_MAX_SEED = 256 << 10


def _keras(path: Path) -> None:
    from converters.checkpoints.scan import scan_config
    from converters.readers import keras_file
    from converters.readers.h5_file import H5Facts

    keras_file.read_h5_part = lambda *_: H5Facts()  # the C library's part
    archive = keras_file.read_keras(path)
    scan_config(archive.config, path, archive.weights.stored_elements)


def _config(path: Path) -> None:
    from converters.checkpoints.scan import scan_config
    from converters.readers.facts import refusing
    from converters.readers.keras_file import parse_config

    with refusing(path, "config"):
        scan_config(parse_config(path.read_bytes(), "config"), path, 1000)


def _onnx(path: Path) -> None:
    from converters.readers.onnx_file import read_onnx
    from converters.readers.onnx_graph import read_onnx_graph

    read_onnx(path)
    read_onnx_graph(path)


def _tflite(path: Path) -> None:
    from converters.readers.tflite_file import read_tflite
    from converters.readers.tflite_graph import read_tflite_graph

    read_tflite(path)
    read_tflite_graph(path)


def _saved_model(path: Path) -> None:
    from converters.readers.saved_model_file import read_saved_model

    read_saved_model(path.parent)


def _index(path: Path) -> None:
    from converters.readers.facts import refusing
    from converters.readers.tensor_bundle import missing_data, read_bundle

    with refusing(path, "checkpoint index"):
        missing_data(path.with_suffix(""), read_bundle(path))


def _graph(path: Path) -> None:
    from converters.readers.graph_file import read_graph_file

    read_graph_file(path)


def _ort(path: Path) -> None:
    from converters.readers.facts import refusing
    from converters.readers.ort_file import metadata_of, read_ort

    read_ort(path)
    with refusing(path, "ONNX Runtime model"):
        metadata_of(path)


def _h5(path: Path) -> None:
    from converters.isolation import Channel
    from converters.readers.h5_worker import read

    found = read({"path": str(path), "start": 0, "size": path.stat().st_size, "values": False}, Channel(-1, -1))
    json.dumps(found)  # what cannot be sent to the parent would be a crash there


def _manifest(path: Path) -> None:
    from exporter.manifest.reader import read_unchecked

    read_unchecked(path)


READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "k": ("a.keras", _keras), "c": ("config.json", _config), "o": ("a.onnx", _onnx), "t": ("a.tflite", _tflite),
    "s": ("saved_model.pb", _saved_model), "i": ("variables.index", _index), "m": ("manifest.json", _manifest),
    "g": ("frozen.pb", _graph), "r": ("a.ort", _ort), "h": ("a.h5", _h5),
}  # fmt: skip
"""The first byte of an input chooses its reader; the rest is the file."""


def read_one(data: bytes, folder: Path, letters: str = "") -> None:
    """Gives one input to its reader, of those with `letters` (all: none); raises what the reader may not raise."""
    from converters.errors import EdgeportError

    names = list(letters or READERS)
    name, reader = READERS[chr(data[0]) if chr(data[0]) in names else names[data[0] % len(names)]]
    path = folder / name
    path.write_bytes(data[1:])
    try:
        reader(path)
    except EdgeportError as error:
        if error.exit_code not in (2, 3, 8) or not error.message or not error.next_step:
            raise
    finally:
        path.unlink()


def write_seeds(samples: Path, corpus: Path) -> int:
    """The good samples as seeds, and the configs inside them; returns how many. Large ones would only slow it down."""
    corpus.mkdir(parents=True, exist_ok=True)
    suffixes = {
        ".keras": "k",
        ".json": "c",
        ".onnx": "o",
        ".tflite": "t",
        ".pb": "s",
        ".index": "i",
        ".ort": "r",
        ".h5": "h",
    }
    count = 0
    for file in sorted(samples.rglob("*")):
        letter = "m" if file.name == "manifest.json" else suffixes.get(file.suffix)
        if letter == "s" and file.name != "saved_model.pb":
            letter = "g"  # a frozen graph
        if letter and file.is_file() and file.name != "fingerprint.pb":
            found = [(letter, file.read_bytes())]
            if letter == "k":
                with zipfile.ZipFile(file) as archive:
                    found.append(("c", archive.read("config.json")))
            for kind, data in found:
                if len(data) < _MAX_SEED:
                    (corpus / f"{kind}-{file.name}").write_bytes(kind.encode() + data)
                    count += 1
    return count


def main(arguments: list[str]) -> None:
    if arguments[1:2] == ["--seeds"]:
        print(f"{write_seeds(Path(arguments[2]), Path(arguments[3]))} seeds in {arguments[3]}")
        return
    import atheris

    letters = ""
    if arguments[1:2] == ["--letters"]:
        letters = arguments[2]
        del arguments[1:3]
    sys.path.insert(0, str(ROOT))
    with atheris.instrument_imports(include=["converters", "exporter.manifest.schema", "exporter.manifest.reader"]):
        for module in _INSTRUMENTED:
            importlib.import_module(module)
    fast = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=fast) as folder:

        def one(data: Any) -> None:
            if data:
                read_one(data, Path(folder), letters)

        atheris.Setup(arguments, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
