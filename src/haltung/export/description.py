"""``haltung.json`` of an exported bundle: written last, and able to tell whether anything has been changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haltung.files import sha256
from haltung.models.bundle import DESCRIPTION


def write(folder: Path, description: Mapping[str, Any]) -> None:
    """Write ``haltung.json``, with the SHA-256 of every other file, and of itself without that line."""
    others = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DESCRIPTION)
    whole = {**description, "files": {path.relative_to(folder).as_posix(): sha256(path) for path in others}}
    whole["digest"] = digest(whole)
    (folder / DESCRIPTION).write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def digest(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a description without its ``digest``, in the order in which it stands there."""
    rest = {key: value for key, value in description.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, ensure_ascii=True).encode()).hexdigest()
