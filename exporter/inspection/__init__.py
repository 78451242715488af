"""The contents of a file, read without running it or loading a framework: `edgeport inspect`."""

from exporter.inspection.inspect import inspect

__all__ = ["inspect"]
