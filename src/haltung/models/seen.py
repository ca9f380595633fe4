"""What a model has learned from, kept in its bundle as a list of marks: so that nobody scores it on its own training data unawares."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from haltung.records import Segment

FILE = "learned.txt"

# Twelve hex digits: among a million texts two meet by chance once in about 500 corpora.
_DIGITS = 12


def write(folder: Path, segments: Iterable[Segment]) -> None:
    """Write the marks of train and dev segments into a bundle's folder, a line each; the texts can't be read back from them."""
    (folder / FILE).write_text("".join(f"{mark}\n" for mark in sorted({_mark(segment) for segment in segments})), encoding="ascii")


def seen(folder: Path, segments: Sequence[Segment]) -> list[str] | None:
    """Return the ids of the segments that the bundle's model, or a member of its ensemble, has learned from, or was chosen on.

    A segment is the same whose text is, but for spaces and capitals, and whose target is where it is read towards one.

    Returns:
        None where the bundle holds no list, as those of older versions do.
    """
    files = sorted(folder.rglob(FILE))
    if not files:
        return None
    known = {mark for file in files for mark in file.read_text(encoding="ascii").split()}
    return [segment.id for segment in segments if _mark(segment) in known]


def _mark(segment: Segment) -> str:
    text = "\0".join(" ".join(part.split()).casefold() for part in (segment.text, segment.target or ""))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
