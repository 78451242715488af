"""`--labels FILE`: the names of an output's classes, one a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from converters.errors import RefusedError, UsageError
from converters.signature import Signature, TensorSpec

_MAX_BYTES = 16 << 20


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a text file, UTF-8, one a line, without the space around them.

    Raises:
        UsageError: the file is not there or cannot be read.
        RefusedError: it is not text, too large, or a line in it is empty or holds control characters.
    """
    try:
        content = path.read_bytes() if path.is_file() else None
    except OSError as cause:
        raise UsageError(
            f"{path} cannot be read ({cause.strerror}).", next_step="Check its permissions.", file=path
        ) from cause
    if content is None:
        raise UsageError(
            f"{path} is not there, or no file.", next_step="Give a text file with one label a line.", file=path
        )
    if len(content) > _MAX_BYTES:
        raise _unfit(path, f"has {len(content):,} bytes, which is no list of labels")
    try:
        lines = content.decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as cause:
        raise _unfit(path, f"is not UTF-8 at byte {cause.start}") from cause
    labels = tuple(line.strip() for line in lines)
    for number, label in enumerate(labels, 1):
        if not label or not label.isprintable():
            raise _unfit(path, f"has {'an empty line' if not label else 'control characters'} at line {number}")
    if not labels:
        raise _unfit(path, "is empty")
    return labels


def labels_of(words: Sequence[str], signature: Signature, activations: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The labels of each output that has some.

    Args:
        words: `FILE`, or `OUTPUT=FILE` where there are several outputs.

    Raises:
        UsageError: an output that is not there, or two files for one.
        RefusedError: a count that does not fit the output; what `read_labels` raises.
    """
    by_output: dict[str, tuple[str, ...]] = {}
    outputs = {spec.name: spec for spec in signature.outputs}
    for word in words:
        name, _, file = word.partition("=")
        named = bool(file) and name in outputs
        path = Path(file if named else word)
        labels = read_labels(path)
        spec = outputs[name] if named else _only(outputs, labels, path, activations)
        if spec.name in by_output:
            raise UsageError(f"There are two files of labels for `{spec.name}`.", next_step="Give one.", file=path)
        _fits(spec, labels, path, activations.get(spec.name))
        by_output[spec.name] = labels
    return by_output


def _only(
    outputs: Mapping[str, TensorSpec], labels: tuple[str, ...], path: Path, activations: Mapping[str, str]
) -> TensorSpec:
    """The output that a file without a name is for: the only one, else the only one that it fits."""
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    fitting = [spec for spec in outputs.values() if _count(spec, activations.get(spec.name), len(labels))]
    if len(fitting) != 1:
        raise UsageError(
            f"{path} has {len(labels)} labels, and {len(fitting) or 'none'} of the outputs {', '.join(outputs)} "
            f"{'have' if len(fitting) > 1 else 'has'} so many places.",
            next_step=f"Say which it is for, as --labels {next(iter(outputs))}={path}.",
            file=path,
        )
    return fitting[0]


def _count(spec: TensorSpec, activation: str | None, count: int) -> bool:
    classes = spec.shape[-1] if spec.shape else None
    return classes == count or (classes == 1 and activation == "sigmoid" and count == 2)


def _fits(spec: TensorSpec, labels: tuple[str, ...], path: Path, activation: str | None) -> None:
    if _count(spec, activation, len(labels)):
        return
    classes = spec.shape[-1] if spec.shape else "no"
    raise RefusedError(
        f"{path} has {len(labels)} labels, and the output `{spec.name}` has {classes} places.",
        next_step="Give one label a line, in the order of the output's places, and none too many.",
        file=path,
        step="contract",
    )


def _unfit(path: Path, what: str) -> RefusedError:
    return RefusedError(
        f"{path} {what}.", next_step="Give a UTF-8 text file with one label a line.", file=path, step="contract"
    )
