"""Keys for signatures, in the format of OpenSSL."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def new_key(path: Path) -> tuple[Path, Path]:
    """Write a new private key and its public key; return their paths."""
    key, private, public = Ed25519PrivateKey.generate(), path.with_suffix(".pem"), path.with_suffix(".pub.pem")
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public
