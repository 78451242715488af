"""Code that runs inside a worker process: the float32 files, and the precisions made from them."""
