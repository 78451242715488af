"""The worker's side of a comparison: reference, oracle, rounding, candidates and their taps."""
