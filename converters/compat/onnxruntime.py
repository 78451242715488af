"""Parts of ONNX Runtime that live among its scripts, without a promise to stay."""

from __future__ import annotations

from pathlib import Path

from converters.compat.patch import Part

MADE_FOR = "1.31.1"
_TO_ORT = "onnxruntime.tools.convert_onnx_models_to_ort"
_CHECKER = "onnxruntime.tools.mobile_helpers.usability_checker"

_STYLE = Part(f"{_TO_ORT}:OptimizationStyle", "optimizes for every device alike", MADE_FOR, mentions=("Fixed",))
TO_ORT = Part(
    f"{_TO_ORT}:convert_onnx_models_to_ort",
    "writes a model in ONNX Runtime's own format",
    MADE_FOR,
    "(model_path_or_dir, output_dir, optimization_styles)",
    mentions=("enable_type_reduction",),
    needs=(_STYLE,),
)
_SHAPED = Part(f"{_CHECKER}:ModelProtoWithShapeInfo", "a model with its shapes inferred", MADE_FOR)
_COREML = Part(
    f"{_CHECKER}:check_coreml_partitions",
    "tells what CoreML takes of a model",
    MADE_FOR,
    "(model, require_fixed_input_sizes, config_filename)",
    needs=(_SHAPED,),
)
_NNAPI = Part(
    f"{_CHECKER}:check_nnapi_partitions",
    "tells what NNAPI takes of a model",
    MADE_FOR,
    "(model, require_fixed_input_sizes)",
)
USABILITY = Part(
    _CHECKER, "tells what phones' accelerators take of a model, without running it", MADE_FOR, needs=(_COREML, _NNAPI)
)


def write_ort(model: Path, folder: Path) -> None:
    """Writes an ONNX model in ONNX Runtime's own format, and the list of its operations, into a folder.

    Raises:
        MisfitError: this ONNX Runtime lacks the function.
        Exception: whatever it raises for a model that it cannot write.
    """
    convert = TO_ORT.get()
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle

    convert(model, folder, [OptimizationStyle.Fixed], enable_type_reduction=True)
