"""Checkpoint in, artifact out. Knows no runtime and no report."""
