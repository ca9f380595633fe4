"""The dataset ``dyads``: a question for each actor that may be a side of a segment's gold dyads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haltung import labels
from haltung.corpus import store as prepared
from haltung.corpus.parsing.rows import Dropped, Reading, source_files
from haltung.corpus.split import SPLITS
from haltung.errors import UserError, listed
from haltung.events.dyads.features import ITSELF, MAX_CANDIDATES, NONE, ROLES, SIDES, STATE, Candidate, candidates, gold_labels, question
from haltung.files import shipped
from haltung.labels import Scheme
from haltung.records import Segment


@dataclass(frozen=True)
class Dyads:
    """The rows that a dyad model learns from, made from the segments of another reader.

    ``source`` reads the segments, with the label scheme at ``labels``. A row is the question about
    one candidate (see ``features``); its labels say as whom that one is source and target of the
    segment's gold dyads. Outside the test split, a segment without dyads gives only ``of_neutral``
    rows, drawn by their ids. ``tables`` is a folder of further actors, ``most`` limits the
    candidates of a segment. ``like`` is a prepared corpus whose articles are in the same split
    here, so that a model continuing with an encoder trained there has not seen dev.
    """

    source: Any
    labels: str
    of_neutral: int = 0
    most: int = MAX_CANDIDATES
    tables: str | None = None
    like: str | None = None

    def files(self) -> tuple[Path, ...]:
        """The files that are read; with other tables of actors it is another corpus."""
        folders = [shipped("data") / "actors", *([Path(self.tables)] if self.tables else [])]
        tables = [file for folder in folders for file in sorted(folder.glob("*.csv"))]
        like = [Path(self.like) / "manifest.json"] if self.like else []
        return (*source_files(self.source), Path(self.labels), *tables, *like)

    def read(self, scheme: Scheme) -> Reading:
        """Read the source and make the questions about its actors.

        Raises:
            UserError: the scheme is not that of dyads, or the source, the tables of actors or
                ``like`` are broken.
        """
        from haltung.actors.finder import Actors

        wanted = {NONE, ITSELF, STATE, *ROLES}
        if any(side not in scheme.names or wanted - set(scheme[side].ids) for side in SIDES):
            raise UserError(f"the label scheme '{scheme.name}' has no tasks {listed(SIDES)} as dyads have; use labels=dyads")
        if self.of_neutral < 0:
            raise UserError(f"corpus.reader.of_neutral is {self.of_neutral}; expected 0 or more")
        reading = self.source.read(labels.load(Path(self.labels)))
        finder = Actors.load(extra=Path(self.tables) if self.tables else None)
        like = prepared.load(Path(self.like)) if self.like else None
        splits = {one.article: split for split in SPLITS for one in like.segments(split) if one.article} if like else {}
        segments = [replace(segment, split=splits.get(segment.article, segment.split)) for segment in reading.segments]
        rows: list[Segment] = []
        dropped = list(reading.dropped)
        for segment, named in candidates_of(segments, finder, self.most):
            labels_of: dict[str, list[str]] = {}
            for task, side in SIDES.items():
                codes = tuple(dict.fromkeys(code for code in (getattr(dyad, side) for dyad in segment.dyads) if code))
                labels_of[task], missed = gold_labels(named, codes)
                if missed:
                    known = listed(one.code for one in named)
                    detail = f"the {side} {listed(missed)} is no candidate and no role of one; the candidates are {known}"
                    dropped.append(Dropped(f"{segment.id}:{side}", segment.where, "actor_not_found", detail))
            stance = str(segment.labels["stance"])
            labels_of_each = [{task: labels_of[task][index] for task in SIDES} for index in range(len(named))]
            questions = [replace(question(segment, one, stance), labels=each) for one, each in zip(named, labels_of_each, strict=True)]
            if segment.split != "test" and not segment.dyads:
                questions = sorted(questions, key=lambda row: hashlib.sha1(row.id.encode()).hexdigest())[: self.of_neutral]
            rows += questions
        return Reading(tuple(rows), tuple(dropped))


def candidates_of(segments: Sequence[Segment], finder: Any, most: int = MAX_CANDIDATES) -> list[tuple[Segment, tuple[Candidate, ...]]]:
    """Return each segment with its candidates, reading article by article.

    The first segment's context, a headline where there is one, is read before the article.
    """
    articles: dict[str, list[int]] = {}
    for index, segment in enumerate(segments):
        articles.setdefault(segment.article or segment.id, []).append(index)
    out: dict[int, tuple[Candidate, ...]] = {}
    for indices in articles.values():
        first = segments[indices[0]]
        texts = [first.context, *(segments[index].text for index in indices)]
        mentions = finder.article(texts, first.date)
        begin = 0 if first.context else 1
        for number, index in enumerate(indices, start=1):
            out[index] = candidates(texts[begin:], mentions[begin:], number - begin, most)
    return [(segment, out[index]) for index, segment in enumerate(segments)]
