"""The application: builds models, runs the pipeline, writes bundles and reports.

    from exporter import RunOptions, run

    outcome = run("model.keras", "out/model", RunOptions.of(precisions=("float32", "float16")))
    outcome.exit_code, outcome.manifest.verdicts[0].status

Names are imported when they are first used (PEP 562), so that `import exporter` loads no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.faces import face

if TYPE_CHECKING:
    from converters.checkpoints.load_options import Code, LoadOptions, Rescaled
    from converters.common import Common
    from converters.errors import EdgeportError
    from converters.formats import Format, Precision
    from converters.isolation import Limits
    from converters.options import Auto, CalibrationMethod, ConvertOptions, Io, QuantizeOptions, TargetDevice
    from exporter.difference import Allowed, Difference, diff
    from exporter.manifest.reader import load
    from exporter.manifest.schema import Manifest
    from exporter.options import BuildChoices, Choice, DeviceKind, Objective, RunOptions, ShipOptions, Workspace
    from exporter.run.api import export, run
    from exporter.run.pipeline import Outcome
    from validate.agreement.options import JudgeOptions
    from validate.latency.options import BenchOptions
    from validate.localize.options import Localized, LocalizeOptions
    from validate.runtimes.variant import Boundary, ConvSearch, GraphLevel, Interface, Variant
    from validate.targets import Device, Places

__all__ = [
    "Allowed",
    "Auto",
    "BenchOptions",
    "Boundary",
    "BuildChoices",
    "CalibrationMethod",
    "Choice",
    "Code",
    "Common",
    "ConvSearch",
    "ConvertOptions",
    "Device",
    "DeviceKind",
    "Difference",
    "EdgeportError",
    "Format",
    "GraphLevel",
    "Interface",
    "Io",
    "JudgeOptions",
    "Limits",
    "LoadOptions",
    "LocalizeOptions",
    "Localized",
    "Manifest",
    "Objective",
    "Outcome",
    "Places",
    "Precision",
    "QuantizeOptions",
    "Rescaled",
    "RunOptions",
    "ShipOptions",
    "TargetDevice",
    "Variant",
    "Workspace",
    "diff",
    "export",
    "load",
    "run",
]

__getattr__, __dir__ = face(
    __name__,
    {
        "converters.checkpoints.load_options": ("Code", "LoadOptions", "Rescaled"),
        "converters.common": ("Common",),
        "converters.errors": ("EdgeportError",),
        "converters.formats": ("Format", "Precision"),
        "converters.isolation": ("Limits",),
        "converters.options": ("Auto", "CalibrationMethod", "ConvertOptions", "Io", "QuantizeOptions", "TargetDevice"),
        "exporter.run.api": ("export", "run"),
        "exporter.difference": ("Allowed", "Difference", "diff"),
        "exporter.manifest.schema": ("Manifest",),
        "exporter.manifest.reader": ("load",),
        "exporter.options": (
            "BuildChoices",
            "Choice",
            "DeviceKind",
            "Objective",
            "RunOptions",
            "ShipOptions",
            "Workspace",
        ),
        "exporter.run.pipeline": ("Outcome",),
        "validate.agreement.options": ("JudgeOptions",),
        "validate.latency.options": ("BenchOptions",),
        "validate.targets": ("Device", "Places"),
        "validate.runtimes.variant": ("Boundary", "ConvSearch", "GraphLevel", "Interface", "Variant"),
        "validate.localize.options": ("LocalizeOptions", "Localized"),
    },
)
