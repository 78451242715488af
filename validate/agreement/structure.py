"""Structure before numbers: names, order, shapes and dtypes, compared exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converters.signature import BATCH, Signature, TensorSpec


def compare_structure(
    reference: Signature,
    candidate: Signature,
    *,
    ordered: bool = True,
    fixed_batch: int | None = None,
    theirs: bool = False,
) -> tuple[list[str], list[str]]:
    """Problems of the candidate's signature, and notes that are merely worth saying; both in sentences.

    An output's size that Keras does not know though every input's is known (of some layers) is told by the values: a
    file may state it.

    Args:
        ordered: False where the candidate's file format keeps no order.
        fixed_batch: a batch size that stands for `"batch"`, besides 1: files of recurrent models have one.
        theirs: the file may be another converter's, which may leave an output's sizes open, or state one that the
            reference leaves open: the values tell them.
    """
    problems: list[str] = []
    notes: list[str] = []
    outputs, got_outputs = reference.outputs, candidate.outputs
    if theirs or not any(spec.is_dynamic for spec in reference.inputs):
        outputs = _with_stated_sizes(outputs, got_outputs)
    if theirs:
        got_outputs = _with_stated_sizes(got_outputs, outputs)
        notes += [f"the output {s.name} leaves sizes open" for s in candidate.outputs if s not in got_outputs]
    sides = (("input", reference.inputs, candidate.inputs), ("output", outputs, got_outputs))
    for kind, expected, got in sides:
        problems += _names(kind, expected, got, ordered)
        candidate_specs = {spec.name: spec for spec in got}
        for spec in expected:
            if spec.name in candidate_specs:
                _tensor(kind, spec, candidate_specs[spec.name], fixed_batch, problems, notes)
    return problems, list(dict.fromkeys(notes))


def _with_stated_sizes(specs: Sequence[TensorSpec], others: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The same with the sizes of the other of the same name in the place of unknown ones; the batch stays."""
    shapes = {spec.name: spec.shape for spec in others}

    def stated(spec: TensorSpec) -> TensorSpec:
        sizes = shapes.get(spec.name, ())
        if len(sizes) != len(spec.shape):
            return spec
        pairs = zip(spec.shape, sizes, strict=True)
        return replace(spec, shape=tuple(b if isinstance(a, str) and BATCH not in {a, b} else a for a, b in pairs))

    return tuple(map(stated, specs))


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


def _same_size(expected: int | str, got: int | str) -> bool:
    """Equal sizes, or both unknown; the batch is not like other unknown dimensions."""
    if isinstance(expected, str) and isinstance(got, str):
        return (expected == BATCH) == (got == BATCH)
    return expected == got


def _shape_text(spec: TensorSpec) -> str:
    return f"({', '.join(str(d) for d in spec.shape)})"
