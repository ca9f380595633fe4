"""``haltung network``: an archive of events as a network, a matrix, and a series for a pair of actors."""

from __future__ import annotations

import calendar
import datetime
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from haltung.cli.build import Language, scheme_of, typed
from haltung.cli.config import each
from haltung.errors import UserError
from haltung.files import write_text

if TYPE_CHECKING:
    from haltung.events.archive.read import Archive, Selection
    from haltung.events.records import Event

# Values that hold commas or digits alone, which Hydra would take for a sweep or a number.
_TEXTS = ("input", "output", "series", "pair", "since", "until", "topic", "stance")

# An archive of news that goes back farther has a wrong date in it.
_CENTURY = 100

# The scheme whose stances events have, for the names of its labels.
_SCHEME = "diplomacy"


@dataclass(frozen=True)
class NetworkOptions:
    """The keys of the command."""

    input: str | None
    output: str | None
    pair: str | None
    series: str | None
    directions: Literal["summed", "apart"]
    since: str | None
    until: str | None
    min_probability: Annotated[float, Field(ge=0, le=1)]
    min_events: Annotated[int, Field(ge=1)]
    topic: str | None
    stance: str | None
    inside: Literal["merge", "keep"]
    language: Language


def run(arguments: Sequence[str]) -> int:
    """Draw an archive."""
    for request in each("network", arguments, texts=_TEXTS):
        _draw(typed(NetworkOptions, request.settings), request.config_dir)
    return 0


def _draw(options: NetworkOptions, config_dir: Path | None) -> None:
    output, series, pair = _asked(options)
    if options.input is None:
        raise UserError(
            "name the archive: input=FILE, what haltung events wrote with output=FILE.jsonl or table=FILE.csv, or a folder of these"
        )

    from haltung.events.archive import read as archives
    from haltung.events.archive.i18n import counted, say

    wanted = _selection(options)
    given = [options.input] if Path(options.input).expanduser().exists() else _several(options.input)
    archive = archives.read(archives.find(given))
    chosen = archives.select(archive.events, wanted)
    events = archives.folded(chosen) if options.inside == "merge" else chosen
    whole = sum(map(archives.is_whole, archive.events))
    notes = [say(options.language, "incomplete", events=counted(options.language, "events", len(archive.events) - whole))]
    notes = notes if whole < len(archive.events) else []
    if told := _told(options):
        notes.append(say(options.language, "chosen", filters=told))
    if options.inside == "merge":
        notes.append(say(options.language, "merged"))
    if output:
        _network(events, archive, options, output, notes, config_dir)
    if pair:
        _series(events, archive, options, pair, series, notes, config_dir)
    for note in (*archive.notes, *_odd_dates(events)):
        print(f"haltung: {note}", file=sys.stderr)


def _network(
    events: Sequence[Event], archive: Archive, options: NetworkOptions, output: Path, notes: Sequence[str], config_dir: Path | None
) -> None:
    from haltung.events.archive.network import network
    from haltung.events.archive.pages import network_page, summary

    scheme = scheme_of(_SCHEME, config_dir)
    drawn = network(events, options.min_events)
    tasks = {"topic": scheme["topic"], "stance": scheme["stance"]}
    _write(output, network_page(drawn, archive, tasks, options.language, fewest=options.min_events, notes=notes))
    print(f"{summary(drawn, 'en')}: {len(drawn.actors):,} actors, written to {output}")
    months = {event.date[:7] for event in events if event.date}
    if len(months) < 2:
        print(f"haltung: {'the events are of one month' if months else 'no event has a date'}, so the page has no slider", file=sys.stderr)


def _series(
    events: Sequence[Event],
    archive: Archive,
    options: NetworkOptions,
    pair: tuple[str, str],
    files: Sequence[Path],
    notes: Sequence[str],
    config_dir: Path | None,
) -> None:
    from haltung.events.archive import plot
    from haltung.events.archive.pages import series_page
    from haltung.events.archive.series import series

    found = series(events, archive, pair, since=_day("since", options.since), until=_day("until", options.until, last=True))
    stances = scheme_of(_SCHEME, config_dir)["stance"]
    for path in files:
        if path.suffix.lower() == ".png":
            plot.save(found, path, options.directions, options.language)
        else:
            _write(path, series_page(found, archive, stances, options.language, directions=options.directions, notes=notes))
    told = f"{found.total:,} events between {pair[0]} and {pair[1]} in {len(found.months):,} months"
    print(f"{told}, {found.gaps:,} of them without an article, written to {' and '.join(map(str, files))}")


