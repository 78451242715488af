"""The architectures that can be built by name: one visible table. Listing it imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, cast

from converters.errors import UsageError
from exporter.models.settings import Setting, Value, parse_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

Shape = tuple[int, int, int]

_WARM = Setting("warm", True, "batch-norm statistics from one seeded forward pass when there are no weights")
_RATIO = Setting("reduction_ratio", 16, "squeeze-excite bottleneck C / r", low=1, high=65536)


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        input_shape: default (height, width, channels).
        parameters: count with the default shape, classes and settings; tests hold it.
        source: the paper, or where the network is from.
        builder: `module:function`, called with a `Plan`.
        classes: default number of classes; None for a feature module without a head.
        minimum: the smallest height and width it can take.
        value_range: the raw pixel values the input expects.
        imagenet: whether keras.applications publishes ImageNet weights for it.
    """

    name: str
    input_shape: Shape
    parameters: int
    source: str
    builder: str
    classes: int | None = None
    minimum: int = 1
    value_range: tuple[float, float] = (0.0, 255.0)
    imagenet: bool = False
    own_settings: tuple[Setting, ...] = ()

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Its own settings and those that every architecture has."""
        return (*self.own_settings, _WARM)


@dataclass(frozen=True)
class Plan:
    """An architecture with every choice made: what a builder is given."""

    architecture: Architecture
    input_shape: Shape
    classes: int
    settings: Mapping[str, Value] = field(default_factory=dict)
    pretrained: bool = False

    @property
    def name(self) -> str:
        return self.architecture.name

    def build(self) -> keras.Model:
        """Calls the builder: an uncompiled Keras model."""
        module, _, function = self.architecture.builder.partition(":")
        builder = cast("Callable[[Plan], keras.Model]", getattr(import_module(module), function))
        return builder(self)


_NETWORKS = "exporter.models.networks"
_CLASSIC = "exporter.models.classics:classic"
_GOOGLENET = "Szegedy et al. 2014, arXiv:1409.4842"
_SENET = "Hu et al. 2017, arXiv:1709.01507"


def _classic(
    name: str, parameters: int, source: str, *, size: int = 224, minimum: int = 32, own: tuple[Setting, ...] = ()
) -> Architecture:
    return Architecture(
        name,
        (size, size, 3),
        parameters,
        source,
        _CLASSIC,
        classes=1000,
        minimum=minimum,
        imagenet=True,
        own_settings=own,
    )


_ROWS = (
    Architecture(
        "inception_module", (256, 256, 3), 140_160, _GOOGLENET, f"{_NETWORKS}:inception_module", value_range=(0.0, 1.0),
        own_settings=(
            Setting("width", 64, "channels of each tower", low=1, high=4096),
            Setting("axis", -1, "concatenation: -1 channels, 1 height", choices=(-1, 1)),
        ),
    ),
    Architecture(
        "residual_module", (256, 256, 3), 84, "He et al. 2015, arXiv:1512.03385", f"{_NETWORKS}:residual_module",
        value_range=(0.0, 1.0),
    ),
    Architecture(
        "se_inception_v3", (224, 224, 3), 22_364_081, f"{_SENET}; Szegedy et al. 2015, arXiv:1512.00567",
        f"{_NETWORKS}:se_inception_v3", classes=17, minimum=75, imagenet=True,
        own_settings=(_RATIO, Setting("dropout", 0.6, "rate before the classifier", low=0, high=0.99)),
    ),
    Architecture(
        "se_googlenet", (224, 224, 3), 7_500_495, f"{_SENET}; {_GOOGLENET}", f"{_NETWORKS}:se_googlenet", classes=1000,
        minimum=17, own_settings=(_RATIO, Setting("dropout", 0.4, "rate before the classifier", low=0, high=0.99)),
    ),
    Architecture(
        "digits_se_inception", (8, 8, 1), 104_745, f"{_SENET}; {_GOOGLENET}; He et al. 2015, arXiv:1512.03385",
        f"{_NETWORKS}:digits_se_inception", classes=10, minimum=2, value_range=(0.0, 16.0),
        own_settings=(Setting("reduction_ratio", 8, "squeeze-excite bottleneck C / r", low=1, high=65536),),
    ),
    _classic("inception_v3", 23_851_784, "Szegedy et al. 2015, arXiv:1512.00567", size=299, minimum=75),
    _classic("resnet50_v2", 25_613_800, "He et al. 2016, arXiv:1603.05027"),
    _classic("densenet121", 8_062_504, "Huang et al. 2016, arXiv:1608.06993"),
    _classic("xception", 22_910_480, "Chollet 2016, arXiv:1610.02357", size=299, minimum=71),
    _classic(
        "mobilenet_v2", 3_538_984, "Sandler et al. 2018, arXiv:1801.04381",
        own=(Setting("alpha", 1.0, "width multiplier", choices=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),),
    ),
    _classic("mobilenet_v3_small", 2_554_968, "Howard et al. 2019, arXiv:1905.02244"),
    _classic("efficientnet_b0", 5_330_571, "Tan & Le 2019, arXiv:1905.11946"),
    _classic("efficientnet_v2_b0", 7_200_312, "Tan & Le 2021, arXiv:2104.00298"),
)  # fmt: skip

ARCHITECTURES: dict[str, Architecture] = {row.name: row for row in _ROWS}


def find_architecture(name: str) -> Architecture:
    """The row of that name. Raises UsageError with the nearest name and the list."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    plain = {key.replace("_", ""): key for key in ARCHITECTURES}
    near = get_close_matches(name.lower().replace("_", "").replace("-", ""), plain, n=1)
    raise UsageError(
        f"There is no architecture `{name}`.",
        next_step=(f"Did you mean `{plain[near[0]]}`? " if near else "") + f"There are: {', '.join(ARCHITECTURES)}.",
    )


