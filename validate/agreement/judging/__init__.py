"""From arrays on disk to a verdict: metrics, gates, classes."""
