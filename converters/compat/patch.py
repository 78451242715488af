"""Contracts with parts of libraries that nobody promised to keep: private ones, and those that edgeport replaces.

Each is a value that tells where the part is, what edgeport does with it and what it looked like when that was written.
The part is held against that before it is touched. Where it looks different it is left alone: the plain way is taken
and a note says so, or, where there is none, the step fails and names the library, never the user's model.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import CodeType, ModuleType
from typing import Any, Self

from converters.errors import MisfitError, words_of

_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    "ai_edge_litert": ("ai-edge-litert",),
    "ai_edge_quantizer": ("ai-edge-quantizer",),
}
_OURS = ("converters.", "validate.", "exporter.")
_notes: ContextVar[dict[str, None] | None] = ContextVar("notes", default=None)


@dataclass(frozen=True)
class Part:
    """A part of a library that edgeport calls or reads.

    Attributes:
        where: `module:attribute`; the attribute is dotted where it belongs to a class. A module alone is itself meant.
        why: what edgeport does with it.
        made_for: the version of the library that this was written for.
        parameters: the first ones of the function, `(a, b)`; further ones must be optional. None where it is not a
            function of Python.
        mentions: names that the function's own code uses, or attributes that a class or module has.
        needs: parts that have to fit as well.
        otherwise: the plain way; empty where there is none.
    """

    where: str
    why: str
    made_for: str
    parameters: str | None = None
    mentions: tuple[str, ...] = ()
    needs: tuple[Part, ...] = ()
    otherwise: str = ""

    @property
    def library(self) -> str:
        return self.where.partition(".")[0].partition(":")[0]

    def fits(self) -> bool:
        """Whether the installed library has the part as edgeport knows it. Each original is looked at once."""
        try:
            original = inspect.unwrap(self._present())  # below what replaces it just now
        except (ImportError, AttributeError):
            return False
        return all(part.fits() for part in self.needs) and self._agrees(original)

    def usable(self) -> bool:
        """Whether it fits; where it does not, the plain way that is taken instead is noted."""
        if self.fits():
            return True
        _note(f"{self._complaint()}: {self.otherwise or 'it is left out'}.")
        return False

    def required(self) -> Self:
        """The part itself. Raises MisfitError where it does not fit: for uses that have no plain way."""
        if not self.fits():
            raise MisfitError(f"{self._complaint()} ({self.why}).", next_step=_install(self.library, self.made_for))
        return self

    def get(self) -> Any:
        """The library's object there. Raises MisfitError where it does not fit."""
        return self.required()._present()

    def _agrees(self, original: Any) -> bool:
        return _takes(original, self.parameters) and _mentions(original, self.mentions)

    def _present(self) -> Any:
        owner, name = self._owner_and_name()
        return getattr(owner, name) if name else owner

    def _owner_and_name(self) -> tuple[Any, str]:
        module, _, attribute = self.where.partition(":")
        owner = importlib.import_module(module)
        *outer, name = attribute.split(".")
        return functools.reduce(getattr, outer, owner), name

    def _complaint(self) -> str:
        installed = _versioned(self.library)
        return f"{installed} is not as edgeport knows it from {self.library} {self.made_for} at {self.where}"


@dataclass(frozen=True)
class Patch(Part):
    """A part that edgeport replaces while it works. Its `parameters` are all that it has, with their defaults."""

    def _agrees(self, original: Any) -> bool:
        return _parameters_text(original) == self.parameters and _mentions(original, self.mentions)

    @contextmanager
    def replaced(self, make: Callable[[Any], Any]) -> Iterator[None]:
        """While open, the part is what `make` makes of it; the original is always put back.

        A part that does not fit is left as it is, with a note.
        """
        if not self.usable():
            yield
            return
        owner, name = self._owner_and_name()
        original = getattr(owner, name)
        setattr(owner, name, _following(make(original), original))
        try:
            yield
        finally:
            setattr(owner, name, original)

    def replace_for_good(self, make: Callable[[Any], Any]) -> None:
        """Replaces the part for the rest of the process; once, however often it is asked for."""
        owner, name = self._owner_and_name()
        original = getattr(owner, name)
        if not hasattr(original, "__wrapped__") and self.usable():
            setattr(owner, name, _following(make(original), original))


