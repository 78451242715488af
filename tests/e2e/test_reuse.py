"""What was made before from the same source, options and versions is not made again, and is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rows(document: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    return {row["path"]: (row["reused"], row["sha256"]) for row in document["artifacts"]}


def test_artifacts_are_reused_per_bundle_by_key_and_digest(edgeport: Any, checkpoints: Path, tmp_path: Path) -> None:
    source, out = checkpoints / "plain.keras", tmp_path / "out"
    first = edgeport("export", source, "-o", out, "-f", "onnx", "-f", "savedmodel", "--json")
    assert {reused for reused, _ in rows(first.document).values()} == {False}

    again = edgeport("export", source, "-o", out, "-f", "onnx", "-f", "savedmodel", "--json")
    assert again.code == 0, again.stderr
    assert {reused for reused, _ in rows(again.document).values()} == {True}
    assert [d for _, d in rows(again.document).values()] == [d for _, d in rows(first.document).values()]
    assert again.document["content_digest"] == first.document["content_digest"]
    assert edgeport("verify", out).code == 0

    other = edgeport("export", source, "-o", out, "-f", "onnx", "--opset", "15", "--json")
    assert {reused for reused, _ in rows(other.document).values()} == {False}

    path = out / "plain.float32.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    mended = edgeport("export", source, "-o", out, "-f", "onnx", "--opset", "15", "--json")
    assert rows(mended.document)["plain.float32.onnx"] == (False, rows(other.document)["plain.float32.onnx"][1])


def test_a_cache_is_shared_between_bundles_and_damage_in_it_is_passed_over(
    edgeport: Any, checkpoints: Path, tmp_path: Path
) -> None:
    source, cache = checkpoints / "plain.keras", tmp_path / "cache"
    first = edgeport("export", source, "-o", tmp_path / "a", "-f", "onnx", "--cache", cache, "--json")
    second = edgeport("export", source, "-o", tmp_path / "b", "-f", "onnx", "--cache", cache, "--json")
    assert [reused for reused, _ in rows(second.document).values()] == [True]
    assert rows(second.document)["plain.float32.onnx"][1] == rows(first.document)["plain.float32.onnx"][1]
    kept = next(cache.rglob("*.onnx"))
    assert kept.stat().st_ino != (tmp_path / "b" / kept.name).stat().st_ino
    kept.write_bytes(b"damaged")
    third = edgeport("export", source, "-o", tmp_path / "c", "-f", "onnx", "--cache", cache, "--json")
    assert [reused for reused, _ in rows(third.document).values()] == [False]
    fresh = edgeport("export", source, "-o", tmp_path / "b", "-f", "onnx", "--cache", cache, "--no-cache", "--json")
    assert [reused for reused, _ in rows(fresh.document).values()] == [False]


def test_two_workers_make_what_one_makes(edgeport: Any, checkpoints: Path, tmp_path: Path) -> None:
    source = checkpoints / "plain.keras"
    one = edgeport("export", source, "-o", tmp_path / "one", "--json")
    two = edgeport("export", source, "-o", tmp_path / "two", "--jobs", "2", "--json")
    assert two.code == 0, two.stderr
    assert rows(two.document) == rows(one.document)
    assert json.loads((tmp_path / "two" / "manifest.json").read_text()) == two.document
    assert two.document["content_digest"] == one.document["content_digest"]
