"""Parts of TensorFlow that are private, or that edgeport replaces while it traces and saves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from converters.compat.patch import Part, Patch

MADE_FOR = "2.21.0"
_VARIABLES = "tensorflow.python.ops.resource_variable_ops:BaseResourceVariable"
_RAW = "tensorflow.python.ops.gen_resource_variable_ops"
_CONSTANTS = "tensorflow.python.framework.convert_to_constants"
_LITE = "tensorflow.lite.python.convert"

CREATE_OPERATION = Part(
    "tensorflow.python.framework.func_graph:FuncGraph._create_op_internal",
    "puts an operation into the graph that is traced, without looking up its definition",
    MADE_FOR,
    "(self, op_type, inputs, dtypes)",
    mentions=("attrs",),
    otherwise="operations are traced by TensorFlow's public functions, which takes longer",
)
EINSUM = Patch(
    "tensorflow:einsum",
    "an einsum of two tensors is traced as one matrix product, which TFLite holds in fewer operations",
    MADE_FOR,
    "(equation, *inputs, **kwargs)",
    otherwise="einsums are traced as they are, which may cost nodes",
)

_KEY = Part("tensorflow.python.trackable.base:VARIABLE_VALUE_KEY", "the key of a variable's value", MADE_FOR)
_CALLABLE = Part(
    "tensorflow.python.checkpoint.tensor_callable:Callable.__init__",
    "a tensor that is read when it is saved",
    MADE_FOR,
    "(self, tensor_callable, dtype, device)",
)
_READ = Part(f"{_RAW}:read_variable_op", "reads a variable in one operation", MADE_FOR, "(resource, dtype)")
_ASSIGN = Part(f"{_RAW}:assign_variable_op", "sets a variable in one operation", MADE_FOR, "(resource, value)")
_WITHOUT_PATCH = (
    "variables are saved and restored by TensorFlow's own functions, which takes longer and stays in the file"
)
SERIALIZE = Patch(
    f"{_VARIABLES}._serialize_to_tensors",
    "saving a variable is traced as one operation",
    MADE_FOR,
    "(self)",
    mentions=("VARIABLE_VALUE_KEY", "Callable", "read_value_no_copy"),
    needs=(_KEY, _CALLABLE, _READ),
    otherwise=_WITHOUT_PATCH,
)
RESTORE = Patch(
    f"{_VARIABLES}._restore_from_tensors",
    "restoring a variable is traced as one operation",
    MADE_FOR,
    "(self, restored_tensors)",
    mentions=("VARIABLE_VALUE_KEY", "shape_safe_assign_variable_handle"),
    needs=(_KEY, _ASSIGN),
    otherwise=_WITHOUT_PATCH,
)
READ_VALUE = Part(
    f"{_VARIABLES}._read_variable_op",
    "a variable's value as a view of its memory",
    MADE_FOR,
    "(self)",
    otherwise="weights are copied",
)

FUNCTION_BODY = Part(
    "tensorflow.python.framework.function_def_to_graph:function_def_to_graph",
    "gives the graph of a loop's or a branch's function, to look for what a format lacks and for shapes",
    MADE_FOR,
    "(fdef)",
    otherwise="operations that a format lacks are not composed of others within loops and branches, and ONNX may be "
    "refused where a branch has a layer with weights",
)
FREEZE = Part(
    f"{_CONSTANTS}:convert_variables_to_constants_v2",
    "makes a function's variables constants",
    MADE_FOR,
    "(func, lower_control_flow, aggressive_inlining)",
)
FREEZE_SESSION = Part(
    f"{_CONSTANTS}:convert_variables_to_constants_from_session_graph",
    "makes the variables of a graph of TensorFlow 1 constants",
    MADE_FOR,
    "(session, graph_def, output_node_names)",
)

_MODEL_FLAGS = Part(
    f"{_LITE}:build_model_flags",
    "takes a SavedModel's folder, version, tags and signatures",
    MADE_FOR,
    mentions=("saved_model_dir", "saved_model_version", "saved_model_tags", "saved_model_exported_names"),
)
_FLAGS = Part(
    f"{_LITE}:build_conversion_flags",
    "takes the sets of operations",
    MADE_FOR,
    mentions=("target_ops", "select_user_tf_ops", "enable_composite_direct_lowering"),
)
CONVERT_SAVED_MODEL = Part(
    f"{_LITE}:convert_saved_model",
    "converts a SavedModel to TFLite without loading it twice in Python",
    MADE_FOR,
    mentions=("build_model_flags", "build_conversion_flags"),
    needs=(_MODEL_FLAGS, _FLAGS),
    otherwise="TFLite is converted by tf.lite.TFLiteConverter, which takes twice as long",
)
DEDUPLICATE = Part(
    f"{_LITE}:deduplicate_readonly_buffers",
    "stores equal constants of a TFLite file once",
    MADE_FOR,
    "(tflite_model)",
    otherwise="equal constants stay in the file more than once",
)
SCHEMA = Part(
    "tensorflow.lite.python.schema_py_generated",
    "reads TFLite files",
    MADE_FOR,
    mentions=("Model", "BuiltinOperator", "TensorType"),
)
_TABLE = Part(
    "flatbuffers.table:Table", "where a table's fields lie", "25.12.19", mentions=("Offset", "Vector", "Pos", "Bytes")
)
TABLES = tuple(
    Part(
        f"tensorflow.lite.python.schema_py_generated:{table}.Init",
        "the flatbuffer table is `_tab`: names and tensors are put into order where they lie in the file",
        MADE_FOR,
        mentions=("_tab",),
        needs=(_TABLE,),
    )
    for table in ("SignatureDef", "SubGraph")
)

TABLE_NAME = Part(
    "tensorflow.python.ops.lookup_ops:StaticHashTable.__init__",
    "the name by which a table is known where a SavedModel is loaded",
    MADE_FOR,
    mentions=("_shared_name",),
)


def name_table(table: Any, name: str) -> None:
    """Names a look-up table for the files that it is saved in. Only where `TABLE_NAME` fits."""
    table._shared_name = name


def create_operation(kind: str, inputs: Iterable[Any], dtype: Any, attributes: dict[str, Any]) -> Any:
    """The output of one operation that is put into the graph being traced. Only where `CREATE_OPERATION` fits."""
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    return graph._create_op_internal(kind, list(inputs), [dtype], attrs=attributes).outputs[0]


def value_callable(variable: Any) -> dict[str, Any]:
    """The result of `SERIALIZE` for a variable: its value, read in one operation when it is saved."""
    from tensorflow.python.checkpoint import tensor_callable
    from tensorflow.python.ops import gen_resource_variable_ops
    from tensorflow.python.trackable.base import VARIABLE_VALUE_KEY

    def read() -> Any:
        return gen_resource_variable_ops.read_variable_op(variable.handle, variable.dtype)

    return {VARIABLE_VALUE_KEY: tensor_callable.Callable(read, dtype=variable.dtype, device=variable.device)}


def assigned(variable: Any, restored: Any) -> Any:
    """The work of `RESTORE` for a variable: one operation that assigns the restored value."""
    from tensorflow.python.ops import gen_resource_variable_ops
    from tensorflow.python.trackable.base import VARIABLE_VALUE_KEY

    return gen_resource_variable_ops.assign_variable_op(variable.handle, restored[VARIABLE_VALUE_KEY])


def frozen(function: Any) -> Any:
    """The concrete function with its variables as constants and its functions inlined.

    Raises:
        MisfitError: this TensorFlow lacks the function.
        ValueError: it cannot be frozen.
    """
    return FREEZE.get()(function, lower_control_flow=False, aggressive_inlining=True)


def vector_start(table: Any, slot: int) -> int:
    """Where the elements of a vector begin in the file, by the vtable slot of the field in a `SignatureDef` or
    `SubGraph`. Raises MisfitError."""
    for part in TABLES:
        part.required()
    start: int = table._tab.Vector(table._tab.Offset(slot))
    return start


def view_of(variable: Any) -> memoryview:
    """A variable's memory. Only where `READ_VALUE` fits."""
    return memoryview(variable._read_variable_op())
