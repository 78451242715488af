"""Structure before numbers: names, order, shapes and dtypes, compared exactly."""

from __future__ import annotations

from collections.abc import Sequence

from converters.signature import BATCH, Signature, TensorSpec


def compare_structure(
    reference: Signature, candidate: Signature, *, ordered: bool = True, fixed_batch: int | None = None
) -> tuple[list[str], list[str]]:
    """What is wrong with the candidate's signature, and what is merely worth saying; both in sentences.

    Args:
        ordered: False where the candidate's file format keeps no order.
        fixed_batch: a batch size that stands for `"batch"`, besides 1: files of recurrent models have one.
    """
    problems: list[str] = []
    notes: list[str] = []
    sides = (("input", reference.inputs, candidate.inputs), ("output", reference.outputs, candidate.outputs))
    for kind, wanted, got in sides:
        problems += _names(kind, wanted, got, ordered)
        found = {spec.name: spec for spec in got}
        for spec in wanted:
            if spec.name in found:
                _tensor(kind, spec, found[spec.name], fixed_batch, problems, notes)
    return problems, list(dict.fromkeys(notes))


def _names(kind: str, wanted: Sequence[TensorSpec], got: Sequence[TensorSpec], ordered: bool) -> list[str]:
    expected, present = [s.name for s in wanted], [s.name for s in got]
    problems = [f"the {kind} {name} is missing" for name in expected if name not in present]
    problems += [f"the {kind} {name} is not in the reference" for name in present if name not in expected]
    if ordered and not problems and expected != present:
        problems.append(f"the {kind}s come in the order {', '.join(present)} instead of {', '.join(expected)}")
    return problems


def _tensor(
    kind: str, wanted: TensorSpec, got: TensorSpec, fixed_batch: int | None, problems: list[str], notes: list[str]
) -> None:
    if wanted.dtype != got.dtype:
        problems.append(f"the {kind} {wanted.name} is {got.dtype} instead of {wanted.dtype}")
    fixed = wanted.shape[:1] == (BATCH,) and got.shape[:1] in {(1,), (fixed_batch,)}
    if fixed:
        notes.append(f"the batch is fixed at {got.shape[0]}")
    start = 1 if fixed else 0
    same = len(wanted.shape) == len(got.shape) and all(
        _same(a, b) for a, b in zip(wanted.shape[start:], got.shape[start:], strict=True)
    )
    if not same:
        problems.append(f"the {kind} {wanted.name} has shape {_shown(got)} instead of {_shown(wanted)}")


def _same(wanted: int | str, got: int | str) -> bool:
    """Equal sizes, or both unknown; the batch is no other unknown dimension."""
    if isinstance(wanted, str) and isinstance(got, str):
        return (wanted == BATCH) == (got == BATCH)
    return wanted == got


def _shown(spec: TensorSpec) -> str:
    return f"({', '.join(str(d) for d in spec.shape)})"
