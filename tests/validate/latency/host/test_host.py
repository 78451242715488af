"""Host facts: what decides a latency, and nothing that tells who or where."""

from __future__ import annotations

import getpass
import json
import os
import platform

import pytest

from validate.latency.host import facts as host


def test_facts_say_what_decides_and_not_who() -> None:
    facts = host.host_facts()
    text = json.dumps(facts)
    assert facts["cpu"]
    assert 1 <= facts["cores"] <= facts["logical_cpus"] <= (os.cpu_count() or 1)
    assert facts["memory_bytes"] > 1 << 20
    assert facts["packages"]["numpy"]
    assert facts["python"] == platform.python_version()
    names = [platform.node(), os.environ.get("HOME", "")]
    assert not any(len(name) > 4 and name in text for name in names)
    assert not {getpass.getuser(), platform.node()} & {str(value) for value in facts.values()}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_cores_are_those_given_to_us() -> None:
    given = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(given)})
        assert host.physical_cores() == 1
    finally:
        os.sched_setaffinity(0, given)


@pytest.mark.parametrize(("quota", "cores"), [(1.5, 1), (0.5, 1), (None, 2), (8.0, 2)])
def test_a_quota_caps_the_cores(quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_quota", lambda: quota)
    monkeypatch.setattr(host, "_affinity", lambda: {0, 1})
    monkeypatch.setattr(host, "_siblings", lambda cpu: str(cpu))
    assert host.physical_cores() == cores


def test_hyperthreads_are_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_quota", lambda: None)
    monkeypatch.setattr(host, "_affinity", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(host, "_siblings", lambda cpu: f"{cpu % 2},{cpu % 2 + 2}")
    assert host.physical_cores() == 2


def test_steal_is_a_share() -> None:
    share = host.steal_share((0, 0))
    assert share is None or 0 <= share <= 1
    assert host.steal_share(host.stolen_ticks()) is None or share is not None
