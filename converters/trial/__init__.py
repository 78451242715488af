"""A finished file is opened by its runtime and run once before it counts as made. A smoke check, not a verdict."""
