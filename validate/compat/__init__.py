"""Every place where edgeport calls or replaces what a library does not promise to keep; one module a library.

`CONTRIBUTING.md` tells how to add one; `scripts/list_parts.py` prints them all and whether they fit.
"""
