from __future__ import annotations

import os

# before any test of this folder imports a framework
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
