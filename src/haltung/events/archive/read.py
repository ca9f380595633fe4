"""Read an archive of events that ``haltung events`` wrote, and select events from it."""

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haltung.corpus.parsing.lines import csv_rows, existing, json_rows
from haltung.errors import UserError, listed, one_of
from haltung.events import plover as crosswalk
from haltung.events.records import COLUMNS, Event
from haltung.events.text.read import Article

_LINES, _TABLE = ".jsonl", ".csv"
_CENTURY = 100
# Of an article of the greatest length, with all probabilities of its sentences.
_LONGEST_LINE = 100_000_000
_WORDS = ("article", "segment", "medium", "source", "target", "topic", "plover", "mode", "date", "stance", "text")
_WRITTEN = "haltung events writes it with output=FILE.jsonl or table=FILE.csv"


@dataclass(frozen=True)
class Archive:
    """Events and the articles they are from, without their texts; ``notes`` say what was odd.

    ``is_whole`` says whether articles without an event are known: in JSON Lines but not in CSV.
    """

    events: tuple[Event, ...]
    articles: Mapping[str, Article]
    is_whole: bool
    notes: tuple[str, ...] = ()

    def headline(self, article: str) -> str:
        """Return the headline of an article, its id where it has none."""
        return (self.articles[article].headline if article in self.articles else "") or article


def find(given: Sequence[str]) -> list[Path]:
    """Return the files, and ``*.jsonl`` and ``*.csv`` in folders; ``UserError`` for any without."""
    paths: list[Path] = []
    for name in given:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in (_LINES, _TABLE) and not file.name.startswith("."))
            if not inside:
                raise UserError(f"{path} has no archive of events; expected files *.jsonl or *.csv: {_WRITTEN}")
            paths += inside
        elif existing(path, f"name an archive of events: {_WRITTEN}").suffix.lower() not in (_LINES, _TABLE):
            raise UserError(f"{path} is neither *.jsonl nor *.csv; name an archive of events: {_WRITTEN}")
        else:
            paths.append(path)
    # JSON Lines first, since they have more: of an event in two files the first one counts.
    return sorted(dict.fromkeys(paths), key=lambda path: path.suffix.lower() != _LINES)


def read(files: Sequence[Path]) -> Archive:
    """Read an archive; an event in several files counts once.

    Raises ``UserError`` if a file can't be read or has no event, or a line is not an archive's.
    """
    events: list[Event] = []
    owners: dict[tuple[object, ...], Path] = {}
    articles: dict[str, Article] = {}
    repeated = 0
    for path in files:
        reader = _lines if path.suffix.lower() == _LINES else _table
        for article, article_events in reader(path):
            articles.setdefault(article.id, article)
            for event in article_events:
                key = (event.article, event.segment, event.source, event.target, event.stance, event.text)
                if owners.setdefault(key, path) != path:
                    repeated += 1
                else:
                    # An event that is twice in one file was read twice, and counts twice.
                    events.append(event)
    if not events:
        raise UserError(f"{listed(map(str, files))}: no event in {len(articles):,} articles, so there is nothing to draw")
    notes = (f"{repeated:,} events are in two files and count once",) if repeated else ()
    return Archive(tuple(events), articles, all(path.suffix.lower() == _LINES for path in files), notes)


def select(
    events: Sequence[Event], *, since: str = "", until: str = "", min_probability: float = 0.0,
    topics: Sequence[str] = (), stances: Sequence[str] = (),
) -> list[Event]:  # fmt: skip
    """Return the selected events that have both a source and a target.

    Dates are ISO and inclusive; an empty filter selects all.
    Raises ``UserError`` (it names the filter) if a topic or stance is unknown, or no event is left.
    """
    for topic in topics:
        one_of("topic", topic, sorted({event.topic for event in events if event.topic}))
    for stance in stances:
        one_of("stance", stance, crosswalk.load())
    steps: list[tuple[object, str, Callable[[Event], bool]]] = [
        (True, "has both a source and a target", is_whole),
        (since, f"is of since={since} or later", lambda event: event.date >= since),
        (until, f"is of until={until} or before", lambda event: "" < event.date <= until),
        (min_probability, f"has a probability of {min_probability=:g}", lambda event: event.probability >= min_probability),
        (topics, f"has topic={','.join(topics)}", lambda event: event.topic in topics),
        (stances, f"has stance={','.join(stances)}", lambda event: event.stance in stances),
    ]
    left = list(events)
    for is_wanted, condition, passes in steps:
        before, left = left, [event for event in left if not is_wanted or passes(event)]
        if not left:
            rest = "" if len(before) == len(events) else f" the {len(before):,} left of"
            dates = sorted(event.date for event in before if event.date)
            extent = f"their dates go from {dates[0]} to {dates[-1]}" if dates else "none of them has a date"
            raise UserError(f"no event can be drawn: of{rest} {len(events):,} events none {condition}; {extent}")
    return left


