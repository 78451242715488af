"""`edgeport doctor`: which runtimes and devices work here, which do not, why, and what fixes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from exporter.cli.console import Console
from exporter.cli.options import output_options

if TYPE_CHECKING:
    from exporter.doctor.checks import RuntimeState


BROKEN = 1  # the diagnosis was made and is bad; `--json` prints it, as on 0


@click.command("doctor")
@output_options
def command(console: Console) -> int:
    """Tell which runtimes and devices work on this machine.

    Each runtime is tried for real, with a tiny model in a process of its own. The exit code is 0 when all CPU runtimes
    work and 1 when one does not; a GPU that is not there is said to be unavailable and is no problem.
    """
    from exporter.doctor.checks import diagnose

    with console.progress() as progress:
        diagnosis = diagnose(on_progress=progress)
    rows = [
        [state.name, state.device, _state(state), state.version or f"{state.reason} {state.mend}"]
        for state in diagnosis.runtimes
    ]
    console.table("Runtimes", ["runtime", "device", "state", "version or reason"], rows)
    console.say(_machine(diagnosis.host))
    for problem in diagnosis.problems:
        console.say(f"problem: {problem.what}\n  mend: {problem.mend}")
    if not diagnosis.problems:
        console.say("No problems found.")
    console.document(diagnosis.to_json())
    return 0 if diagnosis.ok else BROKEN


def _state(state: RuntimeState) -> str:
    if state.ok:
        return "works"
    return "broken" if state.device == "cpu" else "unavailable"


def _machine(host: dict[str, object]) -> str:
    memory = host["memory_bytes"]
    gib = f", {memory / 2**30:.0f} GiB" if isinstance(memory, int) else ""
    flags = host.get("cpu_flags")
    features = f" ({', '.join(flags)})" if isinstance(flags, list) else ""
    quota = f", quota {host['cpu_quota']} CPUs" if host.get("cpu_quota") else ""
    gpu = host.get("gpu")
    driver = ""
    if isinstance(gpu, dict):
        missing = f"no GPU ({gpu.get('missing')})"
        driver = f", {gpu['name']} with driver {gpu['driver']}" if "name" in gpu else f", {missing}"
    system = f"{host['system']} {host['kernel']}, Python {host['python']}"
    return f"{host['cpu']}{features}, {host['cores']} cores{quota}{gib}, {system}{driver}"
