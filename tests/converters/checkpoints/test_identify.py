"""Sources are known by their bytes; honest ones pass the scan, and what is no source says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "attacks"))

from reader_samples import facts, samples  # noqa: F401

from converters.checkpoints.checkpoint import SourceKind
from converters.checkpoints.identify import confirm, identify
from converters.checkpoints.scan import scan_config
from converters.errors import RefusedError, UsageError

HONEST = {
    "picture.keras": SourceKind.KERAS,
    "text.keras": SourceKind.KERAS,
    "mixed.keras": SourceKind.KERAS,
    "quantized.keras": SourceKind.KERAS,
    "pair.keras": SourceKind.KERAS,
    "picture.h5": SourceKind.H5,
    "picture.weights.h5": SourceKind.WEIGHTS_H5,
    "picture.savedmodel": SourceKind.SAVEDMODEL,
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_sources_pass(name: str, samples: Path) -> None:  # noqa: F811
    checkpoint = identify(samples / name)
    assert checkpoint.kind is HONEST[name]
    assert checkpoint.path.is_absolute()
    assert checkpoint.name == name.split(".")[0]
    assert len(checkpoint.sha256) == 64


@pytest.mark.parametrize(
    "name", ["MobileNetV3Small", "EfficientNetB0", "ResNet50V2", "DenseNet121", "ConvNeXtTiny", "InceptionV3"]
)
def test_applications_pass_the_scan(name: str, samples: Path) -> None:  # noqa: F811
    config = json.loads((samples / f"{name}.json").read_text())
    report = scan_config(config, Path(name), stored_elements=0)
    assert report.layers == sum(report.classes.values()) > 20


def test_a_config_without_modules_passes(samples: Path) -> None:  # noqa: F811
    """Keras 1 and 2 name classes only, Keras 1 as a bare list of layers."""
    dense = {"class_name": "Dense", "config": {"name": "d", "units": 3, "batch_input_shape": [None, 4]}}
    scale = {"class_name": "GlorotUniform", "config": {"seed": None}}
    dense["config"]["kernel_initializer"] = scale
    for layers in ([dense], {"name": "m", "layers": [dense]}):
        scan_config({"class_name": "Sequential", "config": layers}, Path("old.h5"), 15)
    for name in ("Mine", "Mean", "relu"):  # a metric and a function are no layers
        with pytest.raises(RefusedError, match=f"`{name}`"):
            scan_config({"class_name": "Sequential", "config": [{"class_name": name, "config": {}}]}, Path("old.h5"), 1)


def test_the_bytes_decide_not_the_name(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    shutil.copy(samples / "picture.h5", tmp_path / "a.keras")
    shutil.copy(samples / "picture.keras", tmp_path / "b.h5")
    assert identify(tmp_path / "a.keras").kind is SourceKind.H5
    assert identify(tmp_path / "b.h5").kind is SourceKind.KERAS


def test_a_repacked_archive_passes(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    import attack_files as attack

    members = attack.members_of(samples / "picture.keras")
    path = attack.write_zip(tmp_path / "packed.keras", list(members.items()), packed=True)
    assert identify(path).kind is SourceKind.KERAS


def test_custom_losses_do_not_stand_in_the_way(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    import attack_files as attack

    def edit(config: dict[str, object]) -> None:
        config["compile_config"] = {"loss": {"module": "mine", "class_name": "function", "config": "my_loss"}}

    assert identify(attack.edited(samples, tmp_path, edit)).kind is SourceKind.KERAS


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.keras")
    return folder / "pipe.keras"


def broken_link(folder: Path) -> Path:
    (folder / "link.keras").symlink_to(folder / "gone")
    return folder / "link.keras"


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "missing.keras",
        lambda folder: folder / "missing" / "deeper.keras",
        lambda folder: Path("/dev/zero"),
        lambda folder: folder / ("x" * 300),
        lambda folder: folder / "nul\0byte",
        lambda folder: Path("gs://bucket/model.keras"),
        fifo,
        broken_link,
    ],
)
def test_what_cannot_be_opened_is_a_usage_error(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError) as caught:
        identify(make(tmp_path))
    assert caught.value.exit_code == 2


def test_an_unreadable_file_is_a_usage_error(as_a_user: Path) -> None:
    path = as_a_user / "secret.keras"
    path.write_bytes(b"PK\x03\x04")
    path.chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        identify(path)


def test_a_tensorflow_checkpoint_is_known_by_any_of_its_names(samples: Path) -> None:  # noqa: F811
    prefix = samples / "picture.savedmodel" / "variables" / "variables"
    found = [identify(path) for path in (prefix, prefix.with_name("variables.index"))]
    assert found[0] == found[1]
    assert found[0].kind is SourceKind.TF_CHECKPOINT


def test_a_tensorflow_checkpoint_without_its_data_is_refused(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    index = samples / "picture.savedmodel" / "variables" / "variables.index"
    (tmp_path / "x.index").write_bytes(index.read_bytes())
    with pytest.raises(RefusedError, match=r"x\.data-00000-of-00001 is missing"):
        identify(tmp_path / "x")


@pytest.mark.parametrize("name", ["picture.keras", "picture.savedmodel", "picture.savedmodel/variables/variables"])
def test_what_was_scanned_is_confirmed_until_it_changes(name: str, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    first = samples / name.split("/")[0]
    copied = shutil.copytree if first.is_dir() else shutil.copy
    copied(first, tmp_path / first.name)
    checkpoint = identify(tmp_path / name)
    confirm(checkpoint)
    confirm(replace(checkpoint, sha256="0" * 64, scanned=checkpoint.sha256))
    data = next(tmp_path.rglob("*.data-*"), tmp_path / name)
    with data.open("r+b") as stream:
        stream.seek(data.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(RefusedError, match="was changed after its scan"):
        confirm(checkpoint)


def test_what_is_gone_or_no_file_any_more_is_not_waited_for(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    path = Path(shutil.copy(samples / "picture.keras", tmp_path))
    checkpoint = identify(path)
    path.unlink()
    with pytest.raises(UsageError):
        confirm(checkpoint)
    os.mkfifo(path)
    with pytest.raises(UsageError):
        confirm(checkpoint)


def test_identify_loads_no_framework(samples: Path) -> None:  # noqa: F811
    code = (
        "import sys; from pathlib import Path; from converters.checkpoints.identify import identify\n"
        "for path in sys.argv[1:]: identify(Path(path))\n"
        "print({'tensorflow', 'keras', 'onnx', 'onnxruntime', 'ai_edge_litert', 'tf2onnx'} & set(sys.modules))"
    )
    paths = [str(samples / name) for name in HONEST]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
