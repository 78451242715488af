from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import exporter
from converters.errors import IntegrityError
from exporter.manifest.reader import MAX_BYTES, json_schema, load
from exporter.manifest.rows import FileRow
from exporter.manifest.schema import Manifest, canonical, content_digest, document_digest
from exporter.report import render
from tests.manifest_schema import FREE, free_fields, undescribed
from validate.written import written

SCHEMA_FILE = Path(exporter.__file__).parent / "manifest" / "manifest.schema.json"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def sealed(document: dict[str, Any]) -> Manifest:
    return Manifest.from_document(document).with_files((FileRow(path="golden.npz", size_bytes=1, sha256="c" * 64),))


def test_a_manifest_comes_back_from_disk_as_it_was(tmp_path: Path, sample_document: dict[str, Any]) -> None:
    manifest = sealed(sample_document)
    path = tmp_path / "manifest.json"
    path.write_bytes(manifest.to_bytes())
    assert load(path) == manifest
    assert load(path).to_bytes() == manifest.to_bytes()


@given(note=texts, extra=st.dictionaries(texts, st.integers() | texts, max_size=3))
def test_round_trip_with_any_text_and_further_row_fields(
    sample_factory: Callable[[], dict[str, Any]], note: str, extra: dict[str, Any]
) -> None:
    document = sample_factory()
    document["artifacts"][0]["notes"] = [note]
    document["verdicts"][0]["more"] = extra
    manifest = sealed(document)
    again = Manifest.from_document(json.loads(manifest.to_bytes()))
    assert again == manifest
    assert document_digest(again.to_document()) == manifest.digest
    assert again.to_document()["verdicts"][0]["more"] == extra


@pytest.fixture(scope="module")
def sample_factory() -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        tensor = {"name": "x", "shape": ["batch", 2], "dtype": "float32"}
        signature = {"inputs": [tensor], "outputs": [tensor]}
        row = {"path": "m.float32.onnx", "format": "onnx", "precision": "float32", "signature": signature}
        return {
            "schema": "edgeport.manifest/2",
            "tool": {"name": "edgeport", "version": "0"},
            "source": {"path": "m.keras", "kind": "keras", "sha256": "a" * 64},
            "signature": signature,
            "artifacts": [row | {"size_bytes": 1, "sha256": "b" * 64}],
            "verdicts": [{"artifact": "m.float32.onnx", "status": "agree"}],
            "created": "2026-01-01T00:00:00Z",
        }

    return make


