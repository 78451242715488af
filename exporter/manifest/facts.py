"""What a manifest says beyond its rows, as plain dictionaries: the machine, its noise, recommendations, shipping.

Each may carry more keys than stand here, and lacks those that a run has nothing to say of.
"""

from __future__ import annotations

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

_open = with_config(ConfigDict(extra="allow", strict=True))


@_open
class OpeningFacts(TypedDict, total=False):
    """What the user added to a source. `unsafe`: code ran that is not Keras' own."""

    signature: str
    custom_objects: list[str]
    model_code: str
    replaced: list[str]
    allow_unsafe: bool
    inputs: list[str]
    outputs: list[str]
    unsafe: bool


@_open
class RangeFacts(TypedDict, total=False):
    """What an input's values lie between, where that is known from, and who tells it: `layer`, `convention`, `option`,
    `data`, `dtype`, or nobody (`assumed`); `whole` of ids."""

    low: float
    high: float
    source: str
    whole: bool
    origin: str


@_open
class ScalingFacts(TypedDict, total=False):
    """What a model does to an input: `scale` and `offset`, `mean` and `std`, or the convention of an application."""

    layer: str
    convention: str
    scale: float | list[float]
    offset: list[float]
    mean: list[float]
    std: list[float]
    colour_order: str


@_open
class InterfaceFacts(TypedDict, total=False):
    """What a model says of its inputs and outputs, by name."""

    scaling: dict[str, ScalingFacts]
    activations: dict[str, str]


@_open
class ErrorFacts(TypedDict, total=False):
    """An error's document."""

    code: int
    message: str
    next: str
    file: str | None
    step: str | None


@_open
class HostFacts(TypedDict, total=False):
    """The machine. `steal_share`: of the CPU's time, taken by other guests while timing."""

    cpu: str
    cpu_flags: list[str]
    cores: int
    logical_cpus: int
    cpu_quota: float | None
    governor: str | None
    memory_bytes: int | None
    system: str
    kernel: str
    machine: str
    python: str
    packages: dict[str, str]
    load_average: list[float]
    steal_share: float | None


@_open
class IntervalFacts(TypedDict, total=False):
    """A value with its 95 % confidence interval."""

    value: float
    low: float | None
    high: float | None


@_open
class NoiseFacts(TypedDict, total=False):
    """What disturbed the timing; `reasons` counts rounds."""

    rounds: int
    tainted_rounds: int
    reasons: dict[str, int]
    canary_worst_drift: float | None
    involuntary_switches: int
    major_faults: int
    gpu_sm_clock_mhz: list[float] | None
    clock_mhz: list[float] | None


@_open
class ControlFacts(TypedDict, total=False):
    """An A/A control: one artifact in two processes."""

    artifact: str
    device: str
    threads: int
    batch: int
    variant: str
    ratio: IntervalFacts
    noise_floor: float | None


@_open
class LayerFacts(TypedDict, total=False):
    """One layer of a localized artifact; see `validate.localize.results.LayerRow`."""

    name: str
    kind: str
    noise_ratio: float | None
    sqnr_db: float | None
    limit: float | None
    diverges: bool
    local_ratio: float | None
    observed: bool


@_open
class LocalizedFacts(TypedDict, total=False):
    """Where an artifact parts from its checkpoint; see `validate.localize.results.Localization`."""

    artifact: str
    first_divergent_layer: str | None
    suspects: list[str]
    samples: int
    saturating: bool
    bisected: bool
    layers: list[LayerFacts]
    notes: list[str]


@_open
class GroupFacts(TypedDict, total=False):
    """Operations of one kind or layer, in microseconds and multiply-adds of a run."""

    name: str
    us: float
    share: float | None
    macs: float | None
    operations: int


@_open
class ProfileFacts(TypedDict, total=False):
    """Where an artifact's time goes; `error` says why that is not known."""

    artifact: str
    device: str
    threads: int
    batch: int
    variant: str
    error: str
    runs: int
    layers: list[GroupFacts]
    kinds: list[GroupFacts]
    macs: float | None
    macs_per_s: float | None
    roof_macs_per_s: float | None
    share_of_peak: float | None


@_open
class PeakFacts(TypedDict, total=False):
    """What the machine can do at most with so many threads."""

    threads: int
    macs_per_s: float
    bytes_per_s: float


@_open
class EnvironmentFacts(TypedDict, total=False):
    """The machine and what was found out on it. `isolation`: what the workers ran in."""

    host: HostFacts
    isolation: str
    localized: list[LocalizedFacts]
    noise: NoiseFacts
    controls: list[ControlFacts]
    profiles: list[ProfileFacts]
    peaks: list[PeakFacts]


@_open
class TunedFacts(TypedDict, total=False):
    """The fastest settings of an artifact; `gain` is over the default's speed, `code` sets them."""

    artifact: str
    threads: int
    session: dict[str, str | bool]
    label: str
    p50_ms: float
    gain: float
    sure: bool
    code: str


@_open
class MissFacts(TypedDict, total=False):
    """A limit that was not kept to, as in `passing`."""

    subject: str
    gate: str
    limit: float | None
    value: float | None
    sentence: str


@_open
class RecommendedFacts(TypedDict, total=False):
    """What to ship, by artifact path: see `exporter.run.recommend`. `dropped`: what `-p auto` did not keep, and why."""

    smallest: str
    most_accurate: str
    fastest: dict[str, str]
    objective: str
    choice: dict[str, str]
    setting: dict[str, str]
    pareto: list[str]
    limits: dict[str, float]
    unmet: str
    misses: list[MissFacts]
    dropped: dict[str, str]
    smallest_note: str
    unproven: list[str]
    next: str
    settings: dict[str, TunedFacts]


@_open
class UsabilityFacts(TypedDict, total=False):
    """What a delegate takes of an artifact."""

    artifact: str
    delegate: str
    basis: str
    verdict: str
    operations: int
    taken: int
    parts: int
    reason: str
    not_taken: list[dict[str, str]]
    caveats: list[str]


@_open
class MobileFacts(TypedDict, total=False):
    usability: list[UsabilityFacts]


@_open
class ServedFacts(TypedDict, total=False):
    """A model's folder for a server."""

    name: str
    artifact: str
    version: int
    max_batch_size: int


@_open
class ServerFacts(TypedDict, total=False):
    triton: list[ServedFacts]
    tf_serving: list[ServedFacts]


@_open
class ArenaFacts(TypedDict, total=False):
    """Bytes of a tensor arena: those to give it, and, by `basis`, what was `measured` (see
    `validate.runtimes.tflm_arena.Arena`) or `estimated` (see `exporter.shipping.arena.Estimate`)."""

    bytes: int
    basis: str
    least_bytes: int
    recorded_bytes: int
    head_bytes: int
    tail_bytes: int
    runtime_version: str
    planned_bytes: int
    planning_bytes: int
    overhead_bytes: int
    at_least_bytes: int


@_open
class BoardFacts(TypedDict, total=False):
    """An artifact as C arrays."""

    artifact: str
    operators: list[str]
    missing_kernels: list[str]
    model_bytes: int
    arena: ArenaFacts


@_open
class ShippingFacts(TypedDict, total=False):
    """What lies in the profiles' folders. `left_out`: artifacts that disagree with the checkpoint."""

    mobile: MobileFacts
    server: ServerFacts
    microcontroller: list[BoardFacts]
    left_out: list[str]
