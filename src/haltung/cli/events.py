"""``haltung events``: from articles to who takes which stance towards whom."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from pydantic import Field

from haltung.cli.build import Language, typed
from haltung.cli.config import each
from haltung.errors import UserError
from haltung.files import atomic_file
from haltung.labels import Scheme

if TYPE_CHECKING:
    from haltung.actors.finder import Actors
    from haltung.events.records import ArticleEvents, DyadFinder, Event
    from haltung.events.text.read import ArticleFiles, Failure
    from haltung.models.predictor import Predictor

# So many segments are labelled at once: enough to sort them by length, too few to wait for.
_TOGETHER = 256

# How many events the terminal shows, and of how many articles it says what was odd.
_SHOWN, _NOTED = 40, 20

# How much of a sentence a row of the table shows.
_EXCERPT = 100


@dataclass(frozen=True)
class EventsOptions:
    """The keys of the command."""

    bundle: str | None
    input: str | None
    output: str | None
    table: str | None
    page: str | None
    dyads: str | None
    actors: str | None
    max_characters: Annotated[int, Field(ge=1)]
    language: Language


def run(arguments: Sequence[str]) -> int:
    """Read the events of an input; exit code 1 where a part of it could not be read."""
    return max([_events(typed(EventsOptions, request.settings)) for request in each("events", arguments)], default=0)


def _events(options: EventsOptions) -> int:
    from haltung.actors.finder import Actors
    from haltung.events.dyads import model as dyad_model
    from haltung.events.dyads.rules import WordOrder
    from haltung.events.pipeline import load_predictor
    from haltung.events.text import read as reading
    from haltung.serving import article_page

    if options.bundle is None:
        raise UserError("name the classifier: bundle=DIR, a folder that haltung train or haltung export has written")
    if options.input is None:
        raise UserError("name what to read: input=FILE, a folder, or input=- for standard input")
    source = reading.find(options.input)
    outputs = [Path(name) if name else None for name in (options.output, options.table, options.page)]
    for path in outputs:
        _writable(path)
    _apart([path for path in outputs if path])
    predictor = load_predictor(Path(options.bundle))
    dyads = dyad_model.load(Path(options.dyads)) if options.dyads else WordOrder()
    actors = Actors.load(extra=Path(options.actors) if options.actors else None)
    failures: list[Failure] = []
    shown: list[Event] = []
    notes: list[str] = []
    pictured: list[ArticleEvents] = []
    count = total = 0
    with ExitStack() as stack:
        lines, rows, page = (stack.enter_context(_written(path)) for path in outputs)
        write_row = _table(rows)
        for found in _read(source, options.max_characters, predictor, actors, dyads, failures):
            count, total = count + 1, total + len(found.events)
            if lines:
                lines.write(json.dumps(found.to_dict(), ensure_ascii=False) + "\n")
            for event in found.events:
                write_row(event)
            if page and len(pictured) < article_page.MOST:
                pictured.append(found)
            shown += found.events[: _SHOWN - len(shown)]
            notes += [f"{found.article.where}: {note}" for note in found.notes]
        if page:
            page.write(article_page.page(pictured, predictor.scheme, options.language, count))
    if not any(outputs):
        _show(shown, total, predictor.scheme, options.language)
    told = " and ".join(str(path) for path in outputs if path)
    print(f"{_counted(total, 'event')} in {_counted(count, 'article')}" + (f" written to {told}" if told else ""))
    if options.page and count > article_page.MOST:
        print(
            f"haltung: {options.page} shows the first {article_page.MOST} of {count:,} articles; output=FILE.jsonl has all", file=sys.stderr
        )
    _tell(notes, source.others, failures)
    return 1 if failures else 0


def _read(
    source: ArticleFiles, longest: int, predictor: Predictor, actors: Actors, dyads: DyadFinder, failures: list[Failure]
) -> Iterator[ArticleEvents]:
    """Yield what happens in each article that can be read; add what can't to ``failures``."""
    from tqdm import tqdm

    from haltung.events.pipeline import PreparedArticle, finish, prepare
    from haltung.events.text.read import Failure, read

    waiting: list[PreparedArticle] = []

    def done() -> Iterator[ArticleEvents]:
        segments = [segment for prepared in waiting for segment in prepared.segments]
        predictions = iter(predictor.predict(segments) if segments else [])
        for prepared in waiting:
            yield finish(prepared, [next(predictions) for _ in prepared.segments], dyads)
        waiting.clear()

    # Shown only where it takes longer than two seconds.
    for found in tqdm(read(source, longest), unit=" articles", delay=2, file=sys.stderr, disable=not sys.stderr.isatty()):
        if isinstance(found, Failure):
            failures.append(found)
            continue
        waiting.append(prepare(found, actors))
        if sum(len(prepared.segments) for prepared in waiting) >= _TOGETHER:
            yield from done()
    yield from done()


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _writable(path: Path | None) -> None:
    """Refuse a path where no file can stand; told before the work, not after it."""
    if path is not None and path.is_dir():
        raise UserError(f"{path} is a directory; name a file to write the events to")
    if path is not None and not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; make it, or name a file in one that exists")


