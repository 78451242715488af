"""Makes .venv from the locks, or adds to it what is missing: `setup_env.py run` or `setup_env.py dev`.

Called by scripts/setup_env with the Python to use; needs its standard library alone. The locks are complete, so pip
installs them as they stand, without resolving. .venv/edgeport.stamp tells what was finished: what was left half-way is
made anew, from the downloads that pip's cache kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LIBRARIES = VENV / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
STAMP = VENV / "edgeport.stamp"
WORK = VENV / "setup"  # pip's temporary files: on the disk that was checked, which /tmp may not be
LOCKS = {"run": "requirements.lock", "dev": "requirements-dev.lock"}
NEEDED_GB = {"run": 4.0, "dev": 1.0}  # with the downloads, which go when all is installed; 3 and 0.5 stay
LARGEST = "tensorflow=="  # more than all others together: a pip of its own installs it beside them
UNFINISHED = "unfinished "  # stands before `run` or `dev`
Command = list[str | Path]
PIP: Command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off"]
SIZES = {"run": "1 GB to download, 3 GB on disk", "dev": "100 MB to download, 500 MB on disk"}
COMPILING = """\
import compileall, re, sys
folder, but = sys.argv[1:]
try:
    compileall.compile_dir(folder, quiet=2, workers=0, rx=re.compile(but))
except OSError:  # from Python 3.12 on the workers are reached by a socket, whose path may be too long in a deep folder
    compileall.compile_dir(folder, quiet=2, workers=1, rx=re.compile(but))
