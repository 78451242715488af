"""Readers: a source on disk -> a checked Checkpoint -> a callable model."""
