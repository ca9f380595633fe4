"""Read an archive of events that ``haltung events`` wrote, and select events from it."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from haltung.corpus.parsing.lines import existing, json_rows, several
from haltung.errors import UserError, listed, one_of
from haltung.events import plover as crosswalk
from haltung.events.records import Event
from haltung.events.text.read import Article
from haltung.records import faults_of

_LINES = ".jsonl"
_LONGEST_LINE = 100_000_000  # bytes; enough for the longest article with all probabilities of its sentences
_WRITTEN = "haltung events writes it with output=FILE.jsonl"


@dataclass(frozen=True)
class _Line:
    """The fields read from a line of an archive."""

    id: str
    events: tuple[Event, ...]
    headline: str | None = ""
    date: str | None = ""


@dataclass(frozen=True)
class Archive:
    """The events and all articles read, without their texts; ``notes`` report irregularities."""

    events: tuple[Event, ...]
    articles: Mapping[str, Article]
    notes: tuple[str, ...] = ()

    def headline(self, article: str) -> str:
        """Return the headline of an article, or its id if it has none."""
        return (self.articles[article].headline if article in self.articles else "") or article


def find(given: Sequence[str]) -> list[Path]:
    """Return the files, and ``*.jsonl`` in folders; ``UserError`` if a file or folder has none."""
    paths: list[Path] = []
    for name in given:
        path = Path(name).expanduser()
        inside = several(name)
        if inside is None and existing(path, f"name an archive of events: {_WRITTEN}").suffix.lower() != _LINES:
            raise UserError(f"{path} is not a *.jsonl file; name an archive of events: {_WRITTEN}")
        if not (found := [path] if inside is None else [file for file in inside if file.suffix.lower() == _LINES]):
            raise UserError(f"{path} has no archive of events; expected *.jsonl files: {_WRITTEN}")
        paths += found
    return list(dict.fromkeys(paths))


def read(files: Sequence[Path]) -> Archive:
    """Read an archive; events in two files count once. ``UserError``: invalid or without events."""
    events: list[Event] = []
    owners: dict[tuple[str, ...], Path] = {}
    articles: dict[str, Article] = {}
    repeated = 0
    checked = TypeAdapter(_Line)
    for path in files:
        for row in json_rows(path, max_line_bytes=_LONGEST_LINE):
            if row.fault:
                raise UserError(f"{row.where}: {row.fault.detail}; {_WRITTEN}")
            try:
                line = checked.validate_python(row.data)
            except ValidationError as error:
                raise UserError(f"{row.where}: not an article with its events: {faults_of(error)}; {_WRITTEN}") from None
            articles.setdefault(line.id, Article(line.id, "", line.headline or "", _day(line.date or "", row.where)))
            for event in line.events:
                one_of(f"{row.where}: stance", event.stance, crosswalk.load())
                key = (event.article, event.segment, event.source, event.target, event.stance, event.text)
                if owners.setdefault(key, path) != path:
                    repeated += 1
                else:
                    # An event that occurs twice in one file was found twice, and counts twice.
                    events.append(replace(event, date=_day(event.date, row.where)))
    if not events:
        raise UserError(f"{', '.join(map(str, files))}: no event in {len(articles):,} articles, so there is nothing to draw")
    return Archive(tuple(events), articles, (f"{repeated:,} events are in two files and are counted once",) if repeated else ())


def select(
    events: Sequence[Event], *, since: str = "", until: str = "", min_probability: float = 0.0,
    topics: Sequence[str] = (), stances: Sequence[str] = (),
) -> list[Event]:  # fmt: skip
    """Return the selected events that have both a source and a target.

    Dates are ISO and inclusive; an empty filter selects all.
    Raises ``UserError`` if a topic or stance is unknown, or (naming the filters) no event is left.
    """
    for topic in topics:
        one_of("topic", topic, sorted({event.topic for event in events if event.topic}))
    for stance in stances:
        one_of("stance", stance, crosswalk.load())
    left = [
        event
        for event in events
        if is_whole(event) and since <= event.date and (not until or "" < event.date <= until) and event.probability >= min_probability
        if (not topics or event.topic in topics) and (not stances or event.stance in stances)
    ]
    if not left:
        given = {"since": since, "until": until, "min_probability": min_probability, "topic": ",".join(topics), "stance": ",".join(stances)}
        asked = [f"{name}={value}" for name, value in given.items() if value]
        matches = f" and matches {listed(asked)}" if asked else ""
        raise UserError(f"no event can be drawn: none of {len(events):,} has both a source and a target{matches}; select more events")
    return left


def folded(events: Sequence[Event]) -> list[Event]:
    """Return the events with actors inside a state replaced by it: ``USA`` for ``USA-OPP``."""
    return [replace(event, source=event.source.partition("-")[0], target=event.target.partition("-")[0]) for event in events]


def is_whole(event: Event) -> bool:
    """Return whether an event has both a source and a target, which every plot needs."""
    return bool(event.source and event.target)


def _day(date: str, where: str) -> str:
    try:
        return datetime.date.fromisoformat(date[:10]).isoformat() if date else ""
    except ValueError:
        raise UserError(f"{where}: the date is '{date[:40]}', expected YYYY-MM-DD or nothing; {_WRITTEN}") from None
