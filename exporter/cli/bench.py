"""`edgeport bench`: how long artifacts take, each in a process of its own, interleaved when there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.common import Common
from converters.errors import EdgeportError, StepError, UsageError, error_from_json
from exporter.cli.console import Console
from exporter.cli.latency_options import session_options, target_options
from exporter.cli.options import limit_options, output_options, shape_option, signature_option
from exporter.cli.types import Numbers, type_of
from validate.latency.options import BenchOptions
from validate.targets import Places

if TYPE_CHECKING:
    from validate.latency import BenchJob, Latency, Timing
    from validate.latency.statistics.earlier import Change

GATE_FAILED, PARTIAL = 1, 10
_DEVICES = type_of(Places, "devices")
_PATH = click.Path(path_type=Path)


@click.command("bench")
@click.argument("artifacts", metavar="ARTIFACT...", nargs=-1, required=True, type=_PATH)
@click.option("--device", "devices", multiple=True, type=_DEVICES, help="Where to run; repeat for several. [cpu]")
@target_options
@click.option(
    "--threads", multiple=True, type=Numbers(BenchOptions, "threads"), metavar="N,...", help="Threads. [physical cores]"
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=Numbers(BenchOptions, "batches"),
    metavar="N,...",
    help="Samples in a run; a sweep ends when throughput stops growing. [1]",
)
@session_options
@click.option(
    "--max-seconds",
    type=type_of(BenchOptions, "max_seconds"),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Time for everything together.",
)
@click.option(
    "--sustain",
    "sustain_s",
    type=type_of(BenchOptions, "sustain_s"),
    metavar="TIME",
    help="Keep all under load so long (30m): p50 by minute, and where throttling begins.",
)
@click.option(
    "--seed",
    type=type_of(Common, "seed"),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the order and of inputs made up.",
)
@shape_option
@signature_option
@click.option("--golden", type=_PATH, help="Golden vectors (.npz); a bundle's own by default.")
@click.option("--require", multiple=True, type=_DEVICES, help="Exit with 4 when this device cannot be used.")
@click.option("--compare", "earlier", type=_PATH, metavar="OLD.json", help="Against an earlier result of such a host.")
@click.option("--max-slowdown", metavar="P%", help="With --compare: exit with 1 when a row is slower than this.")
@click.option("--junit", type=_PATH, metavar="FILE", help="Write the rows as JUnit XML.")
@click.option("--markdown", type=_PATH, metavar="FILE", help="Write the tables for a pull request.")
@click.option("--save-samples", type=_PATH, help="Folder for the raw samples (.npy, nanoseconds).")
@limit_options
@output_options
def command(artifacts: tuple[Path, ...], console: Console, **chosen: Any) -> int:
    """Time artifacts: p50, p90, p95 and p99 with 95 % confidence intervals, load time, first run and memory.

    ARTIFACT is a .tflite, .onnx or .ort file, a SavedModel folder, or a bundle, of which all artifacts are timed and
    checked against its golden answers. Several take turns in random order, so that what disturbs the machine hits all.
    """
    from exporter.cli import bench_output
    from exporter.cli.bench_inputs import bench_job, expand
    from exporter.cli.junit import write_text
    from exporter.cli.signatures import check_signature
    from validate.latency.host.facts import host_facts
    from validate.latency.statistics.earlier import read_result, refuse_unlike

    if chosen["max_slowdown"] and not chosen["earlier"]:
        raise UsageError("--max-slowdown compares with nothing.", next_step="Give --compare OLD.json too.")
    old = read_result(chosen["earlier"]) if chosen["earlier"] else None  # refused before minutes are spent
    timed = expand(artifacts, console)
    check_signature(chosen["signature"], timed.paths)
    job = bench_job(chosen, timed)
    if old and not any(device.is_elsewhere for device in job.places.devices):
        refuse_unlike(old, host_facts(), chosen["earlier"])
    with console.progress() as progress:
        latency = _measure(timed.paths, job, progress)
    changes = _changes(old, latency, chosen)
    if chosen["save_samples"] is not None:
        latency = latency.save_samples(chosen["save_samples"])
    bench_output.show(console, latency, changes)
    if chosen["junit"] is not None:
        write_text(chosen["junit"], bench_output.to_junit(latency, changes, timed.verdicts))
    if chosen["markdown"] is not None:
        write_text(chosen["markdown"], bench_output.to_markdown(latency, changes))
    _raise_failures(latency, chosen["require"])
    _keep(artifacts, latency)
    console.document(bench_output.document(latency, changes))
    if latency.errors:
        return PARTIAL
    return GATE_FAILED if any(change.fails for change in changes) else 0


def _measure(paths: list[Path], job: BenchJob, progress: Any) -> Latency:
    from exporter.run.bench import time_artifacts

    elsewhere = [device for device in job.places.devices if device.is_elsewhere]
    if elsewhere and (job.places.tune or job.options.profile):
        raise UsageError(
            f"{elsewhere[0]} goes with neither --tune nor --profile-ops.", next_step="Leave one of them out."
        )
    return time_artifacts(paths, job, progress)


def _changes(old: dict[str, Any] | None, latency: Latency, chosen: dict[str, Any]) -> list[Change]:
    from validate.latency.statistics.earlier import compare_results, parse_share

    if old is None:
        return []
    allowed = parse_share(chosen["max_slowdown"]) if chosen["max_slowdown"] else None
    return compare_results(old, latency.to_json(), allowed, chosen["earlier"])


def _keep(artifacts: Sequence[Path], latency: Latency) -> None:
    """Writes tuned settings and profiles into the manifest and the report of each bundle that was given."""
    from exporter.bundle import is_bundle
    from exporter.cli.bench_inputs import keep

    for path in artifacts:
        if not is_bundle(path):
            continue
        names = {timing.row.artifact.name for timing in latency.timings if timing.row.given.parent == path}
        tuned = tuple(entry for entry in latency.tuned if entry["artifact"] in names)
        profiles = tuple(entry for entry in latency.profiles if entry["artifact"] in names)
        if tuned or profiles:
            keep(path, replace(latency, tuned=tuned, profiles=profiles))


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
    return error_from_json(
        {
            "code": timing.exit_code,
            "message": timing.reason,
            "next": timing.next_step,
            "file": str(timing.row.given),
            "step": "bench",
        }
    )
