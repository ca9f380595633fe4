"""``haltung events``: from articles to who takes which stance towards whom."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from haltung.cli.build import Language, command, output_file, written
from haltung.errors import UserError
from haltung.evaluation.report.i18n import word
from haltung.labels import Scheme

if TYPE_CHECKING:
    from haltung.events.records import ArticleEvents, Event
    from haltung.events.text.read import Failure

# How many events the terminal shows, how many notes, and how much of a sentence.
_SHOWN, _NOTED, _EXCERPT = 40, 20, 100


@command("events")
def run(
    *, bundle: str | None, input: str | None,  # noqa: A002 -- the key's name
    output: str | None, table: str | None, page: str | None, actors: str | None,
    max_characters: Annotated[int, Field(ge=1)], language: Language,
) -> int:  # fmt: skip
    """Read the events of an input; return 1 if a part of it could not be read."""
    if input is None:
        raise UserError("name what to read: input=FILE, a folder, or input=- for standard input")

    from tqdm import tqdm

    from haltung.actors.finder import Actors
    from haltung.events.archive.i18n import counted
    from haltung.events.pipeline import dyad_finder, events_of, load_predictor
    from haltung.events.records import ArchiveWriter
    from haltung.events.text.read import Failure, find, read
    from haltung.models import compact
    from haltung.serving import article_page

    files = find(input)
    outputs = [output_file(given or None) for given in (output, table, page)]
    paths = [path for path in outputs if path]
    if twice := [path for number, path in enumerate(paths) if path.resolve() in {other.resolve() for other in paths[:number]}]:
        raise UserError(f"{twice[0]} is named for two outputs; give each of output=, table= and page= a file of its own")
    folder = compact.find(bundle)
    predictor = load_predictor(folder)
    known = Actors.load(extra=Path(actors) if actors else None)
    finder = dyad_finder(predictor, folder, known)
    failures: list[Failure] = []
    shown: list[Event] = []
    notes: list[str] = []
    on_page: list[ArticleEvents] = []
    articles = total = 0
    with ExitStack() as stack:
        lines, rows, html = (stack.enter_context(written(path)) if path else None for path in outputs)
        archive = ArchiveWriter(lines, rows)
        # The bar appears where reading takes longer than two seconds.
        bar = tqdm(read(files, max_characters), unit=" articles", delay=2, file=sys.stderr, disable=not sys.stderr.isatty())
        for result in events_of(iter(bar), predictor, known, finder):
            if isinstance(result, Failure):
                failures.append(result)
                continue
            articles, total = articles + 1, total + len(result.events)
            archive.add(result)
            if html and len(on_page) < article_page.MOST:
                on_page.append(result)
            shown += result.events[: _SHOWN - len(shown)]
            notes += [f"{result.article.where}: {note}" for note in result.notes]
        if html:
            html.write(article_page.page(on_page, predictor.scheme, language, articles))
    if not any(outputs):
        _show(shown, total, predictor.scheme, language)
    names = " and ".join(map(str, paths))
    print(f"{counted('en', 'events', total)} in {counted('en', 'articles', articles)}" + (f" written to {names}" if names else ""))
    if page and articles > article_page.MOST:
        notes.insert(0, f"{page} shows the first {article_page.MOST} of {articles:,} articles; output=FILE.jsonl has all")
    _report(notes, files.others, failures)
    return 1 if failures else 0


def _show(events: Sequence[Event], total: int, scheme: Scheme, language: str) -> None:
    names = {task.name: {label.id: label.name(language) for label in task.labels} for task in scheme}
    heads = (word("who_whom", language), word("stance", language), Column(word("sentence", language), ratio=1))
    table = Table(*heads, expand=True)
    several = len({event.article for event in events}) > 1
    for number, event in enumerate(events):
        if several and (number == 0 or events[number - 1].article != event.article):
            table.add_section()
            table.add_row("", "", f"[bold]{escape(event.article)}[/]")
        plover = " ".join(part for part in (event.plover, event.mode) if part)
        stance = "\n".join(part for part in (f"{names['stance'][event.stance]} {event.probability:.2f}", plover) if part)
        text = event.text if len(event.text) <= _EXCERPT else event.text[: _EXCERPT - 1].rstrip() + "…"
        topic = names.get("topic", {}).get(event.topic, event.topic)
        table.add_row(f"{event.source or '–'} → {event.target or '–'}", stance, f"{escape(text)}\n[dim]{topic}[/]")
    console = Console()
    if events:
        console.print(table)
    if total > len(events):
        console.print(f"… and {total - len(events)} more; output=FILE.jsonl or table=FILE.csv has all")


def _report(notes: Sequence[str], others: Sequence[str], failures: Sequence[Failure]) -> None:
    """Print on standard error what was odd, which files were passed over, and what failed."""
    lines = list(notes[:_NOTED])
    if len(notes) > _NOTED:
        lines.append(f"and {len(notes) - _NOTED} more such notes, which stand under 'notes' in output=FILE.jsonl")
    if others:
        names = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        lines.append(f"passed over {len(others)} of the folder's files, which are no *.txt, *.html or *.jsonl: {names}")
    lines += [f"{failure.where}: {failure.reason}" for failure in failures]
    if failures:
        lines.append(f"{len(failures)} failed, as listed above; what else there is was read")
    print("".join(f"haltung: {line}\n" for line in lines), end="", file=sys.stderr)
