"""``haltung network``: an archive of events as a network, a matrix, and the series of a pair."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from haltung.cli.build import Language, output_file, scheme_of, typed, written
from haltung.cli.config import Request, command
from haltung.errors import UserError
from haltung.events.archive import plot
from haltung.events.archive import read as archives
from haltung.events.archive.i18n import counted, say
from haltung.events.archive.network import network
from haltung.events.archive.pages import network_page, series_page, summary
from haltung.events.archive.read import Archive, Selection, day
from haltung.events.archive.series import Series, series
from haltung.events.records import Event
from haltung.labels import Scheme

# Values that hold commas or digits alone, which Hydra would take for a sweep or a number.
_TEXTS = ("input", "output", "series", "pair", "since", "until", "topic", "stance")


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


@command("network", texts=_TEXTS)
def run(request: Request) -> None:
    """Draw an archive."""
    # Events have the stances of this scheme, whose labels have names.
    options, scheme = typed(NetworkOptions, request.settings), scheme_of("diplomacy", request.config_dir)
    page = _page(options)
    files, pair = _of_series(options)
    if options.input is None:
        raise UserError("name the archive: input=FILE, which haltung events wrote (output=FILE.jsonl or table=FILE.csv), or a folder")
    since, until = day("since", options.since), day("until", options.until, last=True)
    if since and until and since > until:
        raise UserError(f"since={options.since} is after until={options.until}; no event is between them")
    topics, stances = _several(options.topic or ""), _several(options.stance or "")
    selection = Selection(since, until, options.min_probability, tuple(topics), tuple(stances))
    given = [options.input] if Path(options.input).expanduser().exists() else _several(options.input)
    archive = archives.read(archives.find(given))
    selected = archives.select(archive.events, selection)
    events = archives.folded(selected) if options.inside == "merge" else selected
    incomplete = len(archive.events) - sum(map(archives.is_whole, archive.events))
    notes = [say(options.language, "incomplete", events=counted(options.language, "events", incomplete))] if incomplete else []
    names = ("since", "until", "min_probability", "topic", "stance")
    if filters := ", ".join(f"{name}={value}" for name in names if (value := getattr(options, name))):
        notes.append(say(options.language, "chosen", filters=filters))
    if options.inside == "merge":
        notes.append(say(options.language, "merged"))
    if page:
        _network(events, archive, options, page, notes, scheme)
    if pair:
        drawn = series(events, archive, pair, since=selection.since, until=selection.until)
        _series(drawn, archive, options, files, notes, scheme)
        count = f"{len(drawn.events):,} events between {pair[0]} and {pair[1]} in {len(drawn.months):,} months"
        print(f"{count}, {drawn.gaps:,} of them without an article, written to {' and '.join(map(str, files))}")
    for note in (*archive.notes, *archives.suspicious_dates(events)):
        print(f"haltung: {note}", file=sys.stderr)


def _network(events: Sequence[Event], archive: Archive, options: NetworkOptions, path: Path, notes: Sequence[str], scheme: Scheme) -> None:
    drawn = network(events, options.min_events)
    tasks = {"topic": scheme["topic"], "stance": scheme["stance"]}
    with written(path) as file:
        file.write(network_page(drawn, archive, tasks, options.language, fewest=options.min_events, notes=notes))
    print(f"{summary(drawn, 'en')}: {len(drawn.actors):,} actors, written to {path}")
    months = {event.date[:7] for event in events if event.date}
    if len(months) < 2:
        print(f"haltung: {'the events are of one month' if months else 'no event has a date'}, so the page has no slider", file=sys.stderr)


def _series(drawn: Series, archive: Archive, options: NetworkOptions, files: Sequence[Path], notes: Sequence[str], scheme: Scheme) -> None:
    for path in files:
        if path.suffix.lower() == ".png":
            plot.save(drawn, path, options.directions, options.language)
        else:
            with written(path) as file:
                file.write(series_page(drawn, archive, scheme["stance"], options.language, directions=options.directions, notes=notes))


def _page(options: NetworkOptions) -> Path | None:
    if options.output is None and options.series is None and options.pair is None:
        raise UserError("name what to draw: output=FILE.html for network and matrix, or pair=USA,RUS series=FILE.png (or .html)")
    page = output_file(options.output)
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"output is '{options.output}'; network and matrix are one HTML page, name it output=FILE.html")
    return page


def _of_series(options: NetworkOptions) -> tuple[list[Path], tuple[str, str] | None]:
    """Return the files and the pair of a series; none where no series is asked for."""
    if options.series is None and options.pair is None:
        return [], None
    if options.pair is None:
        raise UserError("name the two actors of the series, as in pair=USA,RUS")
    if options.series is None:
        raise UserError(f"pair={options.pair} asks for a series; name its file: series=FILE.png, series=FILE.html, or series=FILE for both")
    path = Path(options.series)
    if path.suffix.lower() not in ("", ".png", ".html") or not path.name:
        raise UserError(f"series is '{options.series}'; name it FILE.png, FILE.html, or without a suffix for both")
    names = [options.series] if path.suffix else [f"{path}{kind}" for kind in (".png", ".html")]
    files = [file for name in names if (file := output_file(name))]
    codes = _several(options.pair)
    if len(codes) != 2 or codes[0] == codes[1]:
        raise UserError(f"pair is '{options.pair}'; expected two different codes with a comma between them, as in pair=USA,RUS")
    return files, (codes[0].upper(), codes[1].upper())


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