def folded(events: Sequence[Event]) -> list[Event]:
    """Return the events with actors inside a state replaced by it: ``USA-OPP`` becomes ``USA``."""
    return [replace(event, source=event.source.partition("-")[0], target=event.target.partition("-")[0]) for event in events]


def is_whole(event: Event) -> bool:
    """Return whether an event has a source and a target, as every plot needs them."""
    return bool(event.source and event.target)


def suspicious_dates(events: Sequence[Event]) -> list[str]:
    """Return a note where dates span a century, which a slip in one of them does."""
    dates = sorted(event.date for event in events if event.date)
    if not dates or int(dates[-1][:4]) - int(dates[0][:4]) < _CENTURY:
        return []
    return [f"the dates go from {dates[0]} to {dates[-1]}; since= and until= leave out those that can't be right"]


def _lines(path: Path) -> Iterator[tuple[Article, list[Event]]]:
    for row in json_rows(path, max_line_bytes=_LONGEST_LINE):
        if row.fault:
            raise UserError(f"{row.where}: {row.fault.detail}; {_WRITTEN}")
        id, events = row.data.get("id"), row.data.get("events")
        if not isinstance(id, str) or not isinstance(events, list):
            raise UserError(f"{row.where}: no article with its events (an object with 'id' and 'events'); {_WRITTEN}")
        article = Article(id, "", str(row.data.get("headline") or ""), _day(str(row.data.get("date") or ""), row.where))
        yield article, [_event(one, row.where) for one in events]


def _table(path: Path) -> Iterator[tuple[Article, list[Event]]]:
    rows = csv_rows(path, separator=",", quotechar='"')
    _, header = next(rows, (1, []))
    if missing := [name for name in COLUMNS if name not in header]:
        raise UserError(f"{path}, line 1: the table has no column {listed(missing)}; {_WRITTEN}, separated by commas")
    for number, cells in rows:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {number}: not {len(header)} cells, as the first line has; {_WRITTEN}")
        event = _event(dict(zip(header, cells, strict=True)), f"{path}, line {number}")
        yield Article(event.article, "", date=event.date), [event]


def _event(fields: Any, where: str) -> Event:
    if not isinstance(fields, Mapping):
        raise UserError(f"{where}: an event is {fields!r:.40}, expected an object; {_WRITTEN}")
    for name in _WORDS:
        if not isinstance(fields.get(name), str):
            raise UserError(f"{where}: {name} of an event is {fields.get(name)!r:.40}, expected text; {_WRITTEN}")
    texts = {name: fields[name] for name in _WORDS}
    one_of(f"{where}: stance", texts["stance"], crosswalk.load())
    texts["date"] = _day(texts["date"], where)
    probability = _number(fields, "probability", where, 0, 1)
    if probability is None:
        raise UserError(f"{where}: an event has no probability; {_WRITTEN}")
    quad, intensity = _number(fields, "quad", where, 1, 4), _number(fields, "intensity", where, -10, 10)
    return Event(
        **texts, probability=probability, quad=None if quad is None else int(quad), intensity=intensity,
        start=0, end=0, source_span=None, target_span=None,
    )  # fmt: skip


def _number(fields: Mapping[str, Any], name: str, where: str, low: float, high: float) -> float | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    # A boolean is a number to Python, and none here.
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            if low <= (number := float(value)) <= high:
                return number
    raise UserError(f"{where}: {name} of an event is {value!r:.40}, expected a number from {low} to {high}; {_WRITTEN}")


def _day(date: str, where: str) -> str:
    try:
        return datetime.date.fromisoformat(date[:10]).isoformat() if date else ""
    except ValueError:
        raise UserError(f"{where}: the date is '{date[:40]}', expected YYYY-MM-DD or nothing; {_WRITTEN}") from None
