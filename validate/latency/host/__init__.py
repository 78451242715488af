"""The machine that a timing runs on: its facts, its noise, its GPU."""