"""


class SetupError(Exception):
    """One sentence with the cause, and one with the next step."""

    def __init__(self, cause: str, next_step: str) -> None:
        super().__init__(f"edgeport: {cause}\n{next_step}")


@dataclass
class Job:
    """Commands that run one after the other, beside other jobs."""

    log: Path
    commands: list[Command]
    running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def done(self) -> bool:
        """Starts the next command where one ended. Raises SetupError where it failed."""
        if self.running is not None:
            code = self.running.poll()
            if code is None:
                return False
            if code:
                raise explained(self.log.read_text(errors="replace"))
            self.running = None
        if not self.commands:
            return True
        with self.log.open("ab") as stream:
            self.running = subprocess.Popen(
                self.commands.pop(0),
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(WORK)},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        return False

    def stop(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()


def explained(log: str) -> SetupError:
    """What a log of pip's says, in our words where the cause is a known one."""
    if "DO NOT MATCH THE HASHES" in log:
        return SetupError(
            "a package is not the one that the lock names: its hash differs.",
            "Undo the change to the lock (git checkout 'requirements*.lock'), or make it anew with scripts/relock.",
        )
    if "No space left on device" in log:
        return SetupError("the disk ran full.", "Free some space and run the same command again.")
    if re.search(r"New\w*ConnectionError|NameResolutionError|ProxyError|Timeout\w*Error|ConnectionResetError", log):
        return SetupError(
            "the package registry cannot be reached.",
            "Check the network, or pip's settings for index and proxy, and run the same command again.",
        )
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]  # a crash of pip's ends with its cause
    said = errors[0] if errors else "it said nothing"
    return SetupError(f"pip failed: {said}", "Mend that and run the same command again.")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def digest(what: str) -> str:
    """Of the lock, and of pyproject.toml, from which edgeport itself is installed."""
    return hashlib.sha256((ROOT / LOCKS[what]).read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()


def stamped() -> list[str]:
    return STAMP.read_text().splitlines() if STAMP.exists() else []


def stamp(lines: list[str]) -> None:
    STAMP.write_text("".join(f"{line}\n" for line in lines))


def unfinished(wanted: list[str]) -> list[str]:
    """Those of `wanted` which .venv does not hold in their present state."""
    lines = stamped()
    return [what for what in wanted if f"{what} {digest(what)}" not in lines]


def usable() -> bool:
    """Whether .venv can be added to: not left half-way, and of the Python that runs this."""
    if UNFINISHED + "run" in stamped() or not PYTHON.exists():
        return False
    probe = "import pip, sys; print(*sys.version_info[:2])"
    try:
        ran = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return ran.stdout.split() == [str(part) for part in sys.version_info[:2]]


def require_space(missing: list[str]) -> None:
    needed, free = sum(NEEDED_GB[what] for what in missing), shutil.disk_usage(ROOT).free / 1e9
    if free < needed:
        raise SetupError(
            f"set-up needs {needed:.0f} GB of disk, and {free:.1f} GB are free in {ROOT}.",
            "Free some space, or move this folder to another disk.",
        )


def make_venv() -> None:
    """A new environment, unfinished."""
    base = Path(sys.base_exec_prefix, "bin", "python{}.{}".format(*sys.version_info))
    VENV.mkdir()
    stamp([UNFINISHED + "run"])
    made = subprocess.run([base, "-m", "venv", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        said = (made.stderr + made.stdout).strip().splitlines() or ["it said nothing"]
        raise SetupError(
            f"{base} could not make an environment: {said[-1]}",
            "Install its venv module (Debian and Ubuntu: apt install python3-venv), or set EDGEPORT_PYTHON.",
        )


def entries(what: str) -> list[str]:
    """A lock's packages, each with its marker and hashes."""
    lines = (ROOT / LOCKS[what]).read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.lstrip().startswith("#"))
    return re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]


def jobs_for(missing: list[str]) -> list[Job]:
    """What installs the locks. Bytecode is compiled on all processors: pip would use one."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):  # the locks hold there alone
        return [Job(WORK / "all.log", [[*PIP, "-e", ".[dev]" if "dev" in missing else "."]])]
    packages = [entry for what in missing for entry in entries(what)]
    largest = [entry for entry in packages if entry.startswith(LARGEST)]
    others = [entry for entry in packages if not entry.startswith(LARGEST)]
    edgeport: Command = [*PIP, "--no-deps", "--no-build-isolation", "-e", "."]
    rest = compiled(LIBRARIES, "/tests?/|/tensorflow/")
    jobs = [Job(WORK / "others.log", [as_locked("others", others), edgeport, rest])]
    if largest:
        tensorflow = compiled(LIBRARIES / "tensorflow", "/tests?/")
        jobs.append(Job(WORK / "largest.log", [as_locked("largest", largest), tensorflow]))
    return jobs


def as_locked(name: str, packages: list[str]) -> Command:
    requirements = WORK / f"{name}.txt"
    requirements.write_text("".join(packages))
    # A package that an interrupted set-up left half-way may look installed.
    again = ["--force-reinstall"] if UNFINISHED + "dev" in stamped() else []
    return [*PIP, "--no-deps", "--require-hashes", "--no-compile", *again, "-r", requirements]


def compiled(folder: Path, but: str) -> Command:
    return [PYTHON, "-c", COMPILING, folder, but]


def progress(names: set[str]) -> str:
    """How far it is, by what lies in pip's folders."""
    there = {re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower() for path in LIBRARIES.glob("*.dist-info")}
    size = 0
    for path in WORK.rglob("*.whl"):
        with suppress(FileNotFoundError):  # pip moves them
            size += path.stat().st_size
    return f"{size / 1e6:.0f} MB downloaded, {len(names & there)} of {len(names)} packages installed"


def work_off(jobs: list[Job], names: set[str]) -> None:
    """Runs the jobs to their end and tells how far they are: on a terminal in one line, else every 15 seconds."""
    started, live = time.monotonic(), sys.stderr.isatty()
    told = started
    try:
        active = jobs
        while active := [job for job in active if not job.done()]:
            time.sleep(0.2)
            now = time.monotonic()
            if now - told >= (1 if live else 15):
                told, line = now, f"  {now - started:3.0f} s: {progress(names)}"
                print(f"\r{line}\033[K" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)
    finally:
        for job in jobs:
            job.stop()
        if live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def set_up(wanted: list[str]) -> None:
    """Makes .venv hold `wanted`, and keeps what else it holds."""
    missing, fits = unfinished(wanted), usable()
    if fits and not missing:
        return
    if not fits:
        missing = wanted
        if VENV.exists():
            say("edgeport: .venv was left half-way, or is another Python's; it is made anew.")
            shutil.rmtree(VENV)
    require_space(missing)
    say(f"edgeport: setting up .venv with Python {platform.python_version()}, once: {SIZES[missing[0]]}.")
    started = time.monotonic()
    if not VENV.exists():
        make_venv()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    jobs = jobs_for(missing)
    kept = [line for line in stamped() if line.split()[0] in set(LOCKS) - set(missing)]
    stamp([*kept, *(UNFINISHED + what for what in missing)])
    work_off(jobs, {entry.split("==")[0] for what in missing for entry in entries(what)})
    shutil.rmtree(WORK)
    stamp([*kept, *(f"{what} {digest(what)}" for what in missing)])
    say(f"edgeport: .venv is ready after {time.monotonic() - started:.0f} s.")


def main(what: str) -> int:
    """Exit code 0; 1 where set-up could not be done; 130 and 143 where it was interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(root, fcntl.LOCK_EX)  # two set-ups of one folder take turns
        set_up(["run", "dev"] if what == "dev" else ["run"])
    except SetupError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"edgeport: .venv cannot be written: {error}.\nMend that and run the same command again.")
        return 1
    except KeyboardInterrupt:
        say("edgeport: set-up was interrupted.\nRun the same command again: what was downloaded is kept by pip.")
        return 130
    finally:
        os.close(root)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
