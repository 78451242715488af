"""The set-up of a timing's sessions: the options that `bench` and `run` share, declared once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, MutableMapping
from typing import Any

import click

from exporter.cli.types import Renamed, type_of
from validate.latency.options import BenchOptions
from validate.runtimes.variant import Boundary, ConvSearch, Variant
from validate.targets import Places, target_words

Command = Callable[..., Any]


def session_options(function: Command) -> Command:
    """Adds `--litert`, `--xnnpack`, `--graph`, `--spinning`, `--tf32`, `--conv-search`, `--boundary`, `--tune`,
    `--profile-ops` and `--cold`.
    """
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def target_options(function: Command) -> Command:
    """Adds `--on`, of which `--device` names those of the host, and how boards are reached."""
    for option in reversed(_TARGET_OPTIONS):
        function = option(function)
    return function


def taken_variants(chosen: MutableMapping[str, Any]) -> tuple[Variant, ...]:
    """Every combination of the settings that were given; takes their words out of `chosen`."""
    defaults = {field.name: field.default for field in dataclasses.fields(Variant)}
    given = [chosen.pop(word) or (defaults[name],) for word, name in _SETTINGS.items()]
    return tuple(Variant(**dict(zip(_SETTINGS.values(), values, strict=True))) for values in itertools.product(*given))


_SETTINGS = {
    "litert": "interface",
    "xnnpack": "xnnpack",
    "graphs": "graph",
    "spinning": "spinning",
    "tf32": "tf32",
    "conv_search": "conv_search",
    "boundary": "boundary",
}
"""The fields of a Variant by their name on the command line. `float32` is a target's, which takes both."""

_SEARCHES = Renamed("convolution search", {word.lower(): word for word in ConvSearch})
_BOUNDARIES = Renamed("boundary", {"host": Boundary.HOST_TO_HOST, "device": Boundary.DEVICE_RESIDENT})

_TARGET_OPTIONS = (
    click.option("--on", "targets", multiple=True, type=type_of(Places, "devices"), metavar="TARGET",
                 help=f"Judge it there too, and time it there; repeat: {', '.join(target_words())}. [host]"),
    click.option("--ssh", metavar="HOST", help="The same as --on ssh:HOST."),
    click.option("--adb", metavar="SERIAL", help="The same as --on adb:SERIAL, a phone; it times and does not judge."),
    click.option("--ssh-python", default="python3", show_default=True, metavar="PATH", help="The Python there."),
    click.option("--ssh-options", default="", metavar="TEXT", help="More arguments for ssh, as one text."),
)  # fmt: skip
_OPTIONS = (
    click.option("--litert", multiple=True, type=type_of(Variant, "interface"),
                 help="LiteRT's interface; repeat for both. [interpreter]"),
    click.option("--xnnpack", multiple=True, type=type_of(Variant, "xnnpack"), help="LiteRT with XNNPACK. [on]"),
    click.option("--graph", "graphs", multiple=True, type=type_of(Variant, "graph"),
                 help="ONNX Runtime's graph level; repeat. [all]"),
    click.option("--spinning", multiple=True, type=type_of(Variant, "spinning"),
                 help="ONNX Runtime's idle threads. [on]"),
    click.option("--tf32", multiple=True, type=type_of(Variant, "tf32"), help="CUDA with TF32. [on]"),
    click.option("--conv-search", multiple=True, type=_SEARCHES,
                 help="CUDA's convolution search. [exhaustive]"),
    click.option("--boundary", multiple=True, type=_BOUNDARIES,
                 help="Arrays in and out, or data that stays on the device. [host]"),
    click.option("--tune", "tuning", is_flag=True, help="Find the fastest session settings for this machine."),
    click.option("--profile-ops", "profiling", is_flag=True, help="Where the time goes, by Keras layer and by kind."),
    click.option("--cold", "cold_starts", type=type_of(BenchOptions, "cold_starts"), default=1, show_default=True,
                 metavar="N", help="Fresh processes to start."),
)  # fmt: skip
