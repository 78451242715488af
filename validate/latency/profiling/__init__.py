"""Where the time goes: operation by operation, and against what the machine can do."""