def _apart(paths: Sequence[Path]) -> None:
    """Refuse one file for two outputs, of which only the last would be left."""
    for number, path in enumerate(paths):
        if path.resolve() in (other.resolve() for other in paths[:number]):
            raise UserError(f"{path} is named for two outputs; give each of output=, table= and page= a file of its own")


@contextmanager
def _written(path: Path | None) -> Iterator[TextIO | None]:
    """Open a file that takes its place only when it is whole."""
    if path is None:
        yield None
        return
    try:
        # A file's name may hold bytes that are no UTF-8; in JSON their escapes are what they are read as again.
        with atomic_file(path) as scratch, scratch.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
            yield file
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}; name a file in a folder that you may write to") from None


def _table(file: TextIO | None) -> Callable[[Event], None]:
    """Return what writes an event as a row of CSV, after the row of names."""
    from haltung.events.records import COLUMNS

    if file is None:
        return lambda event: None
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    return lambda event: writer.writerow([_cell(getattr(event, name)) for name in COLUMNS])


def _cell(value: object) -> object:
    return "" if value is None else round(value, 4) if isinstance(value, float) else value


def _show(events: Sequence[Event], total: int, scheme: Scheme, language: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from haltung.evaluation.report.i18n import word

    names = {task.name: {label.id: label.name(language) for label in task.labels} for task in scheme}
    heads = (word("who_whom", language), word("stance", language), Column(word("sentence", language), ratio=1))
    table = Table(*heads, expand=True)
    several = len({event.article for event in events}) > 1
    for number, event in enumerate(events):
        if several and (number == 0 or events[number - 1].article != event.article):
            table.add_section()
            table.add_row("", "", f"[bold]{escape(event.article)}[/]")
        plover = " ".join(part for part in (event.plover, event.mode) if part)
        told = "\n".join(part for part in (f"{names['stance'][event.stance]} {event.probability:.2f}", plover) if part)
        text = event.text if len(event.text) <= _EXCERPT else event.text[: _EXCERPT - 1].rstrip() + "…"
        topic = names.get("topic", {}).get(event.topic, event.topic)
        table.add_row(f"{event.source or '–'} → {event.target or '–'}", told, f"{escape(text)}\n[dim]{topic}[/]")
    console = Console()
    if events:
        console.print(table)
    if total > len(events):
        console.print(f"… and {total - len(events)} more; output=FILE.jsonl or table=FILE.csv has all")


def _tell(notes: Sequence[str], others: Sequence[str], failures: Sequence[Failure]) -> None:
    """Say on standard error what was odd, what was passed over, and what failed."""
    for note in notes[:_NOTED]:
        print(f"haltung: {note}", file=sys.stderr)
    if len(notes) > _NOTED:
        print(f"haltung: and {len(notes) - _NOTED} more such notes, which stand under 'notes' in output=FILE.jsonl", file=sys.stderr)
    if others:
        names = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        print(f"haltung: passed over {len(others)} of the folder's files, which are no *.txt, *.html or *.jsonl: {names}", file=sys.stderr)
    for failure in failures:
        print(f"haltung: {failure.where}: {failure.reason}", file=sys.stderr)
    if failures:
        print(f"haltung: {len(failures)} failed, as told above; what else there is was read", file=sys.stderr)
