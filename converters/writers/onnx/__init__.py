"""ONNX files: the float32 writer, its passes, and the reduced precisions."""
