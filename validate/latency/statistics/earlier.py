"""A measurement against an earlier one from the same kind of host, with a gate for continuous integration."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import RefusedError, UsageError
from converters.shapes import shapes_text
from validate.latency.statistics.pairwise import CLAIM_BEYOND
from validate.latency.statistics.percentiles import Interval

DECISIVE = ("cpu", "cpu_flags", "cores", "cpu_quota", "machine", "system")
"""Facts of the host that must be alike: those that decide a latency and do not change with an upgrade of packages."""

_Z = 1.959964


@dataclass(frozen=True)
class Change:
    """One row, now / then.

    Attributes:
        verdict: `slower` or `faster` beyond the noise floor, `same`, `unknown` (an interval is missing, or it spans
            the floor), `new` or `gone`.
        fails: it is slower than the gate allows, and the whole interval says that it is slower at all.
    """

    row: str
    ratio: Interval | None
    verdict: str
    fails: bool = False

    def to_json(self) -> dict[str, Any]:
        ratio = self.ratio.to_json() if self.ratio else None
        return {"row": self.row, "ratio": ratio, "verdict": self.verdict, "fails": self.fails}


def read_result(path: Path) -> dict[str, Any]:
    """A document that `edgeport bench --json` printed, or a manifest. Raises UsageError, RefusedError."""
    if not path.is_file():
        raise UsageError(f"{path} is not there.", next_step="Give what `edgeport bench --json` wrote.", file=path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rows, host = document["timings"], document.get("host") or document["environment"]["host"]
        if not isinstance(rows, list) or not isinstance(host, dict):
            raise TypeError("timings or host is of the wrong type")
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RefusedError(
            f"{path} cannot be read as a bench result ({type(cause).__name__}: {cause}).",
            next_step="Give a file that `edgeport bench --json` wrote.",
            file=path,
        ) from cause
    controls = document.get("controls") or document.get("environment", {}).get("controls", [])
    return {"timings": rows, "host": host, "controls": controls}


def compare_results(
    old: Mapping[str, Any], new: Mapping[str, Any], max_slowdown: float | None, path: Path
) -> list[Change]:
    """Every row of the new result against the same row of the old one, and rows that are gone.

    The two were not interleaved: whatever changed on the machine in between is in the ratio. The noise floor is the
    larger one of their A/A controls.

    Raises:
        UsageError: the hosts are not alike.
    """
    refuse_unlike(old, new["host"], path)
    floor = max([CLAIM_BEYOND, *(c["noise_floor"] or math.inf for c in (*old["controls"], *new["controls"]))])
    before = {row_name(row): row for row in old["timings"] if row["status"] == "ok"}
    after = {row_name(row): row for row in new["timings"] if row["status"] == "ok"}
    changes = [_change(name, before.get(name), row, floor, max_slowdown) for name, row in after.items()]
    return changes + [Change(name, None, "gone") for name in before if name not in after]


def refuse_unlike(old: Mapping[str, Any], host: Mapping[str, Any], path: Path) -> None:
    """Raises UsageError where the earlier result is not from such a host."""
    unlike = [key for key in DECISIVE if old["host"].get(key) != host.get(key)]
    if unlike:
        key = unlike[0]
        raise UsageError(
            f"{path.name} is from another kind of host and cannot be compared: its {key} is "
            f"{_short(old['host'].get(key))}, here it is {_short(host.get(key))}.",
            next_step="Compare with a result from a machine of the same kind.",
            file=path,
        )


def row_name(row: Mapping[str, Any]) -> str:
    """A row's name across runs: the artifact's name without its folder, and its settings."""
    variant = f", {row['variant']}" if row.get("variant") else ""
    threads = f"{row['threads']} thread{'s' if row['threads'] != 1 else ''}"
    shapes = f", {shapes_text(row['shapes'])}" if row.get("shapes") else ""
    return f"{Path(row['artifact']).name} ({row['device']}, {threads}, batch {row['batch']}{variant}{shapes})"


def parse_share(text: str, option: str = "--max-slowdown") -> float:
    """`5%` or `0.05` as 0.05. Raises UsageError, which names the option."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"{option} {text} is no share.", next_step="Give for example 5% or 0.05.")
    return value


def _change(
    name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any], floor: float, max_slowdown: float | None
) -> Change:
    if old is None:
        return Change(name, None, "new")
    ratio = _ratio(old["p50_ms"], new["p50_ms"])
    if ratio.low is None or ratio.high is None:
        verdict = "unknown"
    elif ratio.low > 1 + floor:
        verdict = "slower"
    elif ratio.high < 1 / (1 + floor):
        verdict = "faster"
    else:
        verdict = "same" if 1 / (1 + floor) <= ratio.low and ratio.high <= 1 + floor else "unknown"
    over = max_slowdown is not None and ratio.value > 1 + max_slowdown
    return Change(name, ratio, verdict, over and (ratio.low is None or ratio.low > 1))


def _ratio(old: Mapping[str, Any], new: Mapping[str, Any]) -> Interval:
    """New / old of two independent estimates: their errors add in squares, on the scale of logarithms."""
    value = new["value"] / old["value"]
    if any(side[end] is None for side in (old, new) for end in ("low", "high")):
        return Interval(value)
    error = math.hypot(*(math.log(side["high"] / side["low"]) / (2 * _Z) for side in (old, new)))
    return Interval(value, value * math.exp(-_Z * error), value * math.exp(_Z * error))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
