"""From a name in the table to a `.keras` checkpoint: the choices, the model, the file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.checkpoints.weights import load_weights
from converters.errors import ResourceError, UsageError
from converters.isolation import run_step, sandbox
from converters.progress import Progress
from exporter.models.table import Plan, Shape, plan_for
from exporter.models.weights import IMAGENET, check_weights, downloads, share_download_cache

if TYPE_CHECKING:
    import keras

    from converters.isolation import Channel

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip member can carry


TARGET = "exporter.models.build:build_checkpoint"


@dataclass(frozen=True)
class BuildOptions:
    """The choices of a build. None is the architecture's default.

    Attributes:
        name: a key of `exporter.models.table.ARCHITECTURES`.
        input_shape: (height, width, channels).
        settings: KEY to text, as `--set` gives them.
        weights: `imagenet` or the path of a .keras, .weights.h5 or legacy .h5 file; None is random, by `seed`.
    """

    name: str
    input_shape: Shape | None = None
    classes: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    weights: str | None = None
    seed: int = 0

    def plan(self) -> Plan:
        """Every choice checked, without loading a framework. Raises UsageError."""
        check_weights(self.weights)
        if not 0 <= self.seed < 2**32:
            raise UsageError(
                f"The seed {self.seed} is out of range.", next_step="Give --seed a number from 0 to 4294967295."
            )
        pretrained = self.weights == IMAGENET
        return plan_for(self.name, self.input_shape, self.classes, self.settings, pretrained=pretrained)

    def request(self, path: Path) -> dict[str, Any]:
        """The document that `build_checkpoint` takes, to write to `path`."""
        weights = self.weights
        if weights is not None and weights != IMAGENET:
            weights = str(Path(weights).resolve())  # a worker has another working folder
        options = asdict(self) | {"settings": dict(self.settings), "weights": weights}
        home = os.environ.get("KERAS_HOME") or str(Path.home() / ".keras")
        return {"options": options, "path": str(path.resolve()), "keras_home": home}


def build_model(options: BuildOptions, progress: Progress = lambda _label, _fraction: None) -> keras.Model:
    """The uncompiled model: the same names and the same weights for the same options. For worker processes.

    Raises:
        UsageError: options that cannot be.
        RefusedError, StepError: weights that are damaged, do not fit or cannot be downloaded.
    """
    plan = options.plan()
    import keras

    keras.backend.clear_session()  # restarts the counters of automatic layer names
    keras.utils.set_random_seed(options.seed)
    progress(f"building {plan.name}", 0.4)
    try:
        with downloads():
            model = plan.build()
    except MemoryError as cause:
        raise ResourceError(
            f"There is not enough memory to build {plan.name}.", next_step="Use a smaller input or fewer classes."
        ) from cause
    if options.weights and not plan.pretrained:
        progress("loading weights", 0.7)
        load_weights(model, Path(options.weights))
    elif not plan.pretrained and plan.settings["warm"]:
        progress("setting batch-norm statistics", 0.7)
        from exporter.models.warm import seeded_images, warm_batch_norms

        images = seeded_images(plan.input_shape, plan.architecture.value_range, options.seed)
        warm_batch_norms(model, images)
    return model


def build_checkpoint(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Worker target. Takes `BuildOptions.request()`, writes the file, returns `{"path", "parameters"}`.

    Progress goes out as events `{"label", "fraction"}`. The same request gives the same bytes.
    """
    share_download_cache(request.get("keras_home"))
    fields = dict(request["options"])
    if fields["input_shape"] is not None:
        fields["input_shape"] = tuple(fields["input_shape"])
    options, path = BuildOptions(**fields), Path(request["path"])

    def progress(label: str, fraction: float) -> None:
        channel.event(label=label, fraction=fraction)

    progress("loading TensorFlow", 0.0)
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    model = build_model(options, progress)
    progress(f"writing {path.name}", 0.9)
    save_checkpoint(model, path)
    return {"path": str(path), "parameters": model.count_params()}