def parts_in(*packages: str) -> tuple[Part, ...]:
    """Every part that the modules of the packages name, those that others need among them."""
    folders = [(name, importlib.import_module(name).__path__) for name in packages]
    names = [f"{name}.{module.name}" for name, path in folders for module in pkgutil.iter_modules(path)]
    waiting: list[Any] = [value for name in names for value in vars(importlib.import_module(name)).values()]
    parts: dict[Part, None] = {}
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, Part):
            parts[value] = None
            waiting.extend(value.needs)
        elif isinstance(value, tuple | Mapping):
            waiting.extend(value.values() if isinstance(value, Mapping) else value)
    return tuple(parts)


@contextmanager
def noting() -> Iterator[list[str]]:
    """Collects, in the list, the notes on parts that are left out within the block."""
    collected: dict[str, None] = {}
    notes: list[str] = []
    token = _notes.set(collected)
    try:
        yield notes
    finally:
        _notes.reset(token)
        notes.extend(collected)


def is_our_mistake(cause: BaseException) -> bool:
    """Whether edgeport's own code asked a library for what it does not have, or called it as it cannot be called."""
    return isinstance(cause, AttributeError | TypeError) and _in_our_code(cause)


def _in_our_code(cause: BaseException) -> bool:
    trace = cause.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith(_OURS)


def misused(cause: BaseException, library: str, made_for: str) -> MisfitError:
    """The error for what edgeport's own code got wrong about a library."""
    text = words_of(cause)
    return MisfitError(
        f"edgeport's own use of {_versioned(library)} failed ({type(cause).__name__}: {text}); it was made for "
        f"{library} {made_for}.",
        next_step=_install(library, made_for),
    )


def lacks_attribute(cause: BaseException, library: str) -> bool:
    """Whether edgeport's own code asked an object of the library for an attribute that it does not have."""
    if not isinstance(cause, AttributeError) or not _in_our_code(cause):
        return False
    holder = cause.obj if isinstance(cause.obj, ModuleType | type) else type(cause.obj)
    module = holder.__name__ if isinstance(holder, ModuleType) else holder.__module__
    return module.partition(".")[0] == library


def _following(replacement: Any, original: Any) -> Any:
    """The replacement, through which `inspect` sees the original."""
    replacement.__wrapped__ = original
    return replacement


def _note(sentence: str) -> None:
    collected = _notes.get()
    if collected is not None:
        collected[sentence] = None
    _log(sentence)


@functools.cache
def _log(sentence: str) -> None:
    logging.getLogger(__name__).warning("%s", sentence)


@functools.cache
def _takes(function: Any, parameters: str | None) -> bool:
    if parameters is None:
        return True
    signature, names = _signature(function), [name for name in parameters.strip("()").split(", ") if name]
    if signature is None:
        return False
    accepted = list(signature.parameters.values())
    required = [
        p for p in accepted[len(names) :] if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}
    ]
    return [p.name for p in accepted[: len(names)]] == names and not required


@functools.cache
def _parameters_text(function: Any) -> str | None:
    """The parameters as Python writes them, without annotations."""
    signature = _signature(function)
    if signature is None:
        return None
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


@functools.cache
def _mentions(original: Any, names: tuple[str, ...]) -> bool:
    code = getattr(original, "__code__", None)
    names_in_code = set(dir(original)) if code is None else _names(code)
    return names_in_code.issuperset(names)


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _names(code: CodeType) -> set[str]:
    """Names of attributes, globals and variables in a function's code, and its texts, those of inner functions too."""
    names = {*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
        else:  # the keys of a dict are a tuple
            names.update(
                text for text in (constant if isinstance(constant, tuple) else (constant,)) if text is not None
            )
    return names


def _versioned(library: str) -> str:
    for name in _DISTRIBUTIONS.get(library, (library,)):
        try:
            return f"{library} {version(name)}"
        except PackageNotFoundError:
            continue
    return library


def _install(library: str, made_for: str) -> str:
    names = _DISTRIBUTIONS.get(library, (library,))
    return f"Install the version that edgeport was made for: python -m pip install '{names[-1]}=={made_for}'."
