"""`edgeport verify DIR`: is the bundle what its manifest says?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.errors import UsageError
from converters.isolation import Limits
from exporter.cli.console import Console
from exporter.cli.options import output_options, sandbox_option
from exporter.cli.types import type_of

if TYPE_CHECKING:
    from exporter.bundle import Problem
    from exporter.bundle.signing import Signer


@click.command("verify")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--execute", "run_again", is_flag=True, help="Also run the golden inputs again through every artifact.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=type_of(Limits, "timeout_s"),
    default=600.0,
    show_default=True,
    help="For each artifact that --execute runs.",
)
@click.option("--public-key", type=click.Path(path_type=Path), metavar="FILE", help="Whose signature it must have.")
@click.option("--identity", metavar="NAME", help="Whose Sigstore signature it must have (asks the network).")
@click.option("--identity-provider", metavar="URL", help="Who vouches for --identity.")
@sandbox_option
@output_options
def command(
    *,
    folder: Path,
    run_again: bool,
    timeout: float,
    public_key: Path | None,
    identity: str | None,
    identity_provider: str | None,
    console: Console,
) -> int:
    """Check every file of a bundle against its manifest: changed, missing, extra, linked.

    Without --execute nothing in the bundle is run and no framework is loaded. Digests find damage; against someone who
    can rewrite the manifest too, only a signature helps: say whose with --public-key or --identity.
    """
    from exporter.bundle import Bundle
    from exporter.bundle.checking import examine

    signer = _signer(public_key, identity, identity_provider)
    manifest, problems = examine(folder)
    if signer is not None:
        from exporter.bundle.signing import verify_signature

        problems = [*problems, *verify_signature(folder, signer)]
    if manifest is not None and run_again and not problems:
        from converters.isolation import Limits
        from exporter.bundle.execute import execute

        with console.progress() as progress:
            limits = Limits(timeout_s=timeout)
            problems = execute(Bundle(folder, manifest), limits=limits, progress=progress)
    if manifest is None or problems:
        return _refuse(folder, problems, console)
    for note in Bundle(folder, manifest).notes:
        console.note(note)
    console.document({"ok": True, "problems": []})
    console.say(
        f"{folder} verifies: every file is as its manifest says{', and runs as it did' if run_again else ''}"
        f"{f', signed by {signer}' if signer else ''}."
    )
    return 0


def _signer(public_key: Path | None, identity: str | None, provider: str | None) -> Signer | None:
    from exporter.bundle.signing import Signer

    if public_key is None and identity is None and provider is None:
        return None
    if (public_key is not None) == (identity is not None) or (identity is not None) != (provider is not None):
        raise UsageError(
            "It takes --public-key, or --identity with --identity-provider, to say whose signature is expected.",
            next_step="Give one of them.",
        )
    return Signer(public_key, identity, provider)


def _refuse(folder: Path, problems: list[Problem], console: Console) -> int:
    """Under `--json` the one document is both the list and the error."""
    from exporter.bundle.reading import unfit

    error = unfit(folder, problems)
    if console.json:
        console.document({"ok": False, "problems": [p.to_json() for p in problems], "error": error.to_json()})
    else:
        console.table("", ["Path", "Problem"], [[p.path, p.problem] for p in problems])
        console.error(error)
    return error.exit_code
