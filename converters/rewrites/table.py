"""The table of rewrites, apart from what it names: what a format lacks, and what stands for it there."""

from __future__ import annotations

from converters.rewrites import counting, elementwise, gelu, images, integers, slicing, spectra, vectors
from converters.rewrites.row import BOTH, ONNX, TFLITE, Rewrite

_SPECTRUM = ("of a Fourier transform: products with cosines and sines", "rounding")
"""What becomes of operations that only complex numbers lead to."""

REWRITES: tuple[Rewrite, ...] = (
    Rewrite("Log1p", BOTH, elementwise.log1p, "a polynomial near 0, else log(1 + x)", "3 ulp"),
    Rewrite("Expm1", BOTH, elementwise.expm1, "tanh(x / 2) * (exp(x) + 1)", "5 ulp"),
    Rewrite("Softplus", TFLITE, elementwise.softplus, "max(x, 0) + log1p(exp(-|x|))", "5 ulp"),
    Rewrite("Erf", TFLITE, elementwise.erf, "polynomials, in two parts", "1.5e-7", gelu.stands_alone),
    Rewrite("Erfc", TFLITE, elementwise.erfc, "polynomials, in two parts", "1.5e-7", gelu.stands_alone),
    Rewrite("Atan", TFLITE, elementwise.atan, "atan2(x, 1)", "1 ulp"),
    Rewrite("Atan2", TFLITE, elementwise.atan2, "atan2 of one shape", "none", elementwise.have_other_shapes),
    Rewrite("Asin", TFLITE, elementwise.asin, "atan2(x, sqrt((1 - x) * (1 + x)))", "3 ulp"),
    Rewrite("Acos", TFLITE, elementwise.acos, "atan2(sqrt((1 - x) * (1 + x)), x)", "3 ulp"),
    Rewrite("Tan", TFLITE, elementwise.tan, "sin(x) / cos(x)", "that of both"),
    Rewrite("Sinh", TFLITE, elementwise.sinh, "exponentials; near 0 by tanh", "4 ulp"),
    Rewrite("Cosh", TFLITE, elementwise.cosh, "exponentials", "4 ulp"),
    Rewrite("Asinh", TFLITE, elementwise.asinh, "a logarithm, by log1p near 0", "4 ulp"),
    Rewrite("Acosh", TFLITE, elementwise.acosh, "a logarithm, by log1p near 1", "4 ulp"),
    Rewrite("Atanh", TFLITE, elementwise.atanh, "a logarithm, by log1p near 0", "4 ulp"),
    Rewrite("IsInf", TFLITE, elementwise.is_inf, "a comparison"),
    Rewrite("Rsqrt", TFLITE, elementwise.rsqrt, "a choice where it is 0", "none", elementwise.is_limited),
    Rewrite("ResizeArea", BOTH, images.resize, "an average pool or two matrix products", "rounding", images.is_settled),
    Rewrite("ResizeBicubic", TFLITE, images.resize, "two matrix products", "rounding", images.is_settled),
    Rewrite("ScaleAndTranslate", BOTH, images.resize, "two matrix products", "rounding", images.is_settled),
    Rewrite("MaxPool3D", TFLITE, images.max_pool, "two pools over two axes"),
    Rewrite("AvgPool3D", TFLITE, images.average_pool, "two pools over two axes", "rounding"),
    Rewrite("Bucketize", ONNX, counting.bucketize, "comparisons and their sum"),
    Rewrite("DenseBincount", BOTH, counting.dense_bincount, "comparisons and their sum or maximum"),
    Rewrite("OneHot", ONNX, counting.one_hot, "a choice for indices below 0", "none", counting.may_be_negative),
    Rewrite("LowerBound", BOTH, counting.lower_bound, "comparisons and their sum"),
    Rewrite("UpperBound", BOTH, counting.upper_bound, "comparisons and their sum"),
    Rewrite("InTopKV2", BOTH, counting.in_top_k, "comparisons and their sum"),
    Rewrite("Cumprod", BOTH, counting.cumprod, "products", "rounding", counting.is_scan_of_known_length),
    Rewrite("MatrixDiagPartV3", BOTH, vectors.matrix_diag_part, "a gather", "none", vectors.is_one_diagonal),
    Rewrite("Cross", BOTH, vectors.cross, "products and differences", "rounding"),
    Rewrite("BroadcastArgs", ONNX, vectors.broadcast_shape, "comparisons", "none", vectors.have_known_ranks),
    Rewrite("XlaDynamicUpdateSlice", ONNX, vectors.dynamic_update_slice, "two paddings and a choice"),
    Rewrite("RGBToHSV", BOTH, vectors.rgb_to_hsv, "comparisons and quotients", "rounding"),
    Rewrite("HSVToRGB", BOTH, vectors.hsv_to_rgb, "products", "rounding"),
    Rewrite("Real", ONNX, spectra.part, *_SPECTRUM, spectra.is_part, spectra.of_transform),
    Rewrite("Real", TFLITE, spectra.part, *_SPECTRUM, spectra.is_part_that_litert_lacks, spectra.of_transform),
    Rewrite("Imag", ONNX, spectra.part, *_SPECTRUM, spectra.is_part, spectra.of_transform),
    Rewrite("Imag", TFLITE, spectra.part, *_SPECTRUM, spectra.is_part_that_litert_lacks, spectra.of_transform),
    Rewrite("ComplexAbs", ONNX, spectra.part, *_SPECTRUM, spectra.is_part, spectra.of_transform),
    Rewrite("ComplexAbs", TFLITE, spectra.part, *_SPECTRUM, spectra.is_part_that_litert_lacks, spectra.of_transform),
    Rewrite("IRFFT", BOTH, spectra.inverse_of_parts, *_SPECTRUM, spectra.is_inverse_of_parts, spectra.of_parts),
    Rewrite("Roll", TFLITE, slicing.roll, "a concatenation of slices", "none", slicing.is_known_roll),
    Rewrite("StridedSlice", TFLITE, slicing.strided_slice, "a slice for each axis", "none", slicing.is_wide_slice),
    Rewrite("Pad", TFLITE, slicing.pad, "a padding for each axis", "none", slicing.is_wide_pad),
    Rewrite("PadV2", TFLITE, slicing.pad, "a padding for each axis", "none", slicing.is_wide_pad),
    Rewrite("BatchMatMulV2", TFLITE, slicing.product, "a product of fewer axes", "none", slicing.is_wide_product),
    Rewrite("Bitcast", BOTH, integers.sign_bit, "comparisons of its sign", "NaN's sign", integers.gives_only_signs),
    Rewrite("BitwiseAnd", BOTH, integers.bitwise_and, "the bits' product", "none", integers.is_narrow),
    Rewrite("BitwiseOr", BOTH, integers.bitwise_or, "the bits' maximum", "none", integers.is_narrow),
    Rewrite("BitwiseXor", ONNX, integers.bitwise_xor, "the bits' difference", "none", integers.is_narrow),
    Rewrite("Invert", BOTH, integers.invert, "-1 - x"),
    Rewrite("FloorDiv", ONNX, integers.floor_div, "a division towards 0, corrected", "none", integers.has_signs),
    Rewrite("FloorMod", ONNX, integers.floor_mod, "what that division leaves", "none", integers.has_signs),
    Rewrite("LeftShift", TFLITE, integers.left_shift, "a product with a power of two", "none", integers.is_whole_word),
)  # fmt: skip
"""docs/precisions.md shows it to readers; tests/converters/rewrites/test_table.py holds each row against Keras."""
