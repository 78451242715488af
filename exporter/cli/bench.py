"""`edgeport bench`: how long artifacts take, each in a process of its own, interleaved when there are several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.errors import EdgeportError, RefusedError, StepError, error_from_json
from exporter.cli.console import Console
from exporter.cli.options import output_options

if TYPE_CHECKING:
    from validate.latency import Interval, Latency, Timing

PARTIAL = 10
_DEVICES = click.Choice(["cpu", "cuda", "tensorrt"])


@click.command("bench")
@click.argument("artifacts", metavar="ARTIFACT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", "devices", multiple=True, type=_DEVICES, help="Where to run; repeat for several. [cpu]")
@click.option("--threads", multiple=True, type=int, metavar="N", help="Threads; repeat for several. [physical cores]")
@click.option("--batch", "batches", multiple=True, type=int, metavar="N", help="Samples in a run; repeat. [1]")
@click.option("--max-seconds", default=60.0, show_default=True, metavar="S", help="Time for everything together.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of the order and of inputs made up.")
@click.option("--golden", type=click.Path(path_type=Path), help="Golden vectors (.npz); a bundle's own by default.")
@click.option("--require", multiple=True, type=_DEVICES, help="Exit with 4 when this device cannot be used.")
@click.option("--save-samples", type=click.Path(path_type=Path), help="Folder for the raw samples (.npy, nanoseconds).")
@output_options
def command(
    artifacts: tuple[Path, ...], require: tuple[str, ...], save_samples: Path | None, console: Console, **chosen: Any
) -> int:
    """Time artifacts: p50, p90 and p99 with 95 % confidence intervals, load time, first run and memory.

    ARTIFACT is a .tflite, .onnx or .ort file, a SavedModel folder, or a bundle, of which all artifacts are timed and
    checked against its golden answers. Several take turns in random order, so that what disturbs the machine hits all.
    """
    from validate.latency import MeasureOptions, measure

    paths, golden_of = _expand(artifacts)
    options = MeasureOptions(
        devices=tuple(dict.fromkeys([*(chosen["devices"] or ["cpu"]), *require])),
        batches=chosen["batches"] or (1,), max_seconds=chosen["max_seconds"], seed=chosen["seed"],
        golden=chosen["golden"], golden_of={} if chosen["golden"] else golden_of,
        **({"threads": chosen["threads"]} if chosen["threads"] else {}),
    )  # fmt: skip
    with console.progress() as progress:
        latency = measure(paths, options, progress)
    if save_samples is not None:
        latency.save_samples(save_samples)
    show(console, latency)
    _raise_failures(latency, require)
    console.document(latency.to_json())
    return PARTIAL if latency.errors else 0


def show(console: Console, latency: Latency) -> None:
    """The rows as a table, and what they say of each other."""
    columns = [
        "artifact", "device", "threads", "batch", "p50 ms", "+-", "p90 ms", "p99 ms", "first ms", "load ms", "peak MiB",
        "runs", "remarks",
    ]  # fmt: skip
    console.table("Latency, host to host", columns, [_cells(timing) for timing in latency.timings])
    for compared in latency.comparisons:
        ratio, settings = compared.ratio, f"{compared.candidate.device}, threads {compared.candidate.threads}"
        within = "" if ratio.low is None else f" [{ratio.low:.3f}, {ratio.high:.3f}]"
        console.say(
            f"{compared.candidate.artifact.name} is {compared.verdict.value} against "
            f"{compared.baseline.artifact.name}: ratio {ratio.value:.3f}{within} ({settings})"
        )


def _cells(timing: Timing) -> list[str]:
    row, phases = timing.row, timing.phases
    start = [row.artifact.name, row.device, str(row.threads), str(row.batch)]
    if timing.p50_ms is None or phases is None:
        return [*start, *[""] * 8, f"{timing.status.value}: {timing.reason}"]
    return [
        *start, _figure(timing.p50_ms), _spread(timing.p50_ms), _figure(timing.p90_ms), _figure(timing.p99_ms),
        f"{phases.first_ms:.4g}", f"{phases.load_ms:.4g}", f"{phases.peak_rss_bytes / 2**20:.0f}",
        str(len(timing.samples)), ", ".join(timing.flags),
    ]  # fmt: skip


def _figure(interval: Interval | None) -> str:
    """The value; `n/a` where the samples are too few to know it."""
    return f"{interval.value:.4g}" if interval is not None and interval.low is not None else "n/a"


def _spread(interval: Interval) -> str:
    return "n/a" if interval.low is None else f"{interval.half_width:.1%}"


def _raise_failures(latency: Latency, require: Sequence[str]) -> None:
    """Raises where a required device is not there, or where nothing could be timed for another reason."""
    for device in require:
        if latency.lacks(device):
            missing = next((t for t in latency.timings if t.row.device == device), None)
            reason = missing.reason if missing else "nothing was timed on it."
            next_step = missing.next_step if missing and missing.next_step else "Run edgeport doctor."
            raise StepError(f"{device} is required and cannot be used: {reason}", next_step=next_step, step="bench")
    if latency.errors and len(latency.errors) + len(latency.unavailable) == len(latency.timings):
        raise _as_error(latency.errors[0])


def _as_error(timing: Timing) -> EdgeportError:
    return error_from_json({
        "code": timing.exit_code, "message": timing.reason, "next": timing.next_step,
        "file": str(timing.row.given), "step": "bench",
    })  # fmt: skip


def _expand(artifacts: Sequence[Path]) -> tuple[list[Path], dict[Path, Path]]:
    """Bundles replaced by their artifacts, and the golden vectors of every artifact that lies in a bundle."""
    paths: list[Path] = []
    golden_of: dict[Path, Path] = {}
    for given in artifacts:
        members = _members(given) if (given / "manifest.json").is_file() else [given]
        bundle = given if members != [given] else given.parent
        golden = bundle / "golden.npz"
        if (bundle / "manifest.json").is_file() and golden.is_file():
            golden_of.update(dict.fromkeys(members, golden))
        paths += members
    return paths, golden_of


def _members(bundle: Path) -> list[Path]:
    """The artifacts that a bundle's manifest lists."""
    manifest = bundle / "manifest.json"
    try:
        listed = [Path(row["path"]) for row in json.loads(manifest.read_text(encoding="utf-8"))["artifacts"]]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RefusedError(
            f"{manifest} cannot be read as a manifest ({type(cause).__name__}: {cause}).",
            next_step="Check the bundle with edgeport verify.", file=manifest,
        ) from cause  # fmt: skip
    for path in listed:
        if path.is_absolute() or ".." in path.parts:
            raise RefusedError(
                f"{manifest} lists {path}, which lies outside the bundle.",
                next_step="Do not use this bundle: its manifest was not written by edgeport.", file=manifest,
            )  # fmt: skip
    if not listed:
        raise RefusedError(f"{manifest} lists no artifact.", next_step="Make the bundle again.", file=manifest)
    return [bundle / path for path in listed]