def _asked(options: NetworkOptions) -> tuple[Path | None, list[Path], tuple[str, str] | None]:
    """Return the page to write, the files of the series, and its pair; what can't be is told before anything is read."""
    if options.output is None and options.series is None and options.pair is None:
        raise UserError(
            "name what to draw: output=FILE.html for network and matrix, or pair=USA,RUS series=FILE.png (or .html) for a series"
        )
    if options.series is not None and options.pair is None:
        raise UserError("name the two actors of the series, as in pair=USA,RUS")
    if options.pair is not None and options.series is None:
        raise UserError(f"pair={options.pair} asks for a series; name its file: series=FILE.png, series=FILE.html, or series=FILE for both")
    output = Path(options.output).expanduser() if options.output is not None else None
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"output is '{options.output}'; network and matrix are one HTML page, name it output=FILE.html")
    files = []
    if options.series is not None:
        path = Path(options.series).expanduser()
        kinds = {".png": [path], ".html": [path], "": [path.with_name(f"{path.name}{kind}") for kind in (".png", ".html")]}
        if path.suffix.lower() not in kinds or not path.name:
            raise UserError(f"series is '{options.series}'; name it FILE.png, FILE.html, or without a suffix for both")
        files = kinds[path.suffix.lower()]
    for file in [*([output] if output else []), *files]:
        if file.is_dir():
            raise UserError(f"{file} is a directory; name a file to draw to")
        if not file.parent.is_dir():
            raise UserError(f"{file.parent}: no such folder; make it, or name a file in one that exists")
    return output, files, _pair(options.pair) if options.pair is not None else None


def _pair(text: str) -> tuple[str, str]:
    codes = _several(text)
    if len(codes) != 2 or codes[0] == codes[1]:
        raise UserError(f"pair is '{text}'; expected two different codes with a comma between them, as in pair=USA,RUS")
    return codes[0].upper(), codes[1].upper()


def _selection(options: NetworkOptions) -> Selection:
    from haltung.events.archive.read import Selection

    since, until = _day("since", options.since), _day("until", options.until, last=True)
    if since and until and since > until:
        raise UserError(f"since={options.since} is after until={options.until}; no event is between them")
    return Selection(since, until, options.min_probability, tuple(_several(options.topic or "")), tuple(_several(options.stance or "")))


def _day(key: str, text: str | None, last: bool = False) -> str:
    """Return the day of an ISO date; of a month or a year its first or its ``last`` day."""
    if not text:
        return ""
    try:
        if not re.fullmatch(r"\d{4}(-\d{2}){0,2}", text):
            raise ValueError
        given = [int(part) for part in text.split("-")]
        year, month, day = *given, *([12, 31] if last else [1, 1])[len(given) - 1 :]
        if last and len(given) < 3:
            day = calendar.monthrange(year, month)[1]
        return datetime.date(year, month, day).isoformat()
    except ValueError:
        raise UserError(f"{key} is '{text}'; expected a date as YYYY-MM-DD, YYYY-MM or YYYY") from None


def _odd_dates(events: Sequence[Event]) -> list[str]:
    """Return a note where a slip in a date makes a calendar of centuries."""
    dates = sorted(event.date for event in events if event.date)
    if not dates or int(dates[-1][:4]) - int(dates[0][:4]) < _CENTURY:
        return []
    return [f"the dates go from {dates[0]} to {dates[-1]}; since= and until= leave out those that can't be right"]


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _told(options: NetworkOptions) -> str:
    """Return the filters as they were given, "" for none."""
    given = {
        "since": options.since,
        "until": options.until,
        "min_probability": options.min_probability or None,
        "topic": options.topic,
        "stance": options.stance,
    }
    return ", ".join(f"{key}={value}" for key, value in given.items() if value)


def _write(path: Path, text: str) -> None:
    """Write a file that takes its place only when it is whole."""
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}; name a file in a folder that you may write to") from None
