"""Energy counters of the processor: Running Average Power Limit, as the kernel's powercap shows it.

See Documentation/power/powercap/powercap.rst: `energy_uj` counts microjoules and begins again after
`max_energy_range_uj`. Counted is the whole package with its memory, whatever runs on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converters.errors import StepError

_ROOT = Path("/sys/class/powercap")
_COUNTED = ("package", "dram")
"""Names of the domains that are added up; the others (core, uncore, psys) are parts of them, or more than them."""


@dataclass(frozen=True)
class _Domain:
    counter: Path
    range_uj: int

    def read_uj(self) -> int:
        return int(self.counter.read_text())


@dataclass(frozen=True)
class EnergyMeter:
    """The counters of this machine."""

    domains: tuple[_Domain, ...]

    @classmethod
    def of(cls, root: Path = _ROOT) -> EnergyMeter:
        """Raises StepError: there are no counters, or they may not be read."""
        domains = []
        for folder in sorted(root.glob("intel-rapl:*")):  # AMD's processors have the same name there
            try:
                if not (folder / "name").read_text().startswith(_COUNTED):
                    continue
                domain = _Domain(folder / "energy_uj", int((folder / "max_energy_range_uj").read_text()))
                domain.read_uj()
            except PermissionError as cause:
                raise StepError(
                    f"Energy is unavailable: {cause.filename} may be read by root alone.",
                    next_step=f"As root: chmod a+r {cause.filename}",
                    step="bench",
                ) from cause
            except (OSError, ValueError):
                continue
            domains.append(domain)
        if not domains:
            raise StepError(
                f"Energy is unavailable: there is no counter below {root}.",
                next_step="Measure on a machine whose processor has RAPL counters and that is no virtual one.",
                step="bench",
            )
        return cls(tuple(domains))

    def read(self) -> tuple[int, ...]:
        """The counters now, in microjoules."""
        return tuple(domain.read_uj() for domain in self.domains)

    def joules_since(self, before: tuple[int, ...]) -> float:
        """Joules since a reading, that the counters began again in between included (once: they take minutes)."""
        used = 0
        for domain, then, now in zip(self.domains, before, self.read(), strict=True):
            used += now - then if now >= then else now + domain.range_uj - then
        return used / 1e6