def plan_for(
    name: str,
    input_shape: Shape | None = None,
    classes: int | None = None,
    settings: Mapping[str, str] | None = None,
    *,
    pretrained: bool = False,
) -> Plan:
    """Every choice made and checked, before any framework is loaded.

    Raises:
        UsageError: an unknown name or setting, a shape or class count that the architecture cannot have.
    """
    row = find_architecture(name)
    values = parse_settings(settings or {}, row.settings, architecture=name)
    shape = input_shape or row.input_shape
    _check_shape(row, shape)
    if classes is not None and row.classes is None:
        raise UsageError(f"{name} has no classifier, so it has no classes.", next_step="Leave --classes out.")
    if classes is not None and not 1 <= classes <= 1_000_000:
        raise UsageError(f"{name} cannot have {classes} classes.", next_step="Give --classes a number from 1.")
    plan = Plan(row, shape, classes or row.classes or 0, values, pretrained)
    if pretrained:
        _check_pretrained(plan)
    return plan


def _check_shape(row: Architecture, shape: Shape) -> None:
    height, width, channels = shape
    if min(height, width) < row.minimum or channels < 1 or max(shape) > 65536:
        raise UsageError(
            f"{row.name} cannot take an input of {height}x{width}x{channels}.",
            next_step=f"Give --input-shape H,W,C with H and W from {row.minimum} and C from 1, at most 65536 each.",
        )


def _check_pretrained(plan: Plan) -> None:
    row = plan.architecture
    if not row.imagenet:
        there_are = ", ".join(name for name, other in ARCHITECTURES.items() if other.imagenet)
        raise UsageError(f"There are no ImageNet weights for {row.name}.", next_step=f"They exist for: {there_are}.")
    if plan.input_shape[2] != 3:
        raise UsageError(
            f"ImageNet weights need 3 channels, not {plan.input_shape[2]}.", next_step="Give --input-shape H,W,3."
        )
    if row.builder == _CLASSIC and plan.classes == row.classes and plan.input_shape != row.input_shape:
        height, width, _ = row.input_shape
        raise UsageError(
            f"The ImageNet classifier of {row.name} takes {height}x{width} images only.",
            next_step="Leave --input-shape out, or give --classes N for a new classifier on the pretrained body.",
        )
