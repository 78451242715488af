"""What the doctor says of the machine itself."""

from __future__ import annotations

import pytest

from exporter.doctor.machine import machine_facts, machine_problems, wheel_problems

FINE = {
    "cpu_quota": None,
    "cores": 2,
    "governor": "performance",
    "load_average": [0.1],
    "cpu_flags": ["avx2"],
    "gpu": {},
}


@pytest.mark.parametrize(
    ("fact", "value", "word"),
    [
        ("cpu_quota", 0.5, "throttled"),
        ("governor", "powersave", "powersave"),
        ("load_average", [3.0], "busy"),
        ("cpu_flags", ["sse4_1"], "AVX2"),
        ("gpu", {"sm_clock_mhz": 1, "other_processes": 2}, "other processes"),
    ],
)
def test_each_hindrance_has_a_mend(fact: str, value: object, word: str) -> None:
    assert not list(machine_problems(FINE))
    ((what, mend),) = machine_problems(FINE | {fact: value})
    assert word in what
    assert mend


def test_wheels_that_overwrite_each_other() -> None:
    ((what, mend),) = wheel_problems({"nvidia-cudnn-cu12": "9.1", "nvidia-cudnn-cu13": "9.2"}.get)
    assert "CUDA 12" in what
    assert "uninstall" in mend
    assert not list(wheel_problems({"tensorflow": "2.21"}.get))


def test_the_facts_of_this_machine() -> None:
    facts = machine_facts()
    assert facts["cores"] >= 1
    assert facts["cpu_flags"]
    assert set(facts["tools"]) == {"ssh", "adb", "nvidia-smi"}
    assert "missing" in facts["gpu"] or facts["gpu"]["driver"]
