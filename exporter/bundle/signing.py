"""Signatures over a bundle in OpenSSF's model signing format (`model.sig`): who vouches for it.

The package `model-signing` does the cryptography (extra `sign`). Keys are elliptic curve keys in PEM files and need no
network. Signatures by identity (Sigstore) are verified with the network: edgeport's tests have run that path only
as far as the network.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import StepError, UsageError
from exporter.bundle.checking import Problem
from exporter.bundle.disk import write_file
from exporter.bundle.reading import open_bundle
from exporter.bundle.staging import locked

SIGNATURE = "model.sig"


@dataclass(frozen=True)
class Signer:
    """Whose signature is expected: that of a public key, or an identity that a provider vouches for.

    Attributes:
        public_key: a PEM file.
        identity: such as an e-mail address or a workflow's URL.
        provider: the OpenID Connect issuer of the identity.
    """

    public_key: Path | None = None
    identity: str | None = None
    provider: str | None = None

    def __str__(self) -> str:
        return f"the key {self.public_key}" if self.public_key else f"{self.identity} (by {self.provider})"


def sign(folder: Path, key: Path) -> Path:
    """Writes `model.sig` over every other file of a bundle that verifies; returns its path.

    Raises:
        UsageError: there is no such bundle or key, or the key cannot be used.
        IntegrityError: the bundle does not verify: what is damaged is not signed.
        LockedError: a run is about to replace the bundle.
        StepError: the package model-signing is not installed.
    """
    _package()
    with locked(folder):
        open_bundle(folder)
        with tempfile.TemporaryDirectory(prefix="edgeport-") as scratch:
            path = Path(scratch) / SIGNATURE
            try:
                from model_signing import signing

                config = signing.Config().use_elliptic_key_signer(private_key=_file(key)).set_hashing_config(_hashing())
                config.sign(folder, path)
            except (ValueError, TypeError, OSError, AttributeError) as cause:
                raise UsageError(
                    f"{key} cannot sign ({_first_line(cause)}).",
                    next_step="Give an unencrypted elliptic curve key in PEM form: openssl ecparam -name prime256v1 "
                    "-genkey -noout -out key.pem",
                    file=key,
                    step="sign",
                ) from cause
            write_file(folder / SIGNATURE, path.read_bytes())
    return folder / SIGNATURE


def verify_signature(folder: Path, signer: Signer) -> list[Problem]:
    """The problems of a bundle's signature; an empty list means that the expected signer signed these very files.

    Raises:
        UsageError: the public key cannot be read.
        StepError: the package model-signing is not installed, or Sigstore's keys cannot be had.
    """
    _package()
    path = folder / SIGNATURE
    if not path.is_file() or path.is_symlink():
        return [Problem(SIGNATURE, f"is missing: a signature by {signer} is expected")]
    from model_signing import verifying

    config = verifying.Config()
    if signer.public_key is not None:
        _public(config, signer.public_key)
    else:
        _identity(config, signer)
    try:
        config.set_hashing_config(_hashing()).verify(folder, path)
    except Exception as cause:  # a damaged file fails anywhere in protobuf, JSON, base64 or the cryptography
        why = _first_line(cause)
        return [Problem(SIGNATURE, f"is no signature by {signer} over these files ({why})")]
    return []


def _hashing() -> Any:
    """Every file but the signature itself, git's own names too, no links."""
    from model_signing import hashing

    return hashing.Config().use_file_serialization().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _public(config: Any, key: Path) -> None:
    try:
        config.use_elliptic_key_verifier(public_key=_file(key))
    except (ValueError, TypeError, OSError, AttributeError) as cause:
        raise UsageError(
            f"{key} is no public key ({_first_line(cause)}).",
            next_step="Give the PEM file that `openssl ec -in key.pem -pubout` writes.",
            file=key,
            step="verify",
        ) from cause


def _identity(config: Any, signer: Signer) -> None:
    """Sets the verifier up, for which Sigstore's own keys are fetched and checked (The Update Framework)."""
    from sigstore.errors import Error

    try:
        config.use_sigstore_verifier(identity=str(signer.identity), oidc_issuer=str(signer.provider))
    except (Error, OSError) as cause:
        raise StepError(
            f"The signature by {signer} cannot be checked: Sigstore's own keys cannot be had ({_first_line(cause)}).",
            next_step="Connect to the network and try again, or check a signature by key with --public-key.",
            step="verify",
        ) from cause


def _file(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"{path} is not there.", next_step="Check the path of the key.", file=path)
    return path


def _first_line(cause: BaseException) -> str:
    return (str(cause).splitlines() or [""])[0][:160] or type(cause).__name__


def _package() -> None:
    try:
        import model_signing  # noqa: F401
    except ImportError as cause:
        raise StepError(
            f"Signatures need the package model-signing ({cause}).",
            next_step="Install it: pip install 'edgeport[sign]'.",
            step="sign",
        ) from cause
