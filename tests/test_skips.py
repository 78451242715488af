"""Skips under CI=true: the gate itself, on small test files of its own, and its table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .skips import EXCUSES, Excuse

HERE = Path(__file__).parent
CONFTEST = """
from skips import Excuse, SkipGate

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        true, false = Excuse("the moon", "it is day", lambda: True), Excuse("the sun", "it is night", lambda: False)
        config.pluginmanager.register(SkipGate([true, false]))
"""
EXCUSED = "import pytest\n@pytest.mark.skip(reason='needs the moon')\ndef test_a(): pass\n"
FALSE = "import pytest\ndef test_a(): pytest.skip('needs the sun')\n"
UNKNOWN = "import pytest\n@pytest.fixture\ndef sky(): pytest.skip('it rains')\ndef test_a(sky): pass\n"
MODULE = "import pytest\npytest.importorskip('no_such_module')\ndef test_a(): pass\n"
PASSES = "def test_a(): pass\n"
XFAIL = "import pytest\n@pytest.mark.xfail\ndef test_a(): assert False\n"


def ran(folder: Path, *contents: str, jobs: int = 0) -> subprocess.CompletedProcess[str]:
    """Pytest with the gate on files `test_0.py`, `test_1.py`, ... of these contents."""
    (folder / "conftest.py").write_text(CONFTEST)
    for index, content in enumerate(contents):
        (folder / f"test_{index}.py").write_text(content)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(jobs), f"--rootdir={folder}"]
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.run([*command, "."], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_skip_needs_an_excuse_that_is_true(jobs: int, tmp_path: Path) -> None:
    done = ran(tmp_path, EXCUSED, FALSE, UNKNOWN, MODULE, PASSES, XFAIL, jobs=jobs)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.findall("^(?:excused|REFUSED) .*", done.stdout, re.MULTILINE) == [
        "excused test_0.py::test_a: needs the moon (it is day)",
        "REFUSED test_1.py::test_a: needs the sun (not so: it is night)",
        "REFUSED test_2.py::test_a: it rains (tests/skips.py has no row for it)",
        "REFUSED test_3.py: could not import 'no_such_module': No module named 'no_such_module' "
        "(tests/skips.py has no row for it)",
    ]


@pytest.mark.parametrize(("content", "code"), [(EXCUSED, 0), (MODULE, 1)])
def test_the_run_fails_with_what_is_refused_alone(content: str, code: int, tmp_path: Path) -> None:
    assert ran(tmp_path, content).returncode == code


@pytest.mark.parametrize("ci", ["true", "false"])
def test_skips_are_judged_under_ci_alone(ci: str) -> None:
    """The real conftest registers the gate."""
    code = (
        "import sys, pytest\n"
        "class Seen:\n"
        "    def pytest_collection_finish(self, session):\n"
        "        plugins = session.config.pluginmanager.get_plugins()\n"
        "        print('gates', sum(type(plugin).__name__ == 'SkipGate' for plugin in plugins))\n"
        "sys.exit(pytest.main(['--collect-only', '-q', 'tests/test_skips.py'], plugins=[Seen()]))"
    )
    env = {**os.environ, "CI": ci}
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE.parent, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert f"gates {int(ci == 'true')}" in done.stdout


@pytest.mark.parametrize("row", EXCUSES, ids=lambda row: row.said)
def test_each_row_is_for_a_skip_that_there_is_and_its_reason_can_be_tested(row: Excuse) -> None:
    files = {*HERE.rglob("*.py"), HERE.parent / "converters" / "isolation" / "sandbox.py"} - {
        HERE / "skips.py",
        Path(__file__),
    }
    assert any(row.said in path.read_text() for path in files)
    assert row.holds() in {True, False}


def test_the_table_is_short() -> None:
    assert len(EXCUSES) <= 12
