"""Options that several commands share, declared once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from exporter.cli.console import Console

Command = Callable[..., Any]


def output_options(function: Command) -> Command:
    """Adds `--json`, `-v`, `-q`, `--debug` and hands the command a `console`."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors and results.")
    @click.option("--debug", is_flag=True, help="Show tracebacks and what the frameworks say.")
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, verbose: bool, quiet: bool, debug: bool, **kwargs: Any) -> Any:
        verbosity = -1 if quiet else int(verbose)
        return function(*args, console=Console(json=as_json, verbosity=verbosity, debug=debug), **kwargs)

    return wrapped
