"""Structure before numbers: names, order, shapes and dtypes, compared exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converters.signature import BATCH, Signature, TensorSpec


def compare_structure(
    reference: Signature, candidate: Signature, *, ordered: bool = True, fixed_batch: int | None = None
) -> tuple[list[str], list[str]]:
    """Problems of the candidate's signature, and notes that are merely worth saying; both in sentences.

    Args:
        ordered: False where the candidate's file format keeps no order.
        fixed_batch: a batch size that stands for `"batch"`, besides 1: files of recurrent models have one.
    """
    problems: list[str] = []
    notes: list[str] = []
    sides = (("input", reference.inputs, candidate.inputs), ("output", reference.outputs, candidate.outputs))
    settled = not any(isinstance(size, str) and size != BATCH for spec in reference.inputs for size in spec.shape)
    for kind, expected, got in sides:
        problems += _names(kind, expected, got, ordered)
        candidate_specs = {spec.name: spec for spec in got}
        for spec in expected:
            if spec.name in candidate_specs:
                other = candidate_specs[spec.name]
                known = _as_known(spec, other) if kind == "output" and settled else spec
                _tensor(kind, known, other, fixed_batch, problems, notes)
    return problems, list(dict.fromkeys(notes))


def _names(kind: str, expected: Sequence[TensorSpec], got: Sequence[TensorSpec], ordered: bool) -> list[str]:
    expected_names, present_names = [s.name for s in expected], [s.name for s in got]
    problems = [f"the {kind} {name} is missing" for name in expected_names if name not in present_names]
    problems += [f"the {kind} {name} is not in the reference" for name in present_names if name not in expected_names]
    if ordered and not problems and expected_names != present_names:
        problems.append(
            f"the {kind}s come in the order {', '.join(present_names)} instead of {', '.join(expected_names)}"
        )
    return problems


def _tensor(
    kind: str, expected: TensorSpec, got: TensorSpec, fixed_batch: int | None, problems: list[str], notes: list[str]
) -> None:
    if expected.dtype != got.dtype:
        problems.append(f"the {kind} {expected.name} is {got.dtype} instead of {expected.dtype}")
    fixed = expected.shape[:1] == (BATCH,) and got.shape[:1] in {(1,), (fixed_batch,)}
    if fixed:
        notes.append(f"the batch is fixed at {got.shape[0]}")
    start = 1 if fixed else 0
    shapes_match = len(expected.shape) == len(got.shape) and all(
        _same_size(a, b) for a, b in zip(expected.shape[start:], got.shape[start:], strict=True)
    )
    if not shapes_match:
        problems.append(f"the {kind} {expected.name} has shape {_shape_text(got)} instead of {_shape_text(expected)}")


def _as_known(expected: TensorSpec, got: TensorSpec) -> TensorSpec:
    """The expected output with the sizes that the candidate knows and the reference does not tell.

    Where every input has one size an output has one too, and its values show whether it is this.
    """
    if len(expected.shape) != len(got.shape):
        return expected
    sizes = [b if isinstance(a, str) and a != BATCH else a for a, b in zip(expected.shape, got.shape, strict=True)]
    return replace(expected, shape=tuple(sizes))


def _same_size(expected: int | str, got: int | str) -> bool:
    """Equal sizes, or both unknown; the batch is not like other unknown dimensions."""
    if isinstance(expected, str) and isinstance(got, str):
        return (expected == BATCH) == (got == BATCH)
    return expected == got


def _shape_text(spec: TensorSpec) -> str:
    return f"({', '.join(str(d) for d in spec.shape)})"
