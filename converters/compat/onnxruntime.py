"""Parts of ONNX Runtime that live among its scripts, without a promise to stay."""

from __future__ import annotations

from converters.compat.patch import Part

MADE_FOR = "1.31.1"
_CHECKER = "onnxruntime.tools.mobile_helpers.usability_checker"

TO_ORT = Part(
    "onnxruntime.tools.convert_onnx_models_to_ort:convert_onnx_models_to_ort",
    "writes a model in ONNX Runtime's own format",
    MADE_FOR,
    "(model_path_or_dir, output_dir, optimization_styles)",
    mentions=("enable_type_reduction",),
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
