"""Several sources as one corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haltung.corpus.parsing.rows import Reading
from haltung.errors import UserError
from haltung.labels import Scheme


@dataclass(frozen=True)
class Union:
    """The segments of all ``parts``, which are readers, in their order; they share one label scheme.

    Where only some parts give a dev split, their dev counts as train, so that the split cuts a dev from all parts alike: an epoch that is
    chosen on one part alone would be chosen for that part.
    """

    parts: Sequence[Any]

    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        return tuple(file for part in self.parts for file in part.files())

    def read(self, scheme: Scheme) -> Reading:
        """Read all parts.

        Raises:
            UserError: there are none, two parts share an id, or a part is broken.
        """
        if not self.parts:
            raise UserError("corpus.reader.parts is empty; a union needs at least one reader")
        readings = [part.read(scheme) for part in self.parts]
        homes: dict[str, str] = {}
        for reading in readings:
            for segment in reading.segments:
                if segment.id in homes:
                    raise UserError(
                        f"{segment.where}: the id '{segment.id}' is already that of {homes[segment.id]}; ids are shared by all parts"
                    )
                homes[segment.id] = segment.where
        gives = [any(segment.split == "dev" for segment in reading.segments) for reading in readings]
        segments = [segment for reading in readings for segment in reading.segments]
        if any(gives) and not all(gives):
            segments = [replace(segment, split="train") if segment.split == "dev" else segment for segment in segments]
        return Reading(tuple(segments), tuple(dropped for reading in readings for dropped in reading.dropped))
