"""Several sources as one corpus."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haltung.corpus.parsing.rows import Reading, source_files
from haltung.corpus.split import BESIDE
from haltung.errors import UserError
from haltung.labels import Scheme


@dataclass(frozen=True)
class Union:
    """The segments of all ``parts`` (readers), in order, with one label scheme.

    If only some parts have a dev split, it becomes train, so that dev is cut from all parts alike:
    an epoch selected on one part would suit that part only. The readers ``beside`` add their train
    split only, none of which becomes dev: texts to learn from whose distribution differs from that
    of the texts which the model is meant for.
    """

    parts: Sequence[Any]
    beside: Sequence[Any] = ()

    def files(self) -> tuple[Path, ...]:
        """Return the files of all parts (see ``Reader``)."""
        return tuple(file for part in (*self.parts, *self.beside) for file in source_files(part))

    def read(self, scheme: Scheme) -> Reading:
        """Read all parts (see ``Reader``); ``UserError`` if there are none."""
        if not self.parts:
            raise UserError("corpus.reader.parts is empty; a union needs at least one reader")
        readings = [part.read(scheme) for part in self.parts]
        segments = [segment for reading in readings for segment in reading.segments]
        has_dev = [any(segment.split == "dev" for segment in reading.segments) for reading in readings]
        if any(has_dev) and not all(has_dev):
            segments = [replace(segment, split="train") if segment.split == "dev" else segment for segment in segments]
        others = [part.read(scheme) for part in self.beside]
        segments += [replace(segment, split=BESIDE) for reading in others for segment in reading.segments if segment.split == "train"]
        every = (*readings, *others)
        dropped = tuple(one for reading in every for one in reading.dropped)
        votes = {id: each for reading in every for id, each in reading.votes.items()}
        votes = {one.id: votes[one.id] for one in segments if one.id in votes}
        notes = tuple(note for reading in every for note in reading.notes)
        return Reading(tuple(segments), dropped, votes, notes, unlabelled=next(filter(None, (one.unlabelled for one in every)), ""))
