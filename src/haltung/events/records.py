"""What is read from an article: labelled segments, scored dyads, and an event for each dyad."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from haltung.actors.finder import Mention
from haltung.events.text.read import Article, Language
from haltung.events.text.sentences import Removed
from haltung.files import csv_cell
from haltung.records import Dyad, Prediction, Segment, Span


@dataclass(frozen=True)
class ScoredDyad(Dyad):
    """A dyad with its probability and the spans of source and target in the segment."""

    probability: float
    source_span: Span | None = None
    target_span: Span | None = None

    @property
    def dyad(self) -> Dyad:
        """The dyad without probability and spans, as gold has it."""
        return Dyad(self.source, self.target, self.stance)

    def to_dict(self) -> dict[str, Any]:
        """Return the dyad with its probability as plain data, without spans."""
        return {**asdict(self.dyad), "probability": self.probability}


@dataclass(frozen=True)
class LabelledArticle:
    """The segments of an article with actors and predictions."""

    segments: Sequence[Segment]
    mentions: Sequence[Sequence[Mention]]
    predictions: Sequence[Prediction]


# Finds the dyads of an article: a list for each segment.
DyadFinder = Callable[[LabelledArticle], list[list[ScoredDyad]]]


@dataclass(frozen=True)
class Event:
    """One dyad of one segment, with its PLOVER event; positions are in the article's text.

    ``quad`` and ``intensity`` are None and ``plover`` is "" for a warning (see ``Plover``).
    """

    article: str
    segment: str
    date: str
    medium: str
    source: str
    target: str
    stance: str
    topic: str
    probability: Annotated[float, Field(ge=0, le=1, strict=True)]
    plover: str
    mode: str
    quad: Annotated[int, Field(ge=1, le=4, strict=True)] | None
    intensity: Annotated[float, Field(ge=-10, le=10, strict=True)] | None
    start: int
    end: int
    source_span: Span | None
    target_span: Span | None
    text: str


@dataclass(frozen=True)
class LabelledSegment:
    """A sentence at ``[start, end)`` of its article; mentions and dyads have positions in it."""

    segment: Segment
    start: int
    end: int
    prediction: Prediction
    mentions: tuple[Mention, ...]
    dyads: tuple[ScoredDyad, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return id, position, text, labels, probabilities, actors and dyads as plain data."""
        actors = [{key: getattr(one, key) for key in ("start", "end", "text", "code", "kind")} for one in self.mentions]
        dyads = [one.to_dict() for one in self.dyads]
        sentence = {"id": self.segment.id, "start": self.start, "end": self.end, "text": self.segment.text}
        return {**sentence, **self.prediction.to_dict(), "id": self.segment.id, "actors": actors, "dyads": dyads}


@dataclass(frozen=True)
class ArticleEvents:
    """All results for an article; ``notes`` is what a reader of the events should know."""

    article: Article
    language: Language
    segments: tuple[LabelledSegment, ...]
    events: tuple[Event, ...]
    removed: tuple[Removed, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the article as plain data, one line of the output file."""
        return {
            "id": self.article.id, "headline": self.article.headline, "date": self.article.date, "medium": self.article.source,
            "language": self.language.code, "notes": list(self.notes), "segments": [one.to_dict() for one in self.segments],
            "events": [asdict(one) for one in self.events], "removed": [asdict(one) for one in self.removed],
        }  # fmt: skip


# The columns of events as CSV: date, actors and event in the order of event data, then the source.
COLUMNS = (
    "date", "source", "target", "plover", "mode", "quad", "intensity", "stance", "topic", "probability", "article", "segment",
    "start", "end", "medium", "text",
)  # fmt: skip


def as_lines(articles: Iterable[ArticleEvents]) -> str:
    """Return articles as JSON Lines."""
    return "".join(json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in articles)


def as_table(articles: Iterable[ArticleEvents], header: bool) -> str:
    """Return the events of articles as CSV, with a ``header`` if it is set."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerows([COLUMNS] * header)
    rows = ([getattr(event, name) for name in COLUMNS] for one in articles for event in one.events)
    table.writerows([round(cell, 4) if isinstance(cell, float) else csv_cell(cell) for cell in row] for row in rows)
    return out.getvalue()
