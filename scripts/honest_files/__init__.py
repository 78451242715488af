"""Honest float32 files of many models, ours and other converters', judged as `edgeport validate` judges."""
