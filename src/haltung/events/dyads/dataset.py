"""The corpus view ``dyads``: segments with gold dyads become a row for each actor that may have a part in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haltung import labels
from haltung.corpus import store as prepared
from haltung.corpus.parsing.rows import Dropped, Reading
from haltung.corpus.split import SPLITS
from haltung.errors import UserError, listed
from haltung.events.dyads.features import ITSELF, MOST, NONE, ROLES, STATE, Candidate, candidates, marked, parts
from haltung.files import shipped
from haltung.labels import Scheme
from haltung.records import Segment

# The tasks of the label scheme `dyads`, and the side of a dyad that each tells: as whom a candidate takes the stance, as whom it is meant.
SIDES = {"source_role": "source", "target_role": "target"}


@dataclass(frozen=True)
class Dyads:
    """The rows that a dyad model learns from, made of another reader's segments.

    ``source`` reads them, by the label scheme at ``labels``. A row asks about one candidate of a segment (see ``candidates``); its labels
    say as whom that one is source and target of the segment's gold dyads. Outside of the test split, only ``of_neutral`` rows of a
    segment without dyads are kept, drawn by their ids. ``tables`` is a folder of further actors; ``most`` limits the candidates of a
    segment. ``like`` is a prepared corpus whose articles are in the same split here: a model that goes on from the encoder of one
    trained there has then not seen anything of its own dev.
    """

    source: Any
    labels: str
    of_neutral: int = 0
    most: int = MOST
    tables: str | None = None
    like: str | None = None

    def files(self) -> tuple[Path, ...]:
        """The files that are read, the tables of actors among them: with other tables it is another corpus."""
        folders = [shipped("data") / "actors", *([Path(self.tables)] if self.tables else [])]
        tables = [file for folder in folders for file in sorted(folder.glob("*.csv"))]
        like = [Path(self.like) / "manifest.json"] if self.like else []
        return (*self.source.files(), Path(self.labels), *tables, *like)

    def read(self, scheme: Scheme) -> Reading:
        """Read the source and ask about its actors.

        Raises:
            UserError: the scheme is not that of dyads, the source is broken, or so are the tables of actors or ``like``.
        """
        from haltung.actors.finder import Actors

        wanted = {NONE, ITSELF, STATE, *ROLES}
        if any(side not in scheme.names or wanted - set(scheme[side].ids) for side in SIDES):
            raise UserError(f"the label scheme '{scheme.name}' has no tasks {listed(SIDES)} as dyads have; use labels=dyads")
        if self.of_neutral < 0:
            raise UserError(f"corpus.reader.of_neutral is {self.of_neutral}; expected 0 or more")
        reading = self.source.read(labels.load(Path(self.labels)))
        finder = Actors.load(extra=Path(self.tables) if self.tables else None)
        homes = _splits(Path(self.like)) if self.like else {}
        segments = [replace(segment, split=homes.get(segment.article, segment.split)) for segment in reading.segments]
        rows: list[Segment] = []
        dropped = list(reading.dropped)
        for segment, found in candidates_of(segments, finder, self.most):
            told: dict[str, list[str]] = {}
            for task, side in SIDES.items():
                codes = tuple(dict.fromkeys(code for code in (getattr(dyad, side) for dyad in segment.dyads) if code))
                told[task], missed = parts(found, codes)
                if missed:
                    known = listed(one.code for one in found) or "nobody"
                    detail = f"the {side} {listed(missed)} can't be told by the actors that were found: {known}"
                    dropped.append(Dropped(f"{segment.id}:{side}", segment.where, "actor_not_found", detail))
            rows += self._rows(segment, found, told)
        return Reading(tuple(rows), tuple(dropped))

    def _rows(self, segment: Segment, found: Sequence[Candidate], told: dict[str, list[str]]) -> list[Segment]:
        stance = str(segment.labels["stance"])
        rows = [
            replace(marked(segment, one, stance), labels={side: told[side][place] for side in SIDES}) for place, one in enumerate(found)
        ]
        if segment.split == "test" or segment.dyads:
            return rows
        return sorted(rows, key=lambda row: hashlib.sha1(row.id.encode()).hexdigest())[: self.of_neutral]


def _splits(folder: Path) -> dict[str, str]:
    """Return the split of each article of a prepared corpus."""
    corpus = prepared.load(folder)
    return {segment.article: split for split in SPLITS for segment in corpus.segments(split) if segment.article}


def candidates_of(segments: Sequence[Segment], finder: Any, most: int = MOST) -> list[tuple[Segment, tuple[Candidate, ...]]]:
    """Return each segment with its candidates; those of an article are read together, in their order.

    The first segment's context, a headline where there is one, is read before the article.
    """
    articles: dict[str, list[int]] = {}
    for place, segment in enumerate(segments):
        articles.setdefault(segment.article or segment.id, []).append(place)
    out: dict[int, tuple[Candidate, ...]] = {}
    for places in articles.values():
        first = segments[places[0]]
        texts = [first.context, *(segments[place].text for place in places)]
        mentions = finder.article(texts, first.date)
        begin = 0 if first.context else 1
        for number, place in enumerate(places, start=1):
            out[place] = candidates(texts[begin:], mentions[begin:], number - begin, most)
    return [(segment, out[place]) for place, segment in enumerate(segments)]
