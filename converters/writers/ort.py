"""ORT, the format of ONNX Runtime's mobile builds, and the list of operators and types that such a build must hold.

Made by ONNX Runtime's own tool: the graph as it is executed, without what is special to the machine that made it
(the NCHWc layout of x86), for loading without an optimizer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from converters.compat import onnxruntime
from converters.errors import MisfitError, UnsupportedError, words_of
from converters.stamping import onnx as stamping

CONVERSION_PATH = "onnxruntime-ort"
CONFIG_SUFFIX = ".required_operators_and_types.config"


def write_ort(source: Path, path: Path, properties: Mapping[str, str]) -> None:
    """Writes `path` and, beside it, `<stem>.required_operators_and_types.config` for a reduced build.

    Args:
        source: an `.onnx` file, which is left as it is.
        properties: metadata that the file is to carry.

    Raises:
        UnsupportedError: ONNX Runtime cannot write this model in its own format.
    """
    import os
    import shutil

    with tempfile.TemporaryDirectory(prefix=".ort-", dir=path.parent) as scratch:
        folder = Path(scratch)
        model = folder / f"{config_path(path).name.removesuffix(CONFIG_SUFFIX)}.onnx"
        shutil.copyfile(source, model)
        external = source.with_name(source.name + ".data")
        if external.is_file():
            (folder / external.name).symlink_to(external)
        stamping.stamp(model, properties)
        try:
            onnxruntime.write_ort(model, folder / "made")
        except MisfitError:
            raise
        except Exception as cause:  # ONNX Runtime's errors have no common class but Exception
            text = words_of(cause)
            raise UnsupportedError(
                f"ONNX Runtime cannot write this model in its ORT format ({type(cause).__name__}: {text}).",
                next_step="Leave ort out with -f; the .onnx file runs in full builds.",
                step="convert",
            ) from cause
        (ort_file,) = (folder / "made").glob("*.ort")
        (config,) = (folder / "made").glob("*.config")
        config_path(path).write_text(_portable(config.read_text()))
        os.replace(ort_file, path)  # noqa: PTH105 - replaces an older file


def config_path(path: Path) -> Path:
    """Where the list of operators of an `.ort` file lies."""
    name = path.name.removeprefix(".part-").removesuffix(".ort")
    return path.with_name(name + CONFIG_SUFFIX)


def _portable(config: str) -> str:
    """The list without its comments, which name the folder that it was made in."""
    return "".join(line for line in config.splitlines(keepends=True) if not line.startswith("#"))
