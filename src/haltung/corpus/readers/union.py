"""Several sources as one corpus."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haltung.corpus.parsing.rows import Reading, source_files
from haltung.errors import UserError
from haltung.labels import Scheme


@dataclass(frozen=True)
class Union:
    """The segments of all ``parts``, which are readers, in their order, with one label scheme.

    If only some parts give a dev split, their dev counts as train, so that dev is cut from all
    parts alike: an epoch chosen on one part alone would be chosen for that part.
    """

    parts: Sequence[Any]

    def files(self) -> tuple[Path, ...]:
        """Return the files of all parts (see ``Reader``)."""
        return tuple(file for part in self.parts for file in source_files(part))

    def read(self, scheme: Scheme) -> Reading:
        """Read all parts (see ``Reader``); ``UserError`` if there are none."""
        if not self.parts:
            raise UserError("corpus.reader.parts is empty; a union needs at least one reader")
        readings = [part.read(scheme) for part in self.parts]
        segments = [segment for reading in readings for segment in reading.segments]
        has_dev = [any(segment.split == "dev" for segment in reading.segments) for reading in readings]
        if any(has_dev) and not all(has_dev):
            segments = [replace(segment, split="train") if segment.split == "dev" else segment for segment in segments]
        return Reading(tuple(segments), tuple(dropped for reading in readings for dropped in reading.dropped))
