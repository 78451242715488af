"""The user's options for opening a source, where its own bytes do not say how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from converters.checks.base import Options, checked
from converters.checks.values import Flag, Instance, Number, Several, Text
from converters.errors import UsageError

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_SCALING = Number("--replace")
_RESCALING = re.compile(r"rescaling:(?P<scale>[^,]+)(,(?P<offset>[^,]+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Code:
    """Python code of the user's: a module by import path, or a file, and optionally one name in it."""

    module: str
    name: str | None = None

    @property
    def is_file(self) -> bool:
        return self.module.endswith(".py")

    def __str__(self) -> str:
        module = Path(self.module).name if self.is_file else self.module
        return f"{module}:{self.name}" if self.name else module


@dataclass(frozen=True)
class Rescaled(Options):
    """A layer that is to be taken as `x * scale + offset`, whatever the file says of it."""

    layer: str
    scale: float = checked(_SCALING)
    offset: float = checked(_SCALING, 0.0)

    def __str__(self) -> str:
        return f"{self.layer}=rescaling:{self.scale!r},{self.offset!r}"


@dataclass(frozen=True)
class LoadOptions(Options):
    """Needs of a source besides its own file; most have none.

    Attributes:
        signature: which of the signatures of a SavedModel or a `.tflite`.
        custom_objects: where classes are found that Keras does not know. Run in workers only.
        model_code: a function that gives the model which a file of weights belongs to. Run in workers only.
        replaced: layers taken as a scaling instead of as what is stored.
        allow_unsafe: run Python code that is stored in the file.
        inputs, outputs: tensors of a frozen graph, in order; empty takes its placeholders and its ends.
        folder: where modules are looked for first, absolute: the user's own folder.
    """

    signature: str | None = checked(Text("--signature"), None)
    custom_objects: tuple[Code, ...] = checked(Several("--custom-objects", Instance("--custom-objects", Code)), ())
    model_code: Code | None = checked(Instance("--model-code", Code), None)
    replaced: tuple[Rescaled, ...] = checked(Several("--replace", Instance("--replace", Rescaled)), ())
    allow_unsafe: bool = checked(Flag("--allow-unsafe"), False)
    inputs: tuple[str, ...] = checked(Several("--graph-input", Text("--graph-input")), ())
    outputs: tuple[str, ...] = checked(Several("--graph-output", Text("--graph-output")), ())
    folder: str = checked(Text("folder"), "")

    @property
    def runs_code(self) -> bool:
        """True where opening runs Python that is not Keras' own: the bytes then depend on more than the source."""
        return bool(self.custom_objects or self.model_code or self.allow_unsafe)

    @property
    def code_folders(self) -> tuple[Path, ...]:
        """Where the user's code lies, with its neighbours; none where no code was named."""
        codes = [code for code in (*self.custom_objects, self.model_code) if code is not None]
        first = [Path(self.folder)] if codes and self.folder else []
        return (*first, *(Path(code.module).parent for code in codes if code.is_file))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LoadOptions:
        values = {f.name: document[f.name] for f in fields(cls)}
        values["custom_objects"] = tuple(Code(**code) for code in values["custom_objects"])
        values["model_code"] = Code(**values["model_code"]) if values["model_code"] else None
        values["replaced"] = tuple(Rescaled(**entry) for entry in values["replaced"])
        values["inputs"], values["outputs"] = tuple(values["inputs"]), tuple(values["outputs"])
        return cls(**values)

    def told(self) -> dict[str, Any]:
        """The manifest's record of it: only what was asked for, and what ran code."""
        document: dict[str, Any] = {
            "signature": self.signature,
            "custom_objects": [str(code) for code in self.custom_objects],
            "model_code": str(self.model_code) if self.model_code else None,
            "replaced": [str(entry) for entry in self.replaced],
            "allow_unsafe": self.allow_unsafe,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
        }
        document = {key: value for key, value in document.items() if value}
        return document | {"unsafe": self.runs_code} if document else {}


def parse_code(text: str, option: str, *, named: bool = False) -> Code:
    """`MODULE[:NAME]`, where MODULE is an import path or the path of a .py file. Nothing is imported.

    Args:
        named: the name must be there.

    Raises:
        UsageError: it is neither, the file is not there, or the name is missing.
    """
    module, _, name = text.rpartition(":") if ":" in text else (text, "", "")
    problem = ""
    if module.endswith(".py"):
        if not Path(module).is_file():
            problem = f"names the file {module}, which is not there"
    elif not _MODULE.fullmatch(module):
        problem = "is neither an import path nor the path of a .py file"
    if not problem and ((name and not name.isidentifier()) or (named and not name)):
        problem = "names no function after a colon" if named else f"has {name!r} after the colon, which is no name"
    if problem:
        form = "MODULE:FUNCTION" if named else "MODULE[:NAME]"
        raise UsageError(f"{option} {text} {problem}.", next_step=f"Give {form}, for example shop/layers.py:Halve.")
    return Code(str(Path(module).absolute()) if module.endswith(".py") else module, name or None)


def parse_replacement(text: str) -> Rescaled:
    """`LAYER=rescaling:SCALE[,OFFSET]`; a number may be a fraction such as 1/255. Raises UsageError."""
    layer, _, operation = text.rpartition("=")
    match = _RESCALING.fullmatch(operation.strip())
    numbers = [_number(match[key]) for key in ("scale", "offset") if match[key]] if match else []
    values = [number for number in numbers if number is not None]
    if not layer or not match or len(values) != len(numbers):
        raise UsageError(
            f"--replace {text} is not LAYER=rescaling:SCALE[,OFFSET].",
            next_step="Give for example --replace scale=rescaling:1/255, which computes x * (1/255).",
        )
    return Rescaled(layer, *values)


def _number(text: str) -> float | None:
    numerator, _, denominator = text.partition("/")
    try:
        value = float(numerator) / (float(denominator) if denominator else 1.0)
    except (ValueError, ZeroDivisionError):
        return None
    return value if abs(value) < float("inf") else None
