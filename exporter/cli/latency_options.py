"""How a timing's sessions are set up: the options that `bench` and `run` share, declared once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from validate.latency import Variant

Command = Callable[..., Any]


class NumbersType(click.ParamType[tuple[int, ...]]):
    """`1,2,4`: whole numbers of 1 or more, separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no whole number, nor several separated by commas", param, ctx)
        if min(numbers) < 1:
            self.fail(f"{value} has a number below 1", param, ctx)
        return numbers


def session_options(function: Command) -> Command:
    """Adds `--litert`, `--xnnpack`, `--graph`, `--spinning`, `--tf32`, `--conv-search`, `--boundary`, `--tune`,
    `--profile-ops` and `--cold`.
    """
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def taken_variants(chosen: MutableMapping[str, Any]) -> tuple[Variant, ...]:
    """Every combination of the settings that were given; takes their words out of `chosen`."""
    from validate.latency import Variant
    from validate.latency.variant import DEVICE_RESIDENT, HOST_TO_HOST

    def switches(name: str) -> list[bool]:
        return [value == "on" for value in chosen.pop(name)] or [True]

    searches = [value.upper() for value in chosen.pop("conv_search")] or ["EXHAUSTIVE"]
    boundaries = [DEVICE_RESIDENT if value == "device" else HOST_TO_HOST for value in chosen.pop("boundary")]
    product = itertools.product(
        chosen.pop("litert") or ("interpreter",),
        switches("xnnpack"),
        chosen.pop("graphs") or ("all",),
        switches("spinning"),
        switches("tf32"),
        searches,
        boundaries or [HOST_TO_HOST],
    )
    return tuple(Variant(*values) for values in product)


_OPTIONS = (
    click.option("--litert", multiple=True, type=click.Choice(["interpreter", "compiled"]),
                 help="LiteRT's interface; repeat for both. [interpreter]"),
    click.option("--xnnpack", multiple=True, type=click.Choice(["on", "off"]), help="LiteRT with XNNPACK. [on]"),
    click.option("--graph", "graphs", multiple=True, type=click.Choice(["off", "basic", "extended", "all"]),
                 help="ONNX Runtime's graph level; repeat. [all]"),
    click.option("--spinning", multiple=True, type=click.Choice(["on", "off"]),
                 help="ONNX Runtime's idle threads. [on]"),
    click.option("--tf32", multiple=True, type=click.Choice(["on", "off"]), help="CUDA with TF32. [on]"),
    click.option("--conv-search", multiple=True, type=click.Choice(["exhaustive", "heuristic", "default"]),
                 help="CUDA's convolution search. [exhaustive]"),
    click.option("--boundary", multiple=True, type=click.Choice(["host", "device"]),
                 help="Arrays in and out, or data that stays on the device. [host]"),
    click.option("--tune", "tuning", is_flag=True, help="Find the fastest session settings for this machine."),
    click.option("--profile-ops", "profiling", is_flag=True, help="Where the time goes, by Keras layer and by kind."),
    click.option("--cold", "cold_starts", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
                 help="Fresh processes to start."),
)  # fmt: skip
