"""The bundle on disk: staged beside OUT, sealed with digests, published by renaming, verified by anyone.

with staged(out) as staging:            # locked, refused at once where OUT is not ours
    ...write artifacts, golden.npz, edgeport.log into staging...
    finish(staging, manifest)           # report.md, report.html, digests, manifest.json last
open_bundle(out)                        # what every command that takes a bundle calls first
verify(out)                             # [] or every problem, by path
"""

from exporter.bundle.checking import Problem, verify
from exporter.bundle.golden import read_answers, read_golden, write_answers, write_golden
from exporter.bundle.reading import Bundle, is_bundle, open_bundle
from exporter.bundle.sealing import finish, rewrite_reports
from exporter.bundle.staging import abandoned, check_output, staged

__all__ = [
    "Bundle",
    "Problem",
    "abandoned",
    "check_output",
    "finish",
    "is_bundle",
    "open_bundle",
    "read_answers",
    "read_golden",
    "rewrite_reports",
    "staged",
    "verify",
    "write_answers",
    "write_golden",
]
