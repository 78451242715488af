"""`--profile`: the formats, precisions and batch that a kind of device takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from converters.errors import UsageError
from converters.formats import Format, Precision
from converters.options import Io
from converters.routes import ROUTES, Target
from exporter.options import DeviceKind, RunOptions


@dataclass(frozen=True)
class Profile:
    """A kind of device.

    Attributes:
        formats: that it runs.
        makes: precisions that are made for it unless others are asked for.
        serves: every precision that it can run.
        batch: the fixed batch size; None where the batch is dynamic, or what `--batch` says.
        why: why it serves these alone, as the end of a sentence.
    """

    formats: tuple[Format, ...]
    makes: tuple[Precision, ...]
    serves: frozenset[Precision]
    batch: int | None
    why: str


_FLOATS = (Precision.FLOAT32, Precision.FLOAT16, Precision.DYNAMIC_INT8)
PROFILES: dict[DeviceKind, Profile] = {
    DeviceKind.MOBILE: Profile(
        (Format.TFLITE, Format.ORT), _FLOATS, frozenset(Precision), 1,
        "phones run .tflite and .ort files",
    ),
    DeviceKind.SERVER: Profile(
        (Format.SAVEDMODEL, Format.ONNX), (Precision.FLOAT32,),
        frozenset({*_FLOATS, Precision.INT8}), None,
        "Triton and TensorFlow Serving run SavedModels and ONNX files, which have no 4-bit and no 16x8 kernels",
    ),
    DeviceKind.MICROCONTROLLER: Profile(
        (Format.TFLITE,), (Precision.INT8,), frozenset({Precision.INT8}), 1,
        "the kernels of TensorFlow Lite for Microcontrollers that boards have time for are those of full int8",
    ),
}  # fmt: skip


def profile_targets(options: RunOptions) -> set[Target]:
    """The targets that the profiles of a run make.

    Raises:
        UsageError: a precision, format or batch that no profile, or not that profile, can serve.
    """
    _check_batch(options)
    _check_formats(options)
    targets: set[Target] = set()
    words = {word for word in options.convert.precisions or () if isinstance(word, Precision)}
    for name in dict.fromkeys(options.ship.profiles):
        profile = PROFILES[name]
        precisions = words & profile.serves if words else _default_precisions(profile, options)
        formats = [f for f in profile.formats if not options.convert.formats or f in options.convert.formats]
        pairs = {
            route.target for route in ROUTES if route.target.format in formats and route.target.precision in precisions
        }
        if not pairs:
            raise _unserved([name], ", ".join(sorted(words)) or "these formats")
        targets |= pairs
    if unserved := words - {target.precision for target in targets}:
        raise _unserved(options.ship.profiles, ", ".join(sorted(unserved)))
    return targets


def _default_precisions(profile: Profile, options: RunOptions) -> set[Precision]:
    """The profile's own choice; int8 too where there is data to calibrate it with."""
    extra = {Precision.INT8} & profile.serves if options.quantize.calibration and profile.batch else set()
    return {*profile.makes, *extra}


def _check_batch(options: RunOptions) -> None:
    for name in options.ship.profiles:
        batch = PROFILES[name].batch
        if options.convert.batch is not None and batch not in (None, options.convert.batch):
            raise UsageError(
                f"--profile {name} makes files of batch {batch}, not of batch {options.convert.batch}: delegates and "
                "boards plan their memory for one sample.",
                next_step="Leave --batch out.",
            )


def _check_formats(options: RunOptions) -> None:
    able = {f.value for name in options.ship.profiles for f in PROFILES[name].formats}
    unable = [word for word in options.convert.formats or () if word not in able]
    if unable:
        names = " and ".join(options.ship.profiles)
        raise UsageError(
            f"--profile {names} makes no {', '.join(unable)}.", next_step=f"Choose from: {', '.join(sorted(able))}."
        )


def _unserved(kinds: Sequence[DeviceKind], what: str) -> UsageError:
    served = sorted({p.value for kind in kinds for p in PROFILES[kind].serves})
    why = "; ".join(PROFILES[kind].why for kind in kinds)
    return UsageError(
        f"--profile {' and '.join(kinds)} cannot serve {what}: {why}.",
        next_step=f"Leave -p and -f out, or choose from: {', '.join(served)}.",
    )


def batch_of(fmt: Format, options: RunOptions) -> int | None:
    """The fixed batch size of a format's files; None for a dynamic one."""
    fixed = [p.batch for p in (PROFILES[name] for name in options.ship.profiles) if fmt in p.formats and p.batch]
    return fixed[0] if fixed else options.convert.batch


def settled(options: RunOptions) -> RunOptions:
    """The options with what the profiles decide: a board alone takes and gives integers."""
    alone = options.ship.profiles == (DeviceKind.MICROCONTROLLER,) and not options.ship.bake_preprocess
    if options.quantize.io is None:
        return replace(options, quantize=replace(options.quantize, io=Io.INT8 if alone else Io.FLOAT))
    return options
