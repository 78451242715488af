"""`edgeport target`: which targets are here, and the environments of those that edgeport installs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from converters.checks.values import no_such
from converters.errors import UsageError
from exporter.cli.console import Console
from exporter.cli.options import output_options

_PATH = click.Path(path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group("target")
def command() -> None:
    """List, install and remove targets: places where a file runs, for `--on`."""


@command.command("list")
@output_options
def list_targets(console: Console) -> int:
    """List every target, what is installed of it, and the command that brings what is missing.

    Nothing is tried: `edgeport doctor` tries what is here.
    """
    from exporter.environments.states import states

    found = states()
    rows = [
        [s.name, s.state, ", ".join(f"{n} {v}" for n, v in s.versions.items()), _size(s.size_bytes), s.install]
        for s in found
    ]
    console.table("Targets", ["target", "state", "versions", "size", "to install or mend"], rows)
    console.document({"targets": [state.to_json() for state in found]})
    return 0


@command.command("install")
@click.argument("name", metavar="NAME")
@click.option("--mirror", metavar="URL", help="Debian's archive. [the one that apt uses here]")
@click.option("--keyring", type=_FILE, metavar="FILE", help="Whose signature its index must have. [Debian's]")
@click.option("--python-tree", "tree", type=_FOLDER, metavar="DIR", help="An arm64 file system with Python, copied.")
@click.option("--qemu", type=_FILE, metavar="PROGRAM", help="The emulator, linked statically.")
@click.option("--wheels", type=_FOLDER, metavar="DIR", help="Take wheels from this folder and ask no index.")
@click.option("--registry", metavar="URL", help="npm's registry. [the one that npm is set up with here]")
@click.option(
    "--npm-archive", type=_FILE, metavar="FILE", help="Take npm's package from this file and ask no registry."
)
@click.option("--force", is_flag=True, help="Make it anew where it is there already.")
@output_options
def install_target(name: str, *, force: bool, console: Console, **chosen: Any) -> int:
    """Install a target into an environment of its own, in your cache folder. It needs no root.

    Every file is verified by its digest: Debian's packages by the archive's signed index, wheels by pip's, and npm's
    package by one that edgeport knows.
    What was downloaded is kept where it fails, and taken up by the next try.
    """
    from exporter.environments.installing import install
    from exporter.environments.request import Request
    from exporter.environments.states import intact

    _check(name)
    request = Request(**chosen)
    request.check_for(name)
    environment = None if force else intact(name)
    made = environment is None
    if environment is None:
        with console.progress() as progress:
            environment = install(name, request, progress)
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    state = "is installed" if made else "was installed already (--force makes it anew)"
    console.say(f"{name} {state}: {versions}; {_size(environment.size_bytes)} in {environment.folder}.")
    console.document({"target": name, "installed": made, "folder": str(environment.folder), **environment.to_json()})
    return 0


@command.command("remove")
@click.argument("name", metavar="NAME")
@output_options
def remove_target(name: str, console: Console) -> int:
    """Remove a target's environment, and what a try that failed left."""
    from exporter.environments.installing import remove

    _check(name)
    removed = remove(name)
    console.say(f"{name} is removed." if removed else f"{name} was not installed.")
    console.document({"target": name, "removed": removed})
    return 0


def _check(name: str) -> None:
    """Raises UsageError where the target has no environment."""
    from exporter.environments.installing import INSTALLERS
    from validate.targets import TARGETS

    if name in INSTALLERS:
        return
    target = next((target for target in TARGETS if target.name == name), None)
    if target is None:
        raise no_such("target", name, [t.name for t in TARGETS], "Run `edgeport target list`.")
    raise UsageError(
        f"{name} has no environment of its own.",
        next_step=f"Run {target.install}." if target.install else "Run `edgeport doctor`: it tells what it lacks.",
    )


def _size(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size else ""
