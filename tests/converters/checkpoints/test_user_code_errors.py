"""What is said of the user's own code where it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.checkpoints.load_options import Code, LoadOptions
from converters.checkpoints.user_code import custom_objects
from converters.errors import StepError


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("open('/no/such/folder/log.txt', 'w')", "--sandbox off"),
        ("raise OSError(30, 'Read-only file system')", "--sandbox off"),
        ("1 / 0", "Run it in Python first"),
    ],
)
def test_the_sandbox_is_named_where_a_file_cannot_be_written_or_read(line: str, advice: str, tmp_path: Path) -> None:
    file = tmp_path / f"mine_{len(line)}.py"
    file.write_text(f"{line}\n")
    with pytest.raises(StepError, match="fails") as caught:
        custom_objects(LoadOptions(custom_objects=(Code(str(file)),), folder=str(tmp_path)))
    assert advice in caught.value.next_step
