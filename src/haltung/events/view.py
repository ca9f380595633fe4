"""The corpus view ``dyads``: segments with gold dyads become rows for each ordered pair of the actors found in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haltung import labels
from haltung.corpus.reading import Dropped, Reading
from haltung.errors import UserError
from haltung.events.pairs import MOST, Pair, actors_of, marked, pairs_of
from haltung.labels import Scheme
from haltung.paths import shipped
from haltung.records import Segment

NONE = "none"


@dataclass(frozen=True)
class Dyads:
    """The rows that a dyad model learns from, made of another reader's segments.

    ``source`` reads them, by the label scheme at ``labels``. A row's label is the stance of the pair's gold dyad, ``none`` where there is
    none. Outside of the test split, only ``negatives`` rows without a dyad are kept of a segment, and ``of_neutral`` of one that is
    neutral, drawn by their ids. ``tables`` is a folder of further actors; ``most`` limits the actors of a segment.
    """

    source: Any
    labels: str
    negatives: int = 3
    of_neutral: int = 1
    most: int = MOST
    tables: str | None = None

    def files(self) -> tuple[Path, ...]:
        """The files that are read, the tables of actors among them: with other tables it is another corpus."""
        folders = [shipped("data") / "actors", *([Path(self.tables)] if self.tables else [])]
        tables = [file for folder in folders for file in sorted(folder.glob("*.csv"))]
        return (*self.source.files(), Path(self.labels), *tables)

    def read(self, scheme: Scheme) -> Reading:
        """Read the source and pair its actors.

        Raises:
            UserError: the scheme is not that of dyads, the source is broken, or so are the tables of actors.
        """
        from haltung.events.actors import Actors

        if "stance" not in scheme.names or NONE not in scheme["stance"].ids:
            raise UserError(f"the label scheme '{scheme.name}' has no task 'stance' with a label 'none'; corpus=dyads wants labels=dyads")
        for name, value in (("negatives", self.negatives), ("of_neutral", self.of_neutral)):
            if value < 0:
                raise UserError(f"corpus.reader.{name} is {value}; expected 0 or more")
        reading = self.source.read(labels.load(Path(self.labels)))
        finder = Actors.load(extra=Path(self.tables) if self.tables else None)
        rows: list[Segment] = []
        dropped = list(reading.dropped)
        for segment in reading.segments:
            own, before = mentions_of(segment, finder)
            found = pairs_of(actors_of(own, before, self.most))
            missed = {(dyad.source, dyad.target) for dyad in segment.dyads} - {pair.codes for pair in found}
            for source, target in sorted(missed):
                detail = f"the actors of the dyad {source or '–'} → {target or '–'} were not both found in the sentence or before it"
                dropped.append(Dropped(f"{segment.id}:{source}>{target}", segment.where, "actor_not_found", detail))
            rows += self._rows(segment, found)
        return Reading(tuple(rows), tuple(dropped))

    def _rows(self, segment: Segment, found: Sequence[Pair]) -> list[Segment]:
        stances = {(dyad.source, dyad.target): dyad.stance for dyad in reversed(segment.dyads)}
        positive = [pair for pair in found if pair.codes in stances]
        rest = [pair for pair in found if pair.codes not in stances]
        if segment.split != "test":
            rest.sort(key=lambda pair: hashlib.sha1(f"{segment.id}:{pair.codes}".encode()).hexdigest())
            rest = rest[: self.negatives if segment.dyads else self.of_neutral]
        kept = [pair for pair in found if pair in positive or pair in rest]
        return [replace(marked(segment, pair), labels={"stance": stances.get(pair.codes, NONE)}) for pair in kept]


def mentions_of(segment: Segment, finder: Any) -> tuple[list[Any], list[Any]]:
    """Return the mentions of actors in the segment's own text, and those in its context."""
    if not segment.context:
        return finder.article([segment.text], segment.date)[0], []
    before, own = finder.article([segment.context, segment.text], segment.date)
    return own, before
