"""`edgeport verify DIR`: is the bundle what its manifest says?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.errors import IntegrityError
from exporter.cli.console import Console
from exporter.cli.options import output_options

if TYPE_CHECKING:
    from exporter.bundle import Problem


@click.command("verify")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--execute", "run_again", is_flag=True, help="Also run the golden inputs again through every artifact.")
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True,
    help="For each artifact that --execute runs.",
)  # fmt: skip
@output_options
def command(folder: Path, run_again: bool, timeout: float, console: Console) -> int:
    """Check every file of a bundle against its manifest: changed, missing, extra, linked.

    Without --execute nothing in the bundle is run and no framework is loaded. Digests find damage; against someone who
    can rewrite the manifest too, only a signature helps.
    """
    from exporter.bundle import verify
    from exporter.manifest import MANIFEST
    from exporter.manifest_file import load

    problems = verify(folder)
    if run_again and not problems:
        from converters.isolation import Limits
        from exporter.execute import execute

        with console.progress() as progress:
            limits = Limits(timeout_s=timeout)
            problems = execute(folder, load(folder / MANIFEST), limits=limits, progress=progress)
    if problems:
        return _refuse(folder, problems, console)
    console.document({"ok": True, "problems": []})
    console.say(f"{folder} verifies: every file is as its manifest says{', and runs as it did' if run_again else ''}.")
    return 0


def _refuse(folder: Path, problems: list[Problem], console: Console) -> int:
    """Under `--json` the one document is both the list and the error."""
    first, more = problems[0], f"; {len(problems) - 1} more" if len(problems) > 1 else ""
    error = IntegrityError(
        f"{folder} does not verify: {first.path} {first.problem.rstrip('.')}{more}.",
        next_step="Make the bundle again, or get an undamaged copy of it.", file=folder / first.path, step="verify",
    )  # fmt: skip
    if console.json:
        console.document({"ok": False, "problems": [p.to_json() for p in problems], "error": error.to_json()})
    else:
        console.table("", ["Path", "Problem"], [[p.path, p.problem] for p in problems])
        console.error(error)
    return error.exit_code
