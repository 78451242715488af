"""Every failure edgeport can tell a user about, each with the exit code it ends in.

    EdgeportError
    ├── UsageError        2  the command line asks for what cannot be
    ├── RefusedError      3  the input is damaged, unsafe or unsupported
    ├── StepError         4  a step failed cleanly
    │   ├── UnsupportedError  the format cannot hold this model
    │   └── MisfitError       an installed library is not as edgeport knows it
    ├── CrashError        5  a worker process died
    ├── StepTimeoutError       6  a worker process ran past its time
    ├── ResourceError     7  out of memory or disk
    ├── IntegrityError    8  a digest or a signature does not match
    └── LockedError       9  another run holds the output

Foreign exceptions are turned into one of these where the foreign call is made. Only `exporter/cli` prints them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_TRACE = re.compile(
    r"<stack traces unavailable>|Detected at node \S+ defined at \(most recent call last\):|"
    r'[ \t]*File "[^"\n]*", line \d+, in [^\n]*\n?(?:[ \t]{2,}[^\n]*\n)?'
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m|\\x1b\[[0-9;]*m")
_WORDS = 2000


class EdgeportError(Exception):
    """One sentence with the file and the cause, one with the next step.

    Args:
        message: what is wrong, naming the file; one sentence.
        next_step: what the user can do about it; one sentence.
        file: the file concerned, when there is one.
        step: the pipeline step that failed (`load`, `trace`, `convert`, `validate`, `bench`, ...).
    """

    exit_code = 4

    def __init__(
        self, message: str, *, next_step: str, file: str | Path | None = None, step: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.file = None if file is None else str(file)
        self.step = step

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints under `error` (design: JSON)."""
        return {
            "code": self.exit_code,
            "message": self.message,
            "next": self.next_step,
            "file": self.file,
            "step": self.step,
        }


class UsageError(EdgeportError):
    exit_code = 2


class RefusedError(EdgeportError):
    exit_code = 3


class StepError(EdgeportError):
    exit_code = 4


class UnsupportedError(StepError):
    """The format or the converter cannot hold this model: trying again will not help."""


class MisfitError(StepError):
    """An installed library is not as edgeport knows it: the model is not to blame."""


class CrashError(EdgeportError):
    exit_code = 5


class StepTimeoutError(EdgeportError):
    exit_code = 6


class ResourceError(EdgeportError):
    exit_code = 7


class IntegrityError(EdgeportError):
    exit_code = 8


class LockedError(EdgeportError):
    exit_code = 9


_BY_CODE: dict[int, type[EdgeportError]] = {
    kind.exit_code: kind
    for kind in (
        UsageError,
        RefusedError,
        StepError,
        CrashError,
        StepTimeoutError,
        ResourceError,
        IntegrityError,
        LockedError,
    )
}


def error_from_json(document: dict[str, Any]) -> EdgeportError:
    """Rebuilds in the parent the error that a worker reported with `to_json`."""
    code = int(document.get("code", StepError.exit_code))
    kind = UnsupportedError if document.get("unsupported") else _BY_CODE.get(code, StepError)
    return kind(
        str(document.get("message", "the worker failed without saying why")),
        next_step=str(document.get("next", "run again with --debug")),
        file=document.get("file"),
        step=document.get("step"),
    )


def words_of(cause: BaseException) -> str:
    """What another's exception says, on one line and without the places in its code.

    The cause may stand anywhere in it: of a text that is too long to read the middle is left out, never the end.
    """
    text = " ".join(_TRACE.sub(" ", _COLOUR.sub("", str(cause))).split())
    if len(text) > _WORDS:
        text = f"{text[: _WORDS // 2]} ... {text[-_WORDS // 2 :]}"
    return text or type(cause).__name__
