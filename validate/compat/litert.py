"""Private parts of LiteRT and of the flatbuffers that its files are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.compat.patch import Part

MADE_FOR = "2.3.0"
_SCHEMA = "ai_edge_litert.schema_py_generated"

_WRAPPER = Part(
    "ai_edge_litert.interpreter:_interpreter_wrapper.InterpreterWrapper",
    "sets, runs and gets tensors of one of a file's subgraphs",
    MADE_FOR,
    mentions=("ResizeInputTensor", "AllocateTensors", "SetTensor", "Invoke", "GetTensor"),
)
RUNNER = Part(
    "ai_edge_litert.interpreter:SignatureRunner.__init__",
    "runs a signature as an application with a fixed batch does, set up once",
    MADE_FOR,
    mentions=("_interpreter_wrapper", "_subgraph_index"),
    needs=(_WRAPPER,),
    otherwise="a file's signature is resized and allocated anew for every run, which is timed too",
)
_OPERATION = Part(
    "ai_edge_litert.interpreter:Interpreter._get_op_details",
    "an operation's name and tensors",
    MADE_FOR,
    "(self, op_index)",
    mentions=("op_name", "inputs", "outputs"),
)
OPERATIONS = Part(
    "ai_edge_litert.interpreter:Interpreter._get_ops_details",
    "lists a file's operations as the interpreter runs them",
    MADE_FOR,
    "(self)",
    needs=(_OPERATION,),
)
ANALYZER = Part(
    "ai_edge_litert._pywrap_analyzer_wrapper:ModelAnalyzer", "tells what the GPU delegate takes of a file", MADE_FOR
)
_TABLE = Part("flatbuffers.table:Table", "where a table's fields lie", "25.12.19", mentions=("Offset", "Vector", "Pos"))
TABLES = tuple(
    Part(
        f"{_SCHEMA}:{table}.Init",
        "the flatbuffer table is `_tab`: an output is moved by overwriting its index in the file",
        MADE_FOR,
        mentions=("_tab",),
        needs=(_TABLE,),
    )
    for table in ("SubGraph", "TensorMap")
)


def operations_in(interpreter: Any) -> list[dict[str, Any]]:
    """`index`, `op_name`, `inputs` and `outputs` of each operation of an interpreter's file. Raises MisfitError."""
    return list(OPERATIONS.get()(interpreter))


def subgraph_of(runner: Any) -> tuple[Any, int]:
    """The interpreter behind a signature's runner, and the number of its subgraph. Only where `RUNNER` fits."""
    return runner._interpreter_wrapper, runner._subgraph_index


def resized(runner: Any, index: int, shape: Sequence[int], *, strict: bool = False) -> None:
    """Gives an input of a signature another shape; where `strict`, only along dimensions that the file leaves open.
    Only where `RUNNER` fits."""
    wrapper, subgraph = subgraph_of(runner)
    wrapper.ResizeInputTensor(index, np.array(shape, np.int32), strict, subgraph)


def has_variables(content: Any) -> bool:
    """Whether a file keeps a state between calls: in tensors that are variables, or in resources of its own."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    codes = (model.OperatorCodes(k) for k in range(model.OperatorCodesLength()))
    if any(code.BuiltinCode() == schema.BuiltinOperator.VAR_HANDLE for code in codes):
        return True
    subgraphs = (model.Subgraphs(k) for k in range(model.SubgraphsLength()))
    return any(graph.Tensors(k).IsVariable() for graph in subgraphs for k in range(graph.TensorsLength()))


def field_place(table: Any, slot: int) -> int | None:
    """Where a table's field lies in the file, by its vtable slot; None where it is not there. Raises MisfitError."""
    for part in TABLES:
        part.required()
    offset = table._tab.Offset(slot)
    return table._tab.Pos + offset if offset else None


def vector_place(table: Any, slot: int) -> int | None:
    """Where a vector's elements begin in the file; None where the table has no such vector."""
    for part in TABLES:
        part.required()
    offset = table._tab.Offset(slot)
    return table._tab.Vector(offset) if offset else None
