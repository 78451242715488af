"""A `.tflite` or `.onnx` file as the source: its own float32 file is what further precisions are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from converters.artifact import Artifact, copy_artifact
from converters.checkpoints.checkpoint import FINISHED, Checkpoint, SourceKind
from converters.common import Common
from converters.convert import Order
from converters.errors import RefusedError, UsageError
from converters.facts import Facts
from converters.formats import Format, Precision
from converters.options import ConvertOptions
from converters.progress import Progress
from converters.readers.tflite_signed import NOTE, Signed, signed
from converters.routes import Target, makeable
from converters.signature import Signature
from exporter.inspection import inspect
from exporter.options import RunOptions

CONVERSION_PATH = "the source itself"


def targets_from(kind: str, targets: tuple[Target, ...], options: RunOptions) -> tuple[Target, ...]:
    """The targets that a source of this kind can give; formats left open are those that it has.

    Raises:
        UsageError: what was asked for cannot be made of it, with what can.
    """
    if kind not in FINISHED:
        return targets
    able = makeable(SourceKind(kind))
    selection = tuple(target for target in targets if target in able or options.convert.formats is not None)
    impossible = [str(target) for target in selection if target not in able]
    if impossible or not selection:
        named = ", ".join(impossible or options.convert.precisions or (Precision.FLOAT32,))
        raise UsageError(
            f"A source of the kind {kind} gives no {named}.",
            next_step=f"Choose from: {', '.join(map(str, able))}; a checkpoint gives the others too.",
        )
    return selection


class Adopted:
    """In the place of a `Converter`: a source that is a float32 file, which is copied. Nothing is converted."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        orders: Sequence[Order],
        options: ConvertOptions,
        _common: Common,
        progress: Progress,
    ) -> None:
        self._checkpoint, self._orders, self._options, self._progress = checkpoint, orders, options, progress

    def open(self) -> Facts:
        """The facts that the file states.

        Raises:
            RefusedError: it is not in float32, so that no other precision can be made of it.
            UsageError: an option that only a conversion can keep.
        """
        path, options = self._checkpoint.path, self._options
        facts = inspect(path, self._checkpoint.opening)
        if facts["precision"] != Precision.FLOAT32:
            raise RefusedError(
                f"{path} is {facts['precision']} already: other precisions are made from a float32 file.",
                next_step="Give the float32 file or the checkpoint that it was made from.",
                file=path,
            )
        if options.batch is not None or options.opset is not None or options.allow_flex:
            raise UsageError(
                "--batch, --opset and --allow-flex change a conversion, and a finished file is taken as it is.",
                next_step="Leave them out, or give the checkpoint.",
                file=path,
            )
        self._progress("reading the source", 0.0)
        self._signature = Signature.from_json(facts)
        notes = self._signed().notes
        return Facts(
            self._signature,
            int(facts["parameters"]),
            tuple(f"{note} The artifacts state {'them' if note == NOTE else 'it alone'}." for note in notes),
        )

    def _signed(self) -> Signed:
        checkpoint = self._checkpoint
        tflite = checkpoint.kind is SourceKind.TFLITE
        return signed(checkpoint.path, checkpoint.opening.signature) if tflite else Signed()

    def float32(self) -> Iterator[Artifact]:
        """The file itself, for each order."""
        fmt = Format(self._checkpoint.kind.value)
        source = Artifact.on_disk(
            self._checkpoint.path, fmt, Precision.FLOAT32, self._signature, conversion_path=CONVERSION_PATH
        )
        content = self._signed().content
        for order in self._orders:
            copy = copy_artifact(source, order.path)
            if content is not None:
                copy.path.write_bytes(content)
                copy = Artifact.on_disk(
                    copy.path, fmt, Precision.FLOAT32, self._signature, conversion_path=CONVERSION_PATH
                )
            yield copy

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Adopted:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
