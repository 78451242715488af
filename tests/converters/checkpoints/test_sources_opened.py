"""Old and foreign sources, each opened by the product's own worker code and held against what it should give."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from converters.checkpoints.checkpoint import SourceKind
from converters.checkpoints.identify import identify
from converters.checkpoints.load_options import Code, LoadOptions, parse_code, parse_replacement
from converters.errors import EdgeportError, RefusedError


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of old and foreign files, see make_sources.py."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "old-sources"
    with FileLock(str(shared / "old-sources.lock")):
        if not folder.exists():
            folder.mkdir()
            command = [sys.executable, str(Path(__file__).with_name("make_sources.py")), str(folder)]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr[-3000:]
    return folder


Open = Callable[[Path], tuple[Path, LoadOptions]]


def plain(name: str, **opening: Any) -> Open:
    return lambda folder: (folder / name, LoadOptions(**opening))


def with_code(name: str, **codes: str) -> Open:
    """`shop.py` in the folder, by its path."""

    def opened(folder: Path) -> tuple[Path, LoadOptions]:
        given: dict[str, Any] = {}
        if "model" in codes:
            given["model_code"] = Code(str(folder / "shop.py"), codes["model"])
        if "objects" in codes:
            given["custom_objects"] = (Code(str(folder / "shop.py"), codes["objects"] or None),)
        return folder / name, LoadOptions(**given, folder=str(folder))

    return opened


SCALE = parse_replacement("scale=rescaling:1/255")

OPENED: dict[str, tuple[Open, SourceKind, str, str]] = {
    # what is opened, its kind, the arrays it is held against, what the notes say
    "Keras 1.2": (plain("keras1.h5"), SourceKind.H5, "keras1", ""),
    "Keras 2.1 Sequential": (plain("sequential.h5"), SourceKind.H5, "sequential", "hard_sigmoid"),
    "TensorFlow 2.4 functions": (plain("functional.h5"), SourceKind.H5, "functional", "became a Rescaling"),
    "Keras 2 Lambda replaced": (plain("lambda.h5", replaced=(SCALE,)), SourceKind.H5, "lambda", "was not run"),
    "Keras 3 Lambda replaced": (plain("code.keras", replaced=(SCALE,)), SourceKind.KERAS, "code", "was not run"),
    "Keras 3 Lambda run": (plain("code.keras", allow_unsafe=True), SourceKind.KERAS, "code", "UNSAFE"),
    "custom .keras": (with_code("custom.keras", objects=""), SourceKind.KERAS, "custom", "Code of --custom-objects"),
    "custom .h5": (with_code("custom.h5", objects="Halve"), SourceKind.H5, "custom", "Code of --custom-objects"),
    "bare weights": (with_code("bare.weights.h5", model="plain"), SourceKind.WEIGHTS_H5, "bare", "shop.py:plain"),
    "checkpoint of Keras 3": (with_code("today", model="plain"), SourceKind.TF_CHECKPOINT, "today", "shop.py:plain"),
    "tf.Module": (plain("module"), SourceKind.SAVEDMODEL, "module", ""),
    "one of several": (plain("several", signature="triple"), SourceKind.SAVEDMODEL, "several", ""),
    "the default of several": (plain("default"), SourceKind.SAVEDMODEL, "default", ""),
    "the other of several": (plain("default", signature="triple"), SourceKind.SAVEDMODEL, "several", ""),
    "a loop a signature": (plain("loops"), SourceKind.SAVEDMODEL, "default", "version 1 loader"),
    "the other loop": (plain("loops", signature="other"), SourceKind.SAVEDMODEL, "several", "version 1 loader"),
    "optimizer slots": (plain("slots"), SourceKind.SAVEDMODEL, "slots", "add_slot"),
    "TensorFlow 1 SavedModel": (plain("version1"), SourceKind.SAVEDMODEL, "version1", "version 1 loader"),
    "frozen graph": (plain("frozen.pb"), SourceKind.FROZEN_GRAPH, "frozen", ""),
    "told a shape": (plain("shapeless.pb", inputs=("x=batch,6",)), SourceKind.FROZEN_GRAPH, "shapeless", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", OPENED)
def test_opened(name: str, sources: Path) -> None:
    from converters.checkpoints.loading import load

    of, kind, arrays, said = OPENED[name]
    path, opening = of(sources)
    checkpoint = identify(path, opening)
    assert checkpoint.kind is kind
    loaded = load(checkpoint)
    assert said in " ".join(loaded.notes)
    with np.load(sources / f"{arrays}.npz") as kept:
        x, wanted = kept["x"], kept["y"]
    import tensorflow as tf

    found = tf.function(loaded.function)([tf.constant(x)])[0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5 * float(np.abs(wanted).max()))
    assert loaded.parameters >= (0 if arrays == "shapeless" else 18)


REFUSED: dict[str, tuple[Open, int, str]] = {
    "Lambda": (plain("code.keras"), 3, "layer `scale`"),
    "Lambda of Keras 2": (plain("lambda.h5"), 3, "layer `scale`"),
    "custom layer": (plain("custom.keras"), 3, "`shop>Halve`"),
    "replaced layer not there": (plain("code.keras", replaced=(parse_replacement("s=rescaling:2"),)), 2, "layer `s`"),
    "unknown function": (plain("unknown_function.h5"), 3, "tf.image.resize"),
    "Keras 1 ConvLSTM2D": (plain("keras1_unknown.h5"), 3, "`conv` (ConvLSTM2D)"),
    "several signatures": (plain("several"), 2, "double, triple"),
    "no such signature": (plain("several", signature="half"), 2, "`half`"),
    "not frozen": (plain("not_frozen.pb"), 3, "not frozen"),
    "hostile graph": (plain("hostile.pb"), 3, "WriteFile (write)"),
    "no such node": (plain("frozen.pb", outputs=("probabilites",)), 2, "`probabilites`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_a_framework_sees_it(name: str, sources: Path) -> None:
    of, code, said = REFUSED[name]
    path, opening = of(sources)
    with pytest.raises(EdgeportError) as caught:
        identify(path, opening)
    assert caught.value.exit_code == code, caught.value.message
    assert said in caught.value.message
    assert caught.value.next_step


REFUSED_LATER: dict[str, tuple[Open, int, str]] = {
    "class not in the module": (with_code("unknown.keras", objects=""), 3, "`shop>Quarter`"),
    "name not in the module": (with_code("custom.keras", objects="Third"), 2, "`Third`"),
    "model code fails": (with_code("bare.weights.h5", model="broken"), 4, "no such thing"),
    "model code gives no model": (with_code("bare.weights.h5", model="number"), 2, "returned a int"),
    "weights alone": (plain("bare.weights.h5"), 3, "weights only"),
    "no shape": (plain("shapeless.pb"), 3, "no known shape"),
}


@pytest.mark.parametrize("name", REFUSED_LATER)
def test_refused_in_the_worker(name: str, sources: Path) -> None:
    from converters.checkpoints.loading import load

    of, code, said = REFUSED_LATER[name]
    path, opening = of(sources)
    with pytest.raises(EdgeportError) as caught:
        load(identify(path, opening))
    assert caught.value.exit_code == code, caught.value.message
    assert said in caught.value.message


@pytest.mark.parametrize("given", ["today", "today.index", "today.data-00000-of-00001"])
def test_a_checkpoint_is_known_by_prefix_and_by_file(given: str, sources: Path) -> None:
    found = identify(sources / given)
    assert (found.kind, found.name) == (SourceKind.TF_CHECKPOINT, "today")
    assert found.sha256 == identify(sources / "today").sha256


@pytest.mark.parametrize("prefix", ["", "beside"], ids=["empty", "of a folder beside it"])
def test_a_checkpoint_of_any_prefix_gives_its_numbers(prefix: str, sources: Path, tmp_path: Path) -> None:
    import keras

    from converters.checkpoints.parts import parts_of
    from converters.checkpoints.weights import load_weights

    folder = tmp_path / "mine"
    (folder / "beside").mkdir(parents=True)
    for file in sources.glob("names.[di]*"):
        shutil.copy(file, folder / file.name.replace("names", prefix))
    found = [identify(folder / f"{prefix}{suffix}") for suffix in (".index", ".data-00000-of-00001")]
    assert found[0] == found[1]
    assert (found[0].kind, found[0].name) == (SourceKind.TF_CHECKPOINT, prefix or "mine")
    assert len(parts_of(found[0].path)) == 2
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="dense")])
    load_weights(model, found[0].path)
    with np.load(sources / "names.npz") as kept:
        np.testing.assert_allclose(np.asarray(model(kept["x"])), kept["y"], rtol=1e-5, atol=1e-3)
    found[0].path.with_name(f"{prefix}.data-00000-of-00001").unlink()
    with pytest.raises(RefusedError, match="is missing"):
        identify(found[0].path)


def test_weights_that_do_not_fit_name_variable_and_shapes(sources: Path) -> None:
    import keras

    from converters.checkpoints.tf_checkpoint import load_tf_checkpoint
    from converters.errors import StepError

    wide = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="labels")])
    with pytest.raises(StepError, match=r"labels/kernel.*\(6, 4\) in the model and \(6, 3\)"):
        load_tf_checkpoint(wide, sources / "today.index")
    deep = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), keras.layers.Dense(3)])
    with pytest.raises(StepError, match="no numbers"):
        load_tf_checkpoint(deep, sources / "today.index")


def test_names_of_tensorflow_1_are_the_models_own(sources: Path) -> None:
    import keras

    from converters.checkpoints.tf_checkpoint import load_tf_checkpoint

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="dense")])
    load_tf_checkpoint(model, sources / "names.index")
    with np.load(sources / "names.npz") as kept:
        np.testing.assert_allclose(np.asarray(model(kept["x"])), kept["y"], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("text", ["a b", "shop.py", "nothing/here.py:X", "os:", "1x:y"])
def test_code_is_named_well_or_refused(text: str) -> None:
    with pytest.raises(EdgeportError) as caught:
        parse_code(text, "--model-code", named=True)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["scale", "scale=rescaling", "scale=rescaling:x", "=rescaling:2", "s=rescaling:1/0"])
def test_replacements_are_well_formed_or_refused(text: str) -> None:
    with pytest.raises(EdgeportError) as caught:
        parse_replacement(text)
    assert caught.value.exit_code == 2


def test_replacements_take_fractions_and_offsets() -> None:
    found = parse_replacement("a=b=rescaling:1/127.5,-1")
    assert (found.layer, found.scale, found.offset) == ("a=b", 1 / 127.5, -1.0)
