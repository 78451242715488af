"""Whatever a name holds, it comes back from a literal of each language as it was."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.selfcheck import literals

from ...tools import program

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NASTY = [
    "", '"', "\\", '\\"', "??/", "${x}", "$x", "\\(x)", "%s%n", "a\nb\r\tc\x1b[31m", "</script>", "<!--", "]]>",
    "*/", "\x7f", "\u00e9\u202e\u2028\u2029\ufeff", "\U0001f600", "\\u0041", "\\x41", "\x01" + "1", "{{ 1 }}",
    "{% raw %}", "'''", '"""', "#{x}", "`x`", "__proto__", "end\\",
]  # fmt: skip


def _decoded(body: str, pattern: str, meaning: Callable[[str], str]) -> str:
    """What a literal's body says, where every escape is of a known form; fails on any other backslash."""
    assert body.isascii()
    assert body.isprintable()
    rest = re.sub(pattern, "", body)
    assert "\\" not in rest
    assert '"' not in rest
    return re.sub(pattern, lambda found: meaning(found.group()), body)


def _inside(literal: str) -> str:
    assert literal[0] == literal[-1] == '"'
    return literal[1:-1]


@given(TEXTS)
@example("".join(NASTY))
def test_python(text: str) -> None:
    literal = literals.python_literal([{"name": text, "limit": None}])
    assert literal.isascii()
    assert ast.literal_eval(literal) == [{"name": text, "limit": None}]


@given(TEXTS)
@example("".join(NASTY))
def test_javascript(text: str) -> None:
    literal = literals.json_literal({"name": text})
    assert literal.isascii()
    assert not set("<>&") & set(literal)
    assert json.loads(literal) == {"name": text}


@given(TEXTS)
@example("".join(NASTY))
def test_c(text: str) -> None:
    def meaning(escape: str) -> str:
        return chr(int(escape[1:], 8)) if escape[1].isdigit() else escape[1]

    decoded = _decoded(_inside(literals.c_string(text)), r'\\(?:[0-3][0-7]{2}|["\\?])', meaning)
    assert decoded.encode("latin-1").decode() == text


@given(TEXTS)
@example("".join(NASTY))
def test_kotlin(text: str) -> None:
    body = _inside(literals.kotlin_string(text))
    assert "$" not in body.replace("\\\\", "").replace("\\$", "")
    decoded = _decoded(body, r'\\(?:u[0-9a-f]{4}|["\\$])', lambda e: chr(int(e[2:], 16)) if e[1] == "u" else e[1])
    assert decoded.encode("utf-16", "surrogatepass").decode("utf-16") == text


@given(TEXTS)
@example("".join(NASTY))
def test_swift(text: str) -> None:
    decoded = _decoded(
        _inside(literals.swift_string(text)),
        r'\\(?:u\{[0-9a-f]{1,8}\}|["\\])',
        lambda e: chr(int(e[3:-1], 16)) if e[1] == "u" else e[1],
    )
    assert decoded == text


def test_a_real_compiler_reads_c_strings_so(tmp_path: Path) -> None:
    lines = "".join(f"  show({literals.c_string(text)});\n" for text in NASTY)
    (tmp_path / "names.cc").write_text(
        '#include <cstdio>\nstatic void show(const char* s) { for (; *s; ++s) std::printf("%02x", '
        f'static_cast<unsigned char>(*s)); std::printf("\\n"); }}\nint main() {{\n{lines}}}\n'
    )
    command = [program("g++"), "-std=c++17", "-trigraphs", "-Wall", "-Wextra", "-Werror", "-o", "names", "names.cc"]
    subprocess.run(command, check=True, cwd=tmp_path)
    shown = subprocess.run([tmp_path / "names"], capture_output=True, text=True, check=True).stdout
    assert [bytes.fromhex(line).decode() for line in shown.split("\n")[:-1]] == NASTY


def test_node_reads_javascript_literals_so(tmp_path: Path) -> None:
    (tmp_path / "names.mjs").write_text(
        f"const names = {literals.json_literal(NASTY)};\n"
        "console.log(JSON.stringify(names.map((name) => Array.from(Buffer.from(name)))));\n"
    )
    command = [program("node"), tmp_path / "names.mjs"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [bytes(row).decode() for row in json.loads(shown)] == NASTY


@pytest.mark.parametrize("value", [0.0, 1e-30, 4.76837158203125e-07, 1.0, 6.5e7])
def test_numbers_come_back_as_they_were(value: float) -> None:
    for literal in (literals.c_double, literals.kotlin_double, literals.swift_double):
        assert float(literal(value)) == value
        assert float(literal(value)) != float("inf")


def test_a_number_without_a_literal_is_no_literal() -> None:
    with pytest.raises(ValueError, match="no literal"):
        literals.c_double(float("nan"))
