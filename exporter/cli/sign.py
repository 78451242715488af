"""`edgeport sign DIR --key FILE`: vouch for a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.cli.console import Console
from exporter.cli.options import output_options

_PATH = click.Path(path_type=Path)


@click.command("sign")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--key", required=True, type=_PATH, metavar="FILE", help="Private elliptic curve key, PEM.")
@output_options
def command(folder: Path, key: Path, console: Console) -> int:
    """Sign every file of a bundle: model.sig, in OpenSSF's model signing format.

    The bundle is verified first. Whoever has the public key checks it with `edgeport verify DIR --public-key FILE`.
    """
    from exporter.bundle.signing import sign

    path = sign(folder, key)
    console.document({"signature": str(path)})
    console.say(f"Signed: {path}.")
    return 0