def build_in_worker(
    options: BuildOptions, path: Path, *, progress: Progress = lambda _label, _fraction: None, log: Path | None = None
) -> int:
    """Builds in a worker process and writes `path`, whole or not at all; returns the parameter count.

    The parent holds the temporary folder, so that an interrupted build leaves nothing behind. Main thread only.

    Raises:
        EdgeportError: what `build_model` raises, or what became of the worker.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            staged = Path(folder) / path.name
            # `imagenet` is fetched from the network, into an architecture of ours: nothing foreign is run.
            with sandbox.using("off") if options.weights == "imagenet" else contextlib.nullcontext():
                result = run_step(
                    TARGET,
                    options.request(staged),
                    step="build",
                    log=log,
                    on_event=lambda event: progress(event["label"], event["fraction"]),
                    reads=[Path(options.weights)] if options.weights else [],
                    writes=[Path(folder)],
                )
            staged.replace(path)
    except OSError as cause:
        raise ResourceError(
            f"{path} cannot be written ({cause.strerror}).",
            next_step="Free some disk space, or give another folder.",
            file=path,
            step="build",
        ) from cause
    return int(result["parameters"])


def check_destination(path: Path, *, force: bool = False) -> None:
    """Raises UsageError where a checkpoint may not be written to `path`.

    A file that is there is only overwritten with `force`, and only if it is a `.keras` checkpoint.
    """
    if path.suffix != ".keras":
        raise UsageError(f"{path} does not end in .keras.", next_step="Give -o a name that ends in .keras.", file=path)
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"The folder {folder} is not there.", next_step=f"Make it first: mkdir -p {folder}", file=path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {folder} cannot be written.", next_step="Give -o another folder.", file=path)
    if not path.exists() and not path.is_symlink():
        return
    if not force:
        raise UsageError(f"{path} is there already.", next_step="Give --force, or -o another name.", file=path)
    if not is_checkpoint(path):
        message = f"{path} is not a .keras checkpoint, so it is not overwritten."
        raise UsageError(message, next_step="Give -o another name.", file=path)


def is_checkpoint(path: Path) -> bool:
    """Whether the file is a zip with the members that every `.keras` checkpoint has."""
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(path) as archive:
            return {"config.json", "metadata.json"} <= set(archive.namelist())
    except (BadZipFile, OSError):
        return False


def save_checkpoint(model: keras.Model, path: Path) -> None:
    """Writes `model` to `path` as `.keras`, without optimizer state when the model was not compiled.

    Same model, same bytes: Keras writes the time of saving and the memory addresses of shared objects; both are
    replaced here, the time by a fixed one, the addresses by 1, 2, 3. The file appears under its name only when it is
    whole. Raises OSError where it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        raw, normalized = Path(folder) / "raw.keras", Path(folder) / "whole.keras"
        model.save(raw)
        _normalize(raw, normalized)
        normalized.replace(path)


def _normalize(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in sorted(before.namelist()):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            if name == "metadata.json":
                metadata = json.loads(before.read(name)) | {"date_saved": "1980-01-01@00:00:00"}
                after.writestr(info, json.dumps(metadata))
            elif name == "config.json":
                after.writestr(info, json.dumps(_renumbered(json.loads(before.read(name)), {})))
            else:
                with before.open(name) as reading, after.open(info, "w", force_zip64=True) as writing:
                    while chunk := reading.read(1 << 20):
                        writing.write(chunk)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _renumbered(node: Any, numbers: dict[int, int]) -> Any:
    """The config with every `shared_object_id` replaced by the order in which it first appears."""
    if isinstance(node, dict):
        return {
            key: numbers.setdefault(value, len(numbers) + 1)
            if key == "shared_object_id" and isinstance(value, int)
            else _renumbered(value, numbers)
            for key, value in node.items()
        }
    return [_renumbered(item, numbers) for item in node] if isinstance(node, list) else node
