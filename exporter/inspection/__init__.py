"""What a file holds, told without running it and without loading a framework: `edgeport inspect`."""

from exporter.inspection.inspect import inspect

__all__ = ["inspect"]
