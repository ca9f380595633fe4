"""``haltung network``: an archive of events as a network, a matrix, and the series of a pair."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from haltung.cli.build import Language, command, output_file, scheme_of, written
from haltung.cli.config import Request
from haltung.errors import UserError
from haltung.evaluation.report import style
from haltung.events.archive import read as archives
from haltung.events.archive.network import network
from haltung.events.archive.network import series as series_of
from haltung.events.archive.pages import counted, figure, network_page, say, series_page, summary
from haltung.events.archive.read import Archive, Selection, day
from haltung.events.records import Event
from haltung.experiments.journal import writing
from haltung.labels import Scheme

# Values that hold commas or digits alone, which Hydra would take for a sweep or a number.
_TEXTS = ("input", "output", "series", "pair", "since", "until", "topic", "stance")


@command("network", texts=_TEXTS)
def run(
    request: Request, *, input: str | None,  # noqa: A002 -- the key's name
    output: str | None, pair: str | None, series: str | None,
    directions: Literal["summed", "apart"], since: str | None, until: str | None, min_probability: Annotated[float, Field(ge=0, le=1)],
    min_events: Annotated[int, Field(ge=1)], topic: str | None, stance: str | None, inside: Literal["merge", "keep"], language: Language,
) -> None:  # fmt: skip
    """Draw an archive."""
    # Events have the stances of this scheme, whose labels have names.
    scheme = scheme_of("diplomacy", request.config_dir)
    if output is None and series is None and pair is None:
        raise UserError("name what to draw: output=FILE.html for network and matrix, or pair=USA,RUS series=FILE.png (or .html)")
    page = output_file(output)
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"output is '{output}'; network and matrix are one HTML page, name it output=FILE.html")
    files, actors = _of_series(series, pair)
    if input is None:
        raise UserError("name the archive: input=FILE, which haltung events wrote (output=FILE.jsonl or table=FILE.csv), or a folder")
    first, last = day("since", since), day("until", until, last=True)
    if first and last and first > last:
        raise UserError(f"since={since} is after until={until}; no event is between them")
    selection = Selection(first, last, min_probability, tuple(_several(topic or "")), tuple(_several(stance or "")))
    archive = archives.read(archives.find([input] if Path(input).expanduser().exists() else _several(input)))
    selected = archives.select(archive.events, selection)
    events = archives.folded(selected) if inside == "merge" else selected
    incomplete = len(archive.events) - sum(map(archives.is_whole, archive.events))
    notes = [say(language, "incomplete", events=counted(language, "events", incomplete))] if incomplete else []
    chosen = {"since": since, "until": until, "min_probability": min_probability, "topic": topic, "stance": stance}
    if filters := ", ".join(f"{name}={value}" for name, value in chosen.items() if value):
        notes.append(say(language, "chosen", filters=filters))
    if inside == "merge":
        notes.append(say(language, "merged"))
    if page:
        _network(events, archive, min_events, page, notes, scheme, language)
    if actors:
        drawn = series_of(events, archive, actors, since=first, until=last)
        for path in files:
            if path.suffix.lower() == ".png":
                with writing(path):
                    style.save(figure(drawn, directions, language), path)
                continue
            with written(path) as file:
                file.write(series_page(drawn, archive, scheme["stance"], language, directions=directions, notes=notes))
        count = f"{len(drawn.events):,} events between {actors[0]} and {actors[1]} in {len(drawn.months):,} months"
        print(f"{count}, {drawn.gaps:,} of them without an article, written to {' and '.join(map(str, files))}")
    for note in (*archive.notes, *archives.suspicious_dates(events)):
        print(f"haltung: {note}", file=sys.stderr)


def _network(
    events: Sequence[Event], archive: Archive, min_events: int, path: Path, notes: Sequence[str], scheme: Scheme, language: str
) -> None:
    drawn = network(events, min_events)
    tasks = {"topic": scheme["topic"], "stance": scheme["stance"]}
    with written(path) as file:
        file.write(network_page(drawn, archive, tasks, language, fewest=min_events, notes=notes))
    print(f"{summary(drawn, 'en')}: {len(drawn.actors):,} actors, written to {path}")
    months = {event.date[:7] for event in events if event.date}
    if len(months) < 2:
        print(f"haltung: {'the events are of one month' if months else 'no event has a date'}, so the page has no slider", file=sys.stderr)


def _of_series(series: str | None, pair: str | None) -> tuple[list[Path], tuple[str, str] | None]:
    """Return the files and the pair of a series; none where no series is asked for."""
    if series is None and pair is None:
        return [], None
    if pair is None:
        raise UserError("name the two actors of the series, as in pair=USA,RUS")
    if series is None:
        raise UserError(f"pair={pair} asks for a series; name its file: series=FILE.png, series=FILE.html, or series=FILE for both")
    path = Path(series)
    if path.suffix.lower() not in ("", ".png", ".html") or not path.name:
        raise UserError(f"series is '{series}'; name it FILE.png, FILE.html, or without a suffix for both")
    names = [series] if path.suffix else [f"{path}{kind}" for kind in (".png", ".html")]
    files = [file for name in names if (file := output_file(name))]
    codes = _several(pair)
    if len(codes) != 2 or codes[0] == codes[1]:
        raise UserError(f"pair is '{pair}'; expected two different codes with a comma between them, as in pair=USA,RUS")
    return files, (codes[0].upper(), codes[1].upper())


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
