"""`--profile`: the formats, precisions and batch that a kind of device takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from converters.errors import UsageError
from converters.formats import Format, Precision
from converters.routes import ROUTES, Target
from exporter.options import RunOptions

_AUTO = "auto"


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
PROFILES: dict[str, Profile] = {
    "mobile": Profile(
        (Format.TFLITE, Format.ORT), _FLOATS, frozenset(Precision), 1,
        "phones run .tflite and .ort files",
    ),
    "server": Profile(
        (Format.SAVEDMODEL, Format.ONNX), (Precision.FLOAT32,),
        frozenset({*_FLOATS, Precision.INT8}), None,
        "Triton and TensorFlow Serving run SavedModels and ONNX files, which have no 4-bit and no 16x8 kernels",
    ),
    "microcontroller": Profile(
        (Format.TFLITE,), (Precision.INT8,), frozenset({Precision.INT8}), 1,
        "the kernels of TensorFlow Lite for Microcontrollers that boards have time for are those of full int8",
    ),
}  # fmt: skip


def profile_targets(options: RunOptions) -> set[Target]:
    """What the profiles of a run make.

    Raises:
        UsageError: a precision, format or batch that no profile, or not that profile, can serve.
    """
    _check_batch(options)
    _check_formats(options)
    found: set[Target] = set()
    words = {_precision(word) for word in options.precisions if word != _AUTO}
    for name in dict.fromkeys(options.profiles):
        profile = PROFILES[name]
        wanted = words & profile.serves if words else _made(profile, options)
        formats = [f for f in profile.formats if not options.formats or f.value in options.formats]
        mine = {route.target for route in ROUTES if route.target.format in formats and route.target.precision in wanted}
        if not mine:
            raise _unserved(name, ", ".join(sorted(words)) or "these formats")
        found |= mine
    if left := words - {target.precision for target in found}:
        raise _unserved(" and ".join(options.profiles), ", ".join(sorted(left)))
    return found


def _precision(word: str) -> Precision:
    if word not in set(Precision):
        raise UsageError(f"There is no precision `{word}`.", next_step=f"Choose from: {', '.join(Precision)}.")
    return Precision(word)


def _made(profile: Profile, options: RunOptions) -> set[Precision]:
    """The profile's own choice; int8 too where there is data to calibrate it with."""
    extra = {Precision.INT8} & profile.serves if options.calibration and profile.batch else set()
    return {*profile.makes, *extra}


def _check_batch(options: RunOptions) -> None:
    for name in options.profiles:
        batch = PROFILES[name].batch
        if options.batch is not None and batch not in (None, options.batch):
            raise UsageError(
                f"--profile {name} makes files of batch {batch}, not of batch {options.batch}: delegates and boards "
                "plan their memory for one sample.",
                next_step="Leave --batch out.",
            )


def _check_formats(options: RunOptions) -> None:
    able = {f.value for name in options.profiles for f in PROFILES[name].formats}
    unable = [word for word in options.formats if word not in able]
    if unable:
        names = " and ".join(options.profiles)
        raise UsageError(
            f"--profile {names} makes no {', '.join(unable)}.", next_step=f"Choose from: {', '.join(sorted(able))}."
        )


def _unserved(name: str, what: str) -> UsageError:
    served = sorted({p.value for word in name.split(" and ") for p in PROFILES[word].serves})
    why = "; ".join(PROFILES[word].why for word in name.split(" and "))
    return UsageError(
        f"--profile {name} cannot serve {what}: {why}.",
        next_step=f"Leave -p and -f out, or choose from: {', '.join(served)}.",
    )


def batch_of(fmt: Format, options: RunOptions) -> int | None:
    """The fixed batch size of a format's files; None for a dynamic one."""
    fixed = [p.batch for p in (PROFILES[name] for name in options.profiles) if fmt in p.formats and p.batch]
    return fixed[0] if fixed else options.batch


def settled(options: RunOptions) -> RunOptions:
    """The options with what the profiles decide: a board alone takes and gives integers."""
    alone = options.profiles == ("microcontroller",) and not options.bake_preprocess
    if alone and options.io == "float":
        return replace(options, io="int8")
    return options
