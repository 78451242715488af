"""Checks of what a user may choose, made where the options are made."""
