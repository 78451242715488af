"""Rows that are not timed: of targets that give no times, or whose compiler estimates one. Apart from a timing."""

from __future__ import annotations

from dataclasses import replace

from converters.errors import EdgeportError
from converters.isolation import run_step
from validate.latency.job import BenchJob
from validate.latency.results import Row, Timing
from validate.latency.rows import Status
from validate.latency.subject import never_timed, not_installed, untimed, without_figures
from validate.runtimes import runtime_of
from validate.targets import Kind, target_of
from validate.targets.ethos_u import Estimate


def not_timed(row: Row, job: BenchJob) -> Timing:
    """The result of a row whose target's time is `never` or `estimated`."""
    target = target_of(row.device)
    if target.time is not Kind.ESTIMATED:
        return never_timed(row)
    if not target.installed:
        return not_installed(row)
    try:
        runtime = runtime_of(row.artifact, row.device)
        answer = run_step(
            "validate.targets.ethos_u:estimate",
            {"path": str(row.artifact.absolute()), "device": row.device},
            step="bench",
            limits=job.common.limits,
            log=job.common.log,
            reads=job.reads_of(row),
        )
    except EdgeportError as error:
        return untimed(row, error)
    if "none" in answer:
        advice = "Make a fully quantized file: -f tflite -p int8 with --calibration."
        return without_figures(row, Status.UNTIMED, answer["none"], advice)
    found = Estimate(**answer)
    timing = without_figures(row, Status.UNTIMED, found.sentence, "")
    return replace(timing, estimate=found, runtime=runtime.name, runtime_version=runtime.version)
