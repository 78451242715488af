"""The files that a model is opened from: a worker that opens it is granted to read these and no others."""

from __future__ import annotations

from pathlib import Path

from converters.checkpoints.load_options import LoadOptions
from converters.errors import EdgeportError
from converters.readers.onnx_file import read_onnx
from converters.readers.tensor_bundle import INDEX, shards_beside


def parts_of(path: Path, opening: LoadOptions = LoadOptions()) -> tuple[Path, ...]:
    """The model's own file or folder, the files beside it that belong to it, and the folders of the user's code.

    An ONNX model brings its external data, and a TensorFlow checkpoint's index its shards. A model that cannot be read
    is its own file alone: whoever opens it will say what is wrong with it.
    """
    return (path, *_companions(path), *opening.code_folders)


def _companions(path: Path) -> list[Path]:
    if path.name.endswith(INDEX):
        return shards_beside(path)
    if path.suffix.lower() == ".onnx" and path.is_file():
        try:
            return [path.parent / name for name in read_onnx(path).external_files]
        except EdgeportError:
            return []
    return []
