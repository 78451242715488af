"""Arm's Ethos-U: what its compiler, Vela, makes of an int8 `.tflite` file, and what it estimates. Nothing is run.

The file is judged before; after Vela its inputs and outputs are held against what they were.
"""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from converters.errors import StepError
from converters.isolation import Channel, Message
from converters.readers.tflite_file import TfliteFacts, read_tflite
from converters.readers.tflite_quantization import read_end_quantization
from validate.runtimes.devices import Device

ACCELERATORS: Mapping[str, str] = {
    "ethos-u55": "ethos-u55-128",
    "ethos-u65": "ethos-u65-256",
    "ethos-u85": "ethos-u85-256",
}
"""By target, the configuration that is compiled for: so many multiply-adds a cycle."""

_NPU = "ethos-u"
"""The custom operator that stands in Vela's file for a part that the NPU runs."""
_LOOPS = {"WHILE", "IF", "CALL"}
_REASON = re.compile(r"operator: (\w+), ofm: .*\nReason: (.*?)(?: \([^()]*\))?$", re.MULTILINE)
"""Vela ends a reason with a tensor's name where it is the tensor's."""


@dataclass(frozen=True)
class Estimate:
    """What Vela says of a file. Estimated, not measured; the time of what stays on the CPU is not in it.

    Attributes:
        compiler: with its version.
        accelerator: that it was compiled for; `system` and `memory` are Vela's configuration and memory mode.
        ms: of one inference. Of a file with a loop, each operator is counted once.
        sram_bytes, dram_bytes, flash_bytes: that the NPU's part takes.
        operators: of the file.
        parts: in how many parts the NPU runs those that it takes.
        cpu: by kind, how many operators of Vela's file are left to the CPU.
        reasons: why, by kind, as far as Vela tells.
        loops: there is a loop or a branch.
    """

    compiler: str
    accelerator: str
    system: str
    memory: str
    clock_mhz: float
    ms: float
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    operators: int
    parts: int
    cpu: Mapping[str, int]
    reasons: Mapping[str, str]
    loops: bool = False

    @property
    def npu(self) -> int:
        """How many of the file's operators are not left to the CPU."""
        return max(0, self.operators - sum(self.cpu.values()))

    @property
    def left(self) -> str:
        """What is left to the CPU, with the reasons."""
        reasons = {kind: f" ({self.reasons[kind]})" if kind in self.reasons else "" for kind in self.cpu}
        return ", ".join(f"{count} {kind}{reasons[kind]}" for kind, count in self.cpu.items())

    @property
    def sentence(self) -> str:
        """All of it; that it is estimated first."""
        once = ", what is in a loop once" if self.loops else ""
        left = f"; on the CPU, whose time is not in it: {self.left}" if self.cpu else ""
        return (
            f"Estimated by {self.compiler}, not measured: {self.ms:.3g} ms{once} on {self.accelerator} at "
            f"{self.clock_mhz:.0f} MHz ({self.system}, {self.memory}); {self.npu} of {self.operators} operators on the "
            f"NPU in {self.parts} part{'s' if self.parts != 1 else ''}; {self.memory_words}{left}."
        )

    @property
    def memory_words(self) -> str:
        """The memory that the NPU's part takes, by its kind."""
        sizes = {"SRAM": self.sram_bytes, "DRAM": self.dram_bytes, "flash": self.flash_bytes}
        return ", ".join(f"{size / 1024:.1f} KiB of {kind}" for kind, size in sizes.items() if size)


def estimate(request: Message, _channel: Channel) -> Message:
    """Compiles the file at `path` for `device`: the fields of an `Estimate`, or why `none`. A worker's step.

    Raises:
        RefusedError: the file is damaged.
        StepError: Vela does not compile it, or makes one of other inputs or outputs.
    """
    path = Path(request["path"])
    accelerator = ACCELERATORS[Device(request["device"]).kind]
    before = read_tflite(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = _compiled(path, accelerator, folder)
        (made,) = folder.glob("*_vela.tflite")
        after = read_tflite(made)
        _same_ends(path, before, made, after)
        (table,) = folder.glob("*_summary_*.csv")
        figures = next(csv.DictReader(table.read_text().splitlines()))
    cpu = Counter({kind: count for kind, count in after.ops.items() if kind != _NPU})
    reasons = {kind: " ".join(reason.split()) for kind, reason in reversed(_REASON.findall(said))}
    if not after.ops[_NPU]:
        told = "; ".join(sorted({*reasons.values()})) or "it gives no reason"
        return {"none": f"All of it stays on the CPU: Vela gives no operator to the NPU ({told})."}
    return {
        "compiler": f"Vela {version('ethos-u-vela')}",
        "accelerator": accelerator,
        "system": figures["system_config"],
        "memory": figures["memory_mode"],
        "clock_mhz": float(figures["core_clock"]) / 1e6,
        "ms": float(figures["inference_time"]) * 1e3,
        "sram_bytes": _bytes(figures["sram_memory_used"]),
        "dram_bytes": _bytes(figures["dram_memory_used"]),
        "flash_bytes": _bytes(figures["on_chip_flash_memory_used"]) + _bytes(figures["off_chip_flash_memory_used"]),
        "operators": before.ops.total(),
        "parts": after.ops[_NPU],
        "cpu": dict(cpu.most_common()),
        "reasons": {kind: reasons[kind] for kind in cpu if kind in reasons},
        "loops": bool(_LOOPS & before.ops.keys()),
    }


def _bytes(kibibytes: str) -> int:
    return round(float(kibibytes) * 1024)


def _compiled(path: Path, accelerator: str, folder: Path) -> str:
    """What Vela says while it compiles into the folder: in a process of its own, which hostile bytes may end."""
    vela = (sys.executable, "-I", "-m", "ethosu.vela", "--show-cpu-operations")
    done = subprocess.run(
        [*vela, str(path), "--accelerator-config", accelerator, "--output-dir", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    if done.returncode:
        ended = f" ({signal.Signals(-done.returncode).name})" if done.returncode < 0 else ""
        lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        words = " ".join(lines[-1].split())[:300] if lines else "it says nothing"
        raise StepError(
            f"{path.name} is not compiled by Vela{ended}: {words}",
            next_step="Ship another artifact of the model there.",
            file=path,
        )
    return done.stdout + done.stderr


def _same_ends(path: Path, before: TfliteFacts, made: Path, after: TfliteFacts) -> None:
    """Raises StepError where Vela's file has other inputs or outputs than the one that was judged."""
    for kind, old, new in (("inputs", before.inputs, after.inputs), ("outputs", before.outputs, after.outputs)):
        if [(t.shape, t.dtype) for t in old] != [(t.shape, t.dtype) for t in new]:
            raise _other(path, f"{kind}: {_told(new)} instead of {_told(old)}")
    if before.signatures and (old_scales := read_end_quantization(path)) != (scales := read_end_quantization(made)):
        raise _other(path, f"scales: {scales} instead of {old_scales}")


def _told(tensors: tuple[object, ...]) -> str:
    return ", ".join(map(str, tensors))


def _other(path: Path, what: str) -> StepError:
    return StepError(
        f"{path.name} is another after Vela: it has other {what}.",
        next_step="Ship another artifact of the model there, and report it to Vela's makers.",
        file=path,
    )
