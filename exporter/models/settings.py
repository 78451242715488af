"""Typed settings of an architecture: what `--set KEY=VALUE` may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from converters.errors import UsageError

Value = bool | int | float

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Setting:
    """One setting. Its type is its default's; `low` and `high` are inclusive, `choices` closes the list.

    Attributes:
        name: the KEY of `--set KEY=VALUE`.
        default: used where the user says nothing.
        help: what it does, in a few words.
    """

    name: str
    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()

    def parse(self, text: str) -> Value:
        """The typed value of `text`. Raises UsageError naming the values there are."""
        try:
            value = self._typed(text.strip())
        except (ValueError, KeyError, OverflowError):
            raise self._error(text) from None
        in_range = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        if not in_range or (self.choices and value not in self.choices):
            raise self._error(text)
        return value

    def _typed(self, text: str) -> Value:
        if isinstance(self.default, bool):
            return _WORDS[text.lower()]
        return int(text) if isinstance(self.default, int) else float(text)

    def _error(self, text: str) -> UsageError:
        return UsageError(
            f"The setting `{self.name}` cannot be `{text}`.",
            next_step=f"Give it {self.allowed()}, for example --set {self.name}={_shown(self.default)}.",
        )

    def allowed(self) -> str:
        """The values there are, in words: `an integer from 1 to 65536`."""
        if isinstance(self.default, bool):
            return "true or false"
        if self.choices:
            return " or ".join(_shown(choice) for choice in self.choices)
        kind = "an integer" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def __str__(self) -> str:
        return f"{self.name}={_shown(self.default)}"


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def parse_settings(texts: Mapping[str, str], settings: Sequence[Setting], *, architecture: str) -> dict[str, Value]:
    """The value of every setting of `settings`, parsed where `texts` holds its key.

    Raises:
        UsageError: a key that is not known (with the nearest one and the list), or a value that does not parse.
    """
    by_name = {setting.name: setting for setting in settings}
    for key in texts:
        if key not in by_name:
            near = get_close_matches(key, by_name, n=1) or [name for name in by_name if key and key in name]
            there_are = ", ".join(str(setting) for setting in settings)
            raise UsageError(
                f"{architecture} has no setting `{key}`.",
                next_step=(f"Did you mean `{near[0]}`? " if near else "") + f"It has, with defaults: {there_are}.",
            )
    return {name: s.parse(texts[name]) if name in texts else s.default for name, s in by_name.items()}


def split_assignments(assignments: Sequence[str]) -> dict[str, str]:
    """`["a=1", "b=2"]` as a mapping. Raises UsageError on one without `=` or given twice."""
    settings: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"--set {assignment} is not KEY=VALUE.", next_step="Write it as --set reduction_ratio=11.")
        if key in settings:
            raise UsageError(f"--set {key} is given twice.", next_step="Give each setting once.")
        settings[key] = value
    return settings
