"""Case 53: a signature by another key, none at all, or over other files is exit 8 and says whose was expected."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from converters.errors import EdgeportError
from exporter.cli.sign import command as sign_command
from exporter.cli.verify import command as verify_command
from exporter.manifest.schema import Manifest

pytest.importorskip("model_signing", reason="needs the extra `sign`")


def _key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def _sign(bundle: Path, key: Path) -> Any:
    return CliRunner().invoke(sign_command, [str(bundle), "--key", str(key)], standalone_mode=False)


def _verify(bundle: Path, *arguments: Any) -> tuple[int, dict[str, str]]:
    given = [str(bundle), "--json", *map(str, arguments)]
    result = CliRunner().invoke(verify_command, given, standalone_mode=False)
    if isinstance(result.exception, EdgeportError):
        return result.exception.exit_code, {"error": result.exception.message}
    return result.return_value, {p["path"]: p["problem"] for p in json.loads(result.stdout)["problems"]}


def test_a_signed_bundle_verifies_with_its_key_and_without_one(bundle: Path, tmp_path: Path) -> None:
    private, public = _key_pair(tmp_path, "ours")
    assert _sign(bundle, private).exception is None
    assert _verify(bundle, "--public-key", public) == (0, {})
    assert _verify(bundle) == (0, {})


def test_another_key_a_missing_signature_and_a_damaged_one_are_exit_8(bundle: Path, tmp_path: Path) -> None:
    private, public = _key_pair(tmp_path, "ours")
    other_private, other_public = _key_pair(tmp_path, "theirs")
    code, problems = _verify(bundle, "--public-key", public)
    assert (code, "is missing" in problems["model.sig"], str(public) in problems["model.sig"]) == (8, True, True)
    _sign(bundle, private)
    code, problems = _verify(bundle, "--public-key", other_public)
    assert (code, str(other_public) in problems["model.sig"]) == (8, True)
    _sign(bundle, other_private)  # signed again by somebody else
    assert _verify(bundle, "--public-key", public)[0] == 8
    for damage in (b"", b"{}", b"\xff" * 40, (bundle / "model.sig").read_bytes()[:-30]):
        (bundle / "model.sig").write_bytes(damage)
        assert _verify(bundle, "--public-key", public)[0] == 8


def test_a_file_changed_with_its_manifest_is_found_by_the_signature(bundle: Path, tmp_path: Path) -> None:
    """Digests alone cannot: whoever changes a file can write its new digest."""
    private, public = _key_pair(tmp_path, "ours")
    _sign(bundle, private)
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    document["source"]["path"] = "another.keras"
    manifest = Manifest.from_document(document)
    path.write_bytes(manifest.with_files(manifest.files).to_bytes())
    assert _verify(bundle) == (0, {})
    assert _verify(bundle, "--public-key", public)[0] == 8


@pytest.mark.parametrize("name", [".gitignore", "extra.bin"])
def test_an_extra_file_is_found_by_both(bundle: Path, tmp_path: Path, name: str) -> None:
    private, public = _key_pair(tmp_path, "ours")
    _sign(bundle, private)
    (bundle / name).write_bytes(b"x")
    code, problems = _verify(bundle, "--public-key", public)
    assert (code, set(problems)) == (8, {"model.sig", name})


def test_what_does_not_verify_is_not_signed(bundle: Path, tmp_path: Path) -> None:
    private, _ = _key_pair(tmp_path, "ours")
    (bundle / "golden.npz").write_bytes(b"x")
    assert getattr(_sign(bundle, private).exception, "exit_code", None) == 8
    assert not (bundle / "model.sig").exists()


def test_keys_that_are_none_are_usage_errors(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    for key in (tmp_path / "text", tmp_path / "nothing"):
        assert getattr(_sign(bundle, key).exception, "exit_code", None) == 2
        (bundle / "model.sig").write_text("{}")
        assert _verify(bundle, "--public-key", key)[0] == 2
        (bundle / "model.sig").unlink()
    assert _verify(bundle, "--identity", "me@example.com")[0] == 2


def test_an_identity_without_a_network_is_said_to_be_unchecked(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither verified nor called bad: without Sigstore's keys nothing is known. Real code up to the first socket."""

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    private, _ = _key_pair(tmp_path, "ours")
    _sign(bundle, private)
    code, problems = _verify(bundle, "--identity", "me@example.com", "--identity-provider", "https://accounts.example")
    assert code == 4
    assert "me@example.com" in problems["error"]
    assert "cannot be checked" in problems["error"]
    for half in (["--identity", "me@example.com"], ["--identity-provider", "https://accounts.example"]):
        assert _verify(bundle, *half)[0] == 2
