"""Percentiles with intervals, and comparisons of rows."""
