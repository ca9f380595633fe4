"""What a reader gives back: segments, and the rows it could not use, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from haltung.labels import Scheme
from haltung.records import Segment


@dataclass(frozen=True)
class Dropped:
    """A row that does not reach the corpus: its id (or ""), where it stood ("file, line 3"), why, and what exactly was found.

    ``reason`` is a short fixed name that is counted (``duplicate``, ``empty_text``, ``mojibake``); ``detail`` is for a person.
    """

    id: str
    where: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Reading:
    """All of a source, in its own order."""

    segments: tuple[Segment, ...]
    dropped: tuple[Dropped, ...] = ()


class Reader(Protocol):
    """A source of segments; every reader is a frozen dataclass whose fields are set from ``configs/corpus/NAME.yaml``."""

    def read(self, scheme: Scheme) -> Reading:
        """Read everything.

        Raises:
            UserError: a file is missing or broken, or a label is not of the scheme.
        """
        ...
