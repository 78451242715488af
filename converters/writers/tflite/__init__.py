"""TFLite files: the float32 writer, its checks, and the reduced precisions."""
