"""`verify --execute`: the golden inputs again through every artifact, against the golden outputs in the bundle.

Each artifact runs in a worker process of its own runtime. The outputs are compared here, in float64, with what the
manifest's verdicts say that the artifact differed by when it was judged; see `tolerance`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.checkpoints.parts import parts_of
from converters.checkpoints.scan_file import check
from converters.errors import EdgeportError, UsageError
from converters.isolation import Channel, Limits, run_step
from converters.progress import Progress
from exporter.bundle import Bundle, Problem, read_golden
from exporter.manifest.rows import ArtifactRow
from exporter.manifest.schema import GOLDEN, Manifest
from validate.agreement.rows import OutputRow

SLACK = 4.0
"""Another processor may round in another order. The recorded error is one draw from that spread: honest float32 paths
were measured to lie within a factor of two of each other, and this leaves as much again."""

FLOOR = 1e-6
"""Of the largest reference value: some units in the last place of float32, where nothing larger was recorded."""

_OUTPUTS = "outputs.npz"


def execute(bundle: Bundle, *, limits: Limits = Limits(), progress: Progress | None = None) -> list[Problem]:
    """Runs every artifact of a bundle that was opened whole; an empty list means that all still agree.

    Raises:
        UsageError: the bundle holds no golden vectors (`edgeport export` writes none).
        IntegrityError: they cannot be read.
    """
    folder, manifest = bundle.folder, bundle.manifest
    if bundle.golden is None:
        raise UsageError(
            f"{folder} holds no {GOLDEN} to run.",
            next_step="Make the bundle with `edgeport run`, which writes one.",
            file=folder / GOLDEN,
            step="verify",
        )
    _, references = read_golden(bundle.golden)
    problems: list[Problem] = []
    for number, artifact in enumerate(manifest.artifacts):
        if progress:
            progress(f"running {artifact.path}", number / len(manifest.artifacts))
        try:
            outputs = _run(folder, artifact, limits)
        except EdgeportError as error:
            problems.append(Problem(artifact.path, f"could not be run: {error.message}"))
            continue
        problems += compare(manifest, artifact, references, outputs)
    return problems


def compare(
    manifest: Manifest, artifact: ArtifactRow, references: Mapping[str, Array], outputs: Mapping[str, Array]
) -> list[Problem]:
    """The outputs of an artifact that are not within the tolerance of the golden ones."""
    if set(outputs) != set(references):
        missing = sorted(set(references) ^ set(outputs))
        return [Problem(artifact.path, f"its outputs are not the golden ones: {', '.join(missing)}")]
    differences = (
        (name, _difference(manifest, artifact, name, (references[name], outputs[name]))) for name in references
    )
    return [Problem(artifact.path, f"output {name} {why}") for name, why in differences if why]


def tolerance(manifest: Manifest, artifact: ArtifactRow, output: str, largest: float) -> float:
    """The allowed difference of an output from the golden one: max(4 x recorded error, 1e-6 x largest reference value).

    Recorded is the artifact's own maximum error, or a larger one of an agreeing artifact of the same precision: a
    SavedModel can be bit-identical where it was made, and round like its siblings elsewhere. Golden outputs are
    probabilities where the verdict was given on logits, so the error on probabilities is taken where it is recorded.
    The one on logits bounds it: no softmax entry moves by more than half of the largest logit change, no sigmoid by
    more than a quarter.
    """
    same = {row.path for row in manifest.artifacts if row.precision is artifact.precision}
    recorded = [
        error
        for verdict in manifest.first_verdicts
        if verdict.artifact == artifact.path or (verdict.status == "agree" and verdict.artifact in same)
        for row in verdict.outputs
        if row.name == output and (error := _error_of(row)) is not None
    ]
    return max(SLACK * max(recorded, default=0.0), FLOOR * largest)


def _error_of(row: OutputRow) -> float | None:
    return row.max_abs if row.probability_max_abs is None else row.probability_max_abs


def run_golden(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Worker: opens `path`, runs the inputs of the golden file `golden`, writes `outputs`."""
    from validate.runtimes import RuntimeOptions, open_artifact
    from validate.runtimes.quantized import FloatEnds

    inputs, references = read_golden(Path(request["golden"]))
    floats = [name for name, array in (*inputs.items(), *references.items()) if array.dtype.kind == "f"]
    runtime = FloatEnds(open_artifact(Path(request["path"]), RuntimeOptions(threads=1)), floats)
    outputs = runtime.run(inputs)
    np.savez(request["outputs"], **{f"output/{name}": array for name, array in outputs.items()})  # type: ignore[arg-type]
    return {}


def _run(folder: Path, artifact: ArtifactRow, limits: Limits) -> dict[str, Array]:
    check(folder / artifact.path)
    with tempfile.TemporaryDirectory(prefix="edgeport-verify-") as scratch:
        outputs = Path(scratch) / _OUTPUTS
        request = {
            "path": str((folder / artifact.path).resolve()),
            "golden": str((folder / GOLDEN).resolve()),
            "outputs": str(outputs),
        }
        reads = [*parts_of(folder / artifact.path), folder / GOLDEN]
        run_step(
            "exporter.bundle.execute:run_golden",
            request,
            step="verify",
            limits=limits,
            reads=reads,
            writes=[Path(scratch)],
        )
        return read_golden(outputs)[1]


def _difference(manifest: Manifest, artifact: ArtifactRow, name: str, pair: tuple[Array, Array]) -> str | None:
    if pair[0].shape != pair[1].shape:
        return f"has shape {list(pair[1].shape)} instead of {list(pair[0].shape)}"
    if pair[0].dtype.kind == "S":
        return None if np.array_equal(*pair) else "has other texts than the golden output"
    reference, output = (np.asarray(array, dtype=np.float64) for array in pair)
    finite = np.isfinite(reference)
    same_nonfinite = np.array_equal(reference[~finite], output[~finite], equal_nan=True)
    if not same_nonfinite or not np.isfinite(output[finite]).all():
        return "is not finite where the golden output is, or the other way round"
    if not finite.any():
        return None
    allowed = tolerance(manifest, artifact, name, float(np.abs(reference[finite]).max()))
    difference = float(np.abs(output[finite] - reference[finite]).max())
    if difference <= allowed:
        return None
    return f"differs from the golden output by {difference:.3g}; {allowed:.3g} is allowed"
