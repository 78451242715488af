"""Readers of model files that load no framework: they tell what a file holds, bounds-checked, without running it.

They run in the command line's own process on files that nobody vouches for, so each one is written for hostile bytes:
every offset is checked, work and depth have a budget, weights are skipped and never copied, and the only failure that
leaves a reader is a `RefusedError` (or a `UsageError` for a path that is not a readable file).
"""
