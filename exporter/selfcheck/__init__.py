"""`selfcheck/` in a bundle: programs by which a device proves that it computes what the checkpoint computed.

plan(folder, manifest, ...)      what is run, and what each output is held to (`checks`, `bounds`)
write_selfcheck(staging, ...)    programs in seven languages, filled in (`programs`, `literals`, `templates/`)
"""

from exporter.selfcheck.checks import refuse_names
from exporter.selfcheck.programs import FOLDER, PROGRAMS, write_selfcheck

__all__ = ["FOLDER", "PROGRAMS", "refuse_names", "write_selfcheck"]