@given(values)
def test_canonical_json_is_a_fixed_point_and_ignores_key_order(value: Any) -> None:
    once = canonical({"v": value, "a": 1})
    assert canonical(json.loads(once)) == once
    assert canonical({"a": 1, "v": value}) == once


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_canonical_json_has_no_nan(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical({"v": value})


def test_numbers_that_are_not_finite_become_null(sample_document: dict[str, Any]) -> None:
    sample_document["verdicts"][0]["outputs"][0].update(sqnr_db=float("inf"), more=[float("nan")])
    output = Manifest.from_document(sample_document).verdicts[0].outputs[0]
    assert output.sqnr_db is None
    assert written(output)["more"] == [None]


def test_content_digest_leaves_out_time_host_and_place(sample_document: dict[str, Any]) -> None:
    before = sealed(sample_document)
    sample_document["created"] = "2027-01-01T00:00:00+02:00"
    sample_document["source"]["path"] = "/elsewhere/m.keras"
    sample_document["environment"]["host"]["cpu"] = "another"
    sample_document["timings"][0]["p99_ms"]["value"] = 77.0
    sample_document["artifacts"].reverse()
    after = sealed(sample_document)
    assert after.content_digest == before.content_digest
    assert after.digest != before.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["source"].update(sha256="d" * 64),
        lambda d: d["artifacts"][0].update(sha256="d" * 64),
        lambda d: d["artifacts"][0].update(path="other.tflite"),
        lambda d: d["signature"]["outputs"][0].update(name="other"),
    ],
)
def test_content_digest_covers_content(
    sample_document: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    before = sealed(sample_document).content_digest
    change(sample_document)
    assert sealed(sample_document).content_digest != before


def test_content_digest_covers_the_golden_vectors(sample_manifest: Manifest) -> None:
    one, other = (
        sample_manifest.with_files((FileRow(path="golden.npz", size_bytes=1, sha256=sha * 64),)) for sha in "ab"
    )
    assert content_digest(one) != content_digest(other)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d.update(schema="edgeport.manifest/3"), "schema"),
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d["source"].update(sha256="A" * 64), "sha256"),
        (lambda d: d["artifacts"][0].update(size_bytes="12"), "size_bytes"),
        (lambda d: d["artifacts"][0].update(precision="int3"), "precision"),
        (lambda d: d["verdicts"][0].update(status="fine"), "status"),
        (lambda d: d.pop("signature"), "signature"),
        (lambda d: d.update(created="yesterday"), "created"),
    ],
)
def test_a_wrong_document_is_refused_by_field(
    tmp_path: Path, sample_document: dict[str, Any], change: Callable[[dict[str, Any]], None], word: str
) -> None:
    change(sample_document)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(sample_document))
    with pytest.raises(IntegrityError, match=word) as caught:
        load(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"a":1,"a":2}',
        b'{"schema":NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"schema":"\\ud800"}',
        b'{"schema":1' + b"0" * 5000 + b"}",
    ],
    ids=["empty", "text", "list", "null", "twice", "nan", "utf16", "bomb", "deep", "surrogate", "long number"],
)
def test_hostile_bytes_are_refused_and_never_crash(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        load(path)


@pytest.mark.parametrize("text", ['"\\ud800"', "1e999"])
def test_values_without_canonical_form_are_refused(tmp_path: Path, sample_manifest: Manifest, text: str) -> None:
    path = tmp_path / "manifest.json"
    document = sample_manifest.with_files(()).to_document()
    document["environment"] = {"x": "HERE"}
    path.write_text(json.dumps(document).replace('"HERE"', text))
    with pytest.raises(IntegrityError):
        load(path)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path, sample_manifest: Manifest) -> None:
    """Readers differ in which of the two they take, so that one manifest could mean two things."""
    path = tmp_path / "manifest.json"
    text = sample_manifest.with_files(()).to_bytes().decode()
    path.write_text(text.replace('"created"', '"created": "2020-01-01T00:00:00Z", "created"', 1))
    with pytest.raises(IntegrityError, match="twice"):
        load(path)


def test_a_file_over_the_cap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(IntegrityError, match="larger"):
        load(path)


def test_an_edited_manifest_is_found_out(tmp_path: Path, sample_manifest: Manifest) -> None:
    path = tmp_path / "manifest.json"
    text = sample_manifest.with_files(()).to_bytes().decode()
    path.write_text(text.replace('"noise_ratio": 0.91', '"noise_ratio": 0.11'))
    assert path.read_text() != text
    with pytest.raises(IntegrityError, match="own digest"):
        load(path)


def test_the_published_schema_is_up_to_date() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema(), (
        "write it again: json.dumps(exporter.manifest.reader.json_schema(), indent=2, sort_keys=True)"
    )


@pytest.mark.parametrize("name", ["to_json", "kept", "percentiles", "row", "of", "__class__", "__dict__", "model_dump"])
def test_a_field_that_is_called_like_code_is_only_a_field(sample_document: dict[str, Any], name: str) -> None:
    rows = (*sample_document["verdicts"], *sample_document["timings"], *sample_document["comparisons"])
    outputs = [output for verdict in sample_document["verdicts"] for output in verdict["outputs"]]
    gates = [output["gate"] for output in outputs]
    for row in (*rows, *outputs, *gates, *sample_document["artifacts"], sample_document["timings"][0]["p50_ms"]):
        row[name] = "odd"
    manifest = sealed(sample_document)
    assert manifest.to_document()["verdicts"][0]["outputs"][0]["gate"][name] == "odd"
    assert Manifest.from_document(manifest.to_document()).to_bytes() == manifest.to_bytes()
    assert render(manifest) == render(sealed(without(sample_document, name)))


def without(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: without(child, name) for key, child in value.items() if key != name}
    return [without(child, name) for child in value] if isinstance(value, list) else value


def test_the_published_schema_describes_every_field_that_is_written(bundle: Path) -> None:
    document = json.loads((bundle / "manifest.json").read_text())
    assert undescribed(document) == []
    assert free_fields() == FREE
    document["verdicts"][0]["outputs"][0]["surprise"] = 1
    assert "surprise" in undescribed(document)[0], "it is read strictly"


def test_a_real_manifest_fits_the_published_schema(bundle: Path) -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads((bundle / "manifest.json").read_text())
    jsonschema.validate(document, schema)
    del document["source"]["sha256"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
