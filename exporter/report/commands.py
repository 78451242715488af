"""The command that makes each figure of a report again, from the command that made the bundle."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from exporter.manifest.schema import Manifest
from exporter.report.headline import timed_rows
from exporter.report.layers import localized
from exporter.report.wording import clean

_BUILDING = ("--input-shape", "--classes", "--set", "--weights", "--seed")
_OPENING = ("--signature", "--custom-objects", "--model-code", "--replace", "--graph-input", "--graph-output")
_BAKING = "--bake-preprocess"
_LOCALIZING = ("--inputs", "--samples", "--seed", "--input-range", "--shape")
_JUDGING = ("--inputs", "--samples", "--seed", "--input-range", "--shape", "--tolerance")


def commands(manifest: Manifest) -> dict[str, str]:
    """By figure (`run`, `agreement`, `latency`, `samples`, `layers`, `profile`, `sizes`, `report`), a shell command.

    Paths are those of the command that made the bundle; where the manifest does not tell it, `BUNDLE` stands for the
    folder. A checkpoint that was built by name is built again first.
    """
    words = list(manifest.tool.command)
    bundle = next(iter(_values_of(words, ["-o", "--output"])), "BUNDLE")
    source, build = _source(manifest, words)
    judging, opening = _again(words, _JUDGING), _reference(words)
    first = next((f"{bundle.rstrip('/')}/{row.path}" for row in manifest.artifacts), bundle)
    located = next((f"{bundle.rstrip('/')}/{artifact}" for artifact, _ in localized(manifest)), first)
    timed = timed_rows(manifest)
    setting = _setting(timed[0].device, timed[0].threads, timed[0].batch) if timed else []
    arguments = {
        "run": words,
        "agreement": ["edgeport", "validate", source, bundle, *judging, *opening],
        "latency": ["edgeport", "bench", bundle, *setting],
        "samples": ["edgeport", "verify", bundle, "--execute"],
        "layers": ["edgeport", "localize", source, located, *_again(words, _LOCALIZING), *opening],
        "profile": ["edgeport", "bench", bundle, "--profile-ops", *setting],
        "sizes": ["edgeport", "inspect", first],
        "report": ["edgeport", "report", bundle],
        "verify": ["edgeport", "verify", bundle],
    }
    lines = {name: clean(shlex.join(argv)) for name, argv in arguments.items()}
    for name in ("agreement", "layers") if build else ():
        lines[name] = f"{clean(shlex.join(build))} && {lines[name]}"
    return lines


def _source(manifest: Manifest, words: Sequence[str]) -> tuple[str, list[str]]:
    """The checkpoint to judge by, and the command that builds it where the source was a name, or weights of one."""
    source, named = manifest.source.path, _values_of(words, ["--architecture"])
    if manifest.source.kind != "architecture" and not named:
        return source, []
    name = named[0] if named else source
    weights = ["--weights", source] if named else []
    path = f"{name}.keras"
    return path, ["edgeport", "build", name, "-o", path, *weights, *_again(words, _BUILDING)]


def _reference(words: Sequence[str]) -> list[str]:
    """The options that open the source as it was opened, and bake into it what was baked."""
    unsafe = ["--allow-unsafe"] if "--allow-unsafe" in words else []
    baking = [_BAKING, *_again(words, ["--preprocess"])] if _BAKING in words else []
    return [*_again(words, _OPENING), *unsafe, *baking]


def _again(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """The options among `options` that are on the command line, with their values."""
    return [part for option in options for value in _values_of(words, [option]) for part in (option, value)]


def _setting(device: str, threads: int | None, batch: int | None) -> list[str]:
    parts = ["--device", device]
    parts += ["--threads", str(threads)] if threads else []
    return parts + (["--batch", str(batch)] if batch else [])


def _values_of(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """The values that the options have on a command line, `--name VALUE` or `--name=VALUE`."""
    values = []
    for k, word in enumerate(words):
        name, equals, value = word.partition("=")
        if equals and name in options:
            values.append(value)
        elif word in options and k + 1 < len(words):
            values.append(words[k + 1])
    return values
