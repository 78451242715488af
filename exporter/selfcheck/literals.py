"""Values as literals of other languages: whatever a name holds, it stays inside its quotes.

All literals are ASCII, so that no editor, compiler or terminal has to agree on an encoding, and no bidirectional
override can make source read otherwise than it runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pprint import pformat
from typing import Any


def python_literal(value: Any) -> str:
    """A Python expression on several lines."""
    text = pformat(value, width=100, sort_dicts=False)
    return "".join(c if c.isascii() else _python_escape(ord(c)) for c in text)


def _python_escape(code: int) -> str:
    """Only within quotes: nothing else in a literal of plain data is beyond ASCII."""
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_literal(value: Any) -> str:
    """JSON that is also a JavaScript expression, and ends neither a <script> nor an attribute."""
    text = json.dumps(value, indent=2, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def c_string(text: str) -> str:
    """A C or C++ string literal of UTF-8. Octal escapes: three digits at most, where hexadecimal ones never end.

    >>> c_string('é"?')
    '"\\\\303\\\\251\\\\"\\\\?"'
    """
    return _quoted(text.encode(), lambda byte: f"\\{byte:03o}", special={ord("?"): "\\?"})


def kotlin_string(text: str) -> str:
    """A Kotlin string literal; `$` would begin a template."""
    units = text.encode("utf-16-be")
    codes = [int.from_bytes(units[k : k + 2], "big") for k in range(0, len(units), 2)]
    return _quoted(codes, lambda unit: f"\\u{unit:04x}", special={ord("$"): "\\$"})


def swift_string(text: str) -> str:
    """A Swift string literal; `\\(` would begin an interpolation, and every backslash is doubled."""
    return _quoted([ord(c) for c in text], lambda code: f"\\u{{{code:x}}}", special={})


def _quoted(codes: Any, escape: Callable[[int], str], special: dict[int, str]) -> str:
    escapes = {ord('"'): '\\"', ord("\\"): "\\\\", **special}
    body = (escapes.get(code) or (chr(code) if 0x20 <= code < 0x7F else escape(code)) for code in codes)
    return '"' + "".join(body) + '"'


def c_double(value: float | None) -> str:
    """None is a limit that does not apply."""
    return "INFINITY" if value is None else _number(value)


def kotlin_double(value: float | None) -> str:
    return "Double.POSITIVE_INFINITY" if value is None else _number(value)


def swift_double(value: float | None) -> str:
    return ".infinity" if value is None else _number(value)


def _number(value: float) -> str:
    """The shortest digits that give the same double again, in every language here."""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no literal")
    return repr(float(value))
