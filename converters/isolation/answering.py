"""The worker's side of a step: call the function of the request, send its result or its error."""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

from converters.errors import EdgeportError, ResourceError, StepError, UnsupportedError, words_of
from converters.isolation.channel import Channel, Message


def resolve(target: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def answer(target: str, request: Message, channel: Channel) -> None:
    """Calls the function and sends `{result}` or `{error}`. Raises BrokenPipeError: the parent is gone."""
    try:
        result = resolve(target)(request, channel)
        flush()  # the parent may end this process as soon as it has the result
        channel.send({"result": result or {}})
    except BrokenPipeError:
        raise
    except BaseException as cause:
        traceback.print_exc()
        flush()
        channel.send({"error": error_document(translated(cause))})


def error_document(error: EdgeportError) -> Message:
    """The document from which `error_from_json` makes the same error in the parent."""
    return error.to_json() | ({"unsupported": True} if isinstance(error, UnsupportedError) else {})


def translated(cause: BaseException) -> EdgeportError:
    """The error that the parent is told: the step's own, or one with the framework's words."""
    if isinstance(cause, EdgeportError):
        return cause
    text = f"{type(cause).__name__}: {words_of(cause)}"
    disk = isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    exhausted = type(cause).__name__ == "ResourceExhaustedError"
    if disk or exhausted or isinstance(cause, MemoryError):
        return ResourceError(
            f"The worker ran out of {'disk' if disk else 'memory or disk'} ({text}).",
            next_step="Free some, or choose another output folder, then run again.",
        )
    return StepError(f"The step failed ({text}).", next_step="Run again with --debug to see the log and the traceback.")


def flush() -> None:
    """Writes what was printed to the log now."""
    sys.stdout.flush()
    sys.stderr.flush()
