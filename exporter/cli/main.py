"""`edgeport`: the group of commands, each loaded when it is called, and the one place where errors become text."""

from __future__ import annotations

import importlib
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from converters.errors import EdgeportError, UsageError
from exporter.cli.console import Console

COMMANDS: dict[str, tuple[str, str]] = {
    "models": ("exporter.cli.models", "List the architectures that can be built by name."),
    "build": ("exporter.cli.build", "Build an architecture and write a .keras checkpoint."),
    "inspect": ("exporter.cli.inspect", "Tell what a file holds, without running it."),
    "export": ("exporter.cli.export", "Convert a checkpoint, without judging or timing the result."),
    "validate": ("exporter.cli.validate", "Compare artifacts with a reference, output by output."),
    "localize": ("exporter.cli.localize", "Name the first layer at which an artifact parts from its checkpoint."),
    "bench": ("exporter.cli.bench", "Time artifacts, interleaved when there are several."),
    "run": ("exporter.cli.run", "The main job: export, validate, bench, bundle, report."),
    "verify": ("exporter.cli.verify", "Check a bundle against its manifest."),
    "sign": ("exporter.cli.sign", "Sign a bundle with a private key."),
    "diff": ("exporter.cli.diff", "Tell what changed between two bundles."),
    "report": ("exporter.cli.report", "Write a bundle's report again from its manifest."),
    "target": ("exporter.cli.target", "List, install and remove the targets that run files elsewhere than here."),
    "doctor": ("exporter.cli.doctor", "Tell which runtimes and devices work on this machine."),
}

INTERRUPTED, TERMINATED = 130, 143


class _Terminated(BaseException):
    """SIGTERM, raised where the main thread stands so that workers and staging are cleaned up on the way out."""


class LazyGroup(click.Group):
    """Loads a command's module only when it is asked for, so that `--help` stays fast (design: 0.3 s)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from converters.checks.values import no_such

            raise no_such("command", args[0], COMMANDS, "Run `edgeport --help` for the list.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="edgeport", prog_name="edgeport")
def cli() -> None:
    """Export Keras models to SavedModel, TFLite and ONNX: proven to agree, timed, bundled with digests.

    Shell completion: eval "$(_EDGEPORT_COMPLETE=bash_source edgeport)" (or zsh_source, fish_source).

    Exit codes: 0 all made and passed, 1 a gate failed, 2 usage, 3 input refused, 4 a step failed, 5 a worker crashed,
    6 timed out, 7 out of memory or disk, 8 digest mismatch, 9 locked by another run, 10 partial, 130 Ctrl-C.
    """


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; prints errors, never raises."""
    console = Console(json="--json" in arguments, debug="--debug" in arguments)
    try:
        result = cli.main(args=list(arguments), prog_name="edgeport", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except EdgeportError as error:
        if console.debug:
            traceback.print_exc()
        console.error(error)
        return error.exit_code
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        console.error(_usage(error))
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.error(_ended("Interrupted.", INTERRUPTED))
        return INTERRUPTED
    except _Terminated:
        console.error(_ended("Terminated.", TERMINATED))
        return TERMINATED
    except BrokenPipeError:  # the reader of a pipe has gone: nobody is left to tell
        return 0
    except Exception as cause:
        if console.debug:
            traceback.print_exc()
        console.error(
            EdgeportError(
                f"edgeport met an error it did not expect ({type(cause).__name__}: {cause}).",
                next_step="Run again with --debug and report the traceback.",
            )
        )
        return EdgeportError.exit_code


def _usage(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "edgeport"
    message = error.format_message().strip().replace("\n", " ")
    return UsageError(message if message.endswith(".") else f"{message}.", next_step=f"Run `{path} --help`.")


def _ended(message: str, code: int) -> EdgeportError:
    error = EdgeportError(message, next_step="Run the same command again; finished work of an earlier bundle is kept.")
    error.exit_code = code
    return error


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
