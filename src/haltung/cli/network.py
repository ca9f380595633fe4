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

from omegaconf import OmegaConf
from pydantic import Field

from haltung.cli.build import plain, scheme_of, typed
from haltung.cli.config import compose, parse
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
class Keys:
    """The command's own keys."""

    input: str | None
    output: str | None
    pair: str | None
    series: str | None
    directions: Literal["summed", "apart"]
    since: str | None
    until: str | None
    least: Annotated[float, Field(ge=0, le=1)]
    fewest: Annotated[int, Field(ge=1)]
    topic: str | None
    stance: str | None
    inside: Literal["merge", "keep"]
    language: Literal["en", "de"]


def run(words: Sequence[str]) -> int:
    """Draw an archive."""
    parsed = parse([_as_text(word) for word in words])
    for overrides in parsed.combinations:
        config = compose("network", overrides, parsed.config_dir)
        if parsed.show:
            print(OmegaConf.to_yaml(config))
        else:
            _draw(typed(Keys, plain(config)), parsed.config_dir)
    return 0


def _draw(keys: Keys, config_dir: Path | None) -> None:
    output, series, pair = _asked(keys)
    if keys.input is None:
        raise UserError(
            "name the archive: input=FILE, what haltung events wrote with output=FILE.jsonl or table=FILE.csv, or a folder of these"
        )

    from haltung.events.archive import read as archives
    from haltung.events.archive.i18n import counted, say

    wanted = _selection(keys)
    given = [keys.input] if Path(keys.input).expanduser().exists() else _several(keys.input)
    archive = archives.read(archives.find(given))
    chosen = archives.select(archive.events, wanted)
    events = archives.folded(chosen) if keys.inside == "merge" else chosen
    whole = sum(map(archives.is_whole, archive.events))
    notes = [say(keys.language, "incomplete", events=counted(keys.language, "events", len(archive.events) - whole))]
    notes = notes if whole < len(archive.events) else []
    if told := _told(keys):
        notes.append(say(keys.language, "chosen", filters=told))
    if keys.inside == "merge":
        notes.append(say(keys.language, "merged"))
    if output:
        _network(events, archive, keys, output, notes, config_dir)
    if pair:
        _series(events, archive, keys, pair, series, notes, config_dir)
    for note in (*archive.notes, *_odd_dates(events)):
        print(f"haltung: {note}", file=sys.stderr)


def _network(events: Sequence[Event], archive: Archive, keys: Keys, output: Path, notes: Sequence[str], config_dir: Path | None) -> None:
    from haltung.events.archive.network import network
    from haltung.events.archive.network_page import network_page, summary

    scheme = scheme_of(_SCHEME, config_dir)
    drawn = network(events, keys.fewest)
    tasks = {"topic": scheme["topic"], "stance": scheme["stance"]}
    _write(output, network_page(drawn, archive, tasks, keys.language, fewest=keys.fewest, notes=notes))
    print(f"{summary(drawn, 'en')}: {len(drawn.actors):,} actors, written to {output}")
    months = {event.date[:7] for event in events if event.date}
    if len(months) < 2:
        print(f"haltung: {'the events are of one month' if months else 'no event has a date'}, so the page has no slider", file=sys.stderr)


def _series(
    events: Sequence[Event],
    archive: Archive,
    keys: Keys,
    pair: tuple[str, str],
    files: Sequence[Path],
    notes: Sequence[str],
    config_dir: Path | None,
) -> None:
    from haltung.events.archive import series_page, series_plot
    from haltung.events.archive.series import series

    found = series(events, archive, pair, since=_day("since", keys.since), until=_day("until", keys.until, last=True))
    stances = scheme_of(_SCHEME, config_dir)["stance"]
    for path in files:
        if path.suffix.lower() == ".png":
            series_plot.save(found, path, keys.directions, keys.language)
        else:
            _write(path, series_page.series_page(found, archive, stances, keys.language, directions=keys.directions, notes=notes))
    told = f"{found.total:,} events between {pair[0]} and {pair[1]} in {len(found.months):,} months"
    print(f"{told}, {found.gaps:,} of them without an article, written to {' and '.join(map(str, files))}")


def _asked(keys: Keys) -> tuple[Path | None, list[Path], tuple[str, str] | None]:
    """Return the page to write, the files of the series, and its pair; what can't be is told before anything is read."""
    if keys.output is None and keys.series is None and keys.pair is None:
        raise UserError(
            "name what to draw: output=FILE.html for network and matrix, or pair=USA,RUS series=FILE.png (or .html) for a series"
        )
    if keys.series is not None and keys.pair is None:
        raise UserError("name the two actors of the series, as in pair=USA,RUS")
    if keys.pair is not None and keys.series is None:
        raise UserError(f"pair={keys.pair} asks for a series; name its file: series=FILE.png, series=FILE.html, or series=FILE for both")
    output = Path(keys.output).expanduser() if keys.output is not None else None
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"output is '{keys.output}'; network and matrix are one HTML page, name it output=FILE.html")
    files = []
    if keys.series is not None:
        path = Path(keys.series).expanduser()
        kinds = {".png": [path], ".html": [path], "": [path.with_name(f"{path.name}{kind}") for kind in (".png", ".html")]}
        if path.suffix.lower() not in kinds or not path.name:
            raise UserError(f"series is '{keys.series}'; name it FILE.png, FILE.html, or without a suffix for both")
        files = kinds[path.suffix.lower()]
    for file in [*([output] if output else []), *files]:
        if file.is_dir():
            raise UserError(f"{file} is a directory; name a file to draw to")
        if not file.parent.is_dir():
            raise UserError(f"{file.parent}: no such folder; make it, or name a file in one that exists")
    return output, files, _pair(keys.pair) if keys.pair is not None else None


def _pair(text: str) -> tuple[str, str]:
    codes = _several(text)
    if len(codes) != 2 or codes[0] == codes[1]:
        raise UserError(f"pair is '{text}'; expected two different codes with a comma between them, as in pair=USA,RUS")
    return codes[0].upper(), codes[1].upper()


def _selection(keys: Keys) -> Selection:
    from haltung.events.archive.read import Selection

    since, until = _day("since", keys.since), _day("until", keys.until, last=True)
    if since and until and since > until:
        raise UserError(f"since={keys.since} is after until={keys.until}; no event is between them")
    return Selection(since, until, keys.least, tuple(_several(keys.topic or "")), tuple(_several(keys.stance or "")))


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


def _told(keys: Keys) -> str:
    """Return the filters as they were given, "" for none."""
    given = {"since": keys.since, "until": keys.until, "least": keys.least or None, "topic": keys.topic, "stance": keys.stance}
    return ", ".join(f"{key}={value}" for key, value in given.items() if value)


def _as_text(word: str) -> str:
    """Put quotes around a value that is always text: a date, a pair, names of files, labels; Hydra would read 2006 as a number."""
    key, sign, value = word.partition("=")
    quoted = "'" in value or '"' in value or value in ("null", "") or value.startswith(("[", "${"))
    return f"{key}='{value}'" if key in _TEXTS and sign and not quoted else word


def _write(path: Path, text: str) -> None:
    """Write a file that takes its place only when it is whole."""
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}; name a file in a folder that you may write to") from None
