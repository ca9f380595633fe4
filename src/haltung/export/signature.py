"""A signature of a bundle: ed25519 over ``haltung.json``, which has the SHA-256 of every file."""

import math
from pathlib import Path
from typing import Any

from haltung.errors import UserError, first_line
from haltung.export.write import write_description
from haltung.inference.client import BundleError, file_of
from haltung.models import bundle

FILE = "haltung.json.sig"
_SIGNER = "signer"  # the public key in the description, to distinguish another signer from a change


def read_key(path: str, kind: str) -> Any:
    """Return the ``private`` or ``public`` ed25519 key of a PEM file, or raise ``UserError``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    is_private = kind == "private"
    try:
        data = Path(path).expanduser().read_bytes()
        key = load_pem_private_key(data, None) if is_private else load_pem_public_key(data)
        if isinstance(key, Ed25519PrivateKey if is_private else Ed25519PublicKey):
            return key
        why = "it is another kind of key"
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = first_line(error)
    remedy = "genpkey -algorithm ed25519 -out KEY.pem" if is_private else "pkey -in KEY.pem -pubout -out PUBLIC.pem"
    raise UserError(f"{path} is not a {kind} ed25519 key in PEM without a password ({why}); make one: openssl {remedy}")


def sign(folder: Path, key: Any) -> None:
    """Update the digests of all files of an exported bundle, and sign them."""
    write_description(folder, {**bundle.describe(folder), _SIGNER: key.public_key().public_bytes_raw().hex()})
    (folder / FILE).write_bytes(key.sign((folder / bundle.DESCRIPTION).read_bytes()))


def fault(folder: Path, key: Any) -> str:
    """Return why a bundle is not what the owner of a public key signed, or ""; nothing is run."""
    from cryptography.exceptions import InvalidSignature

    description = bundle.describe(folder)
    files, signer, own = description.get("files", {}), description.get(_SIGNER), key.public_bytes_raw().hex()
    if not (folder / FILE).exists():
        return f"{folder} is not signed: it has no {FILE}"
    with bundle.broken_parts(folder):
        signature = file_of(folder, FILE, {}, 1000).read_bytes()
    try:
        key.verify(signature, (folder / bundle.DESCRIPTION).read_bytes())
    except InvalidSignature:
        changed = f"{folder / bundle.DESCRIPTION} has been changed since it was signed by this key"
        return changed if signer == own else f"{folder} is signed by another key, {str(signer)[:64]!a}; this one is {own!a}"
    if not files:
        return f"{folder} is signed by this key, but lists no files, so they could come from anyone"
    for name in files:
        try:
            file_of(folder, name, description, math.inf)
        except BundleError as error:
            return str(error)
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    # Hidden files are those of the hub and of file managers; nothing reads them.
    added = [name for name in there if name not in files and name not in (bundle.DESCRIPTION, FILE) and not name.startswith(".")]
    return f"{folder / added[0]} was added since {folder} was signed by this key" if added else ""
