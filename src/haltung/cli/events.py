"""``haltung events``: from articles to who takes which stance towards whom."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
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
_WINDOW = 64  # articles that are labelled together, and with which a run can go on


@command("events")
def run(
    *, bundle: str | None, input: str | None,  # noqa: A002 -- the key's name
    output: str | None, table: str | None, page: str | None, actors: str | None,
    max_characters: Annotated[int, Field(ge=1)], resume: bool | None, language: Language,
) -> int:  # fmt: skip
    """Read the events of an input; return 1 if a part of it could not be read."""
    if input is None:
        raise UserError("name what to read: input=FILE, a folder, or input=- for standard input")

    from tqdm import tqdm

    from haltung.actors.finder import Actors
    from haltung.events.archive.pages import counted
    from haltung.events.pipeline import dyad_finder, events_of, load_predictor
    from haltung.events.records import as_lines, as_table
    from haltung.events.text.read import STANDARD_INPUT, Failure, find, read
    from haltung.experiments.journal import BROKEN, LEFT, Journal, ahead, digest
    from haltung.models import compact
    from haltung.serving import article_page

    named = {Path(given).expanduser().resolve() for given in (output, table, page) if given}
    files, others = find(input, lambda path: path.name.endswith(LEFT) or (path.resolve() in named and _is_result(path)))
    outputs = [output_file(given or None, files) for given in (output, table, page)]
    paths = [path for path in outputs if path]
    if twice := [path for number, path in enumerate(paths) if path.resolve() in {other.resolve() for other in paths[:number]}]:
        raise UserError(f"{twice[0]} is named for two outputs; give each of output=, table= and page= a file of its own")
    grow = [path for path in outputs[:2] if path]
    if resume is not None and (not grow or (resume and input == STANDARD_INPUT)):
        raise UserError("resume= needs output= or table= to go on with, and resume=true an input that can be read again, not -")
    folder = compact.find(bundle)
    predictor = load_predictor(folder)
    known = Actors.load(extra=Path(actors) if actors else None)
    finder = dyad_finder(predictor, folder, known)
    # Digests take a second, for which nobody waits who reads an article in the terminal.
    parts = {"input": files, "model": [folder], "actors": [Path(actors)] if actors else []} if grow else {}
    depends = {name: digest(of) for name, of in parts.items()} | {"max_characters": max_characters}
    failures: list[Failure] = []
    notes: list[str] = []
    first: list[ArticleEvents] = []
    done, articles = 0, read(files, max_characters)
    with ExitStack() as stack:
        beside = grow[0] if grow else Path(stack.enter_context(TemporaryDirectory())) / "events"
        journal = stack.enter_context(Journal(grow or [beside], depends, resume))
        before, counts = journal.counts["read"], journal.counts
        # The bar appears where reading takes longer than two seconds.
        bar = stack.enter_context(tqdm(unit=" articles", initial=before, delay=2, file=sys.stderr, disable=not sys.stderr.isatty()))
        windows = iter(lambda: list(islice(articles, _WINDOW)), [])
        for window in windows if input == STANDARD_INPUT or not files[0].is_file() else ahead(windows):
            header, done = done == 0, done + len(window)
            # The first articles are read again for the page.
            if done <= before and (not page or len(first) == article_page.MOST):
                continue
            results = list(events_of(window, predictor, known, finder))
            found = [one for one in results if not isinstance(one, Failure)]
            first += found[: article_page.MOST - len(first)]
            if done <= before:
                continue
            failed = [one for one in results if isinstance(one, Failure)]
            failures += failed
            noted = [f"{one.article.where}: {note}" for one in found for note in one.notes]
            notes += noted[: _NOTED - len(notes)]
            texts = [as_lines(found)] * bool(output) + [as_table(found, header)] * bool(table) or [""]
            journal.append(
                [text.encode("utf-8", "backslashreplace") for text in texts], failed, read=len(window), articles=len(found),
                events=sum(len(one.events) for one in found), failed=len(failed), notes=len(noted),
            )  # fmt: skip
            bar.update(len(window))
        if outputs[2]:
            with written(outputs[2]) as html:
                html.write(article_page.page(first, predictor.scheme, language, counts["articles"]))
        journal.finish()
        journal.path.unlink()
    if not paths:
        _show([event for one in first for event in one.events][:_SHOWN], counts["events"], predictor.scheme, language)
    names = " and ".join(map(str, paths))
    print(" in ".join(counted("en", what, counts[what]) for what in ("events", "articles")) + (f" written to {names}" if names else ""))
    if page and counts["articles"] > article_page.MOST:
        notes.insert(0, f"{page} shows the first {article_page.MOST} of {counts['articles']:,} articles; output=FILE.jsonl has all")
    _report(notes, others, failures, counts, f"{beside}{BROKEN}" if grow else "")
    return 1 if counts["failed"] else 0


def _is_result(path: Path) -> bool:
    """Whether this command has written a file, or it is empty."""
    start = b"?"
    with suppress(OSError), path.open("rb") as file:
        start = file.readline() + file.read(1000)
    return not start or b'"segments": [' in start or b'content="haltung events"' in start


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


def _report(notes: Sequence[str], others: Sequence[str], failures: Sequence[Failure], counts: Mapping[str, int], side_file: str) -> None:
    """Print on standard error what was odd, which files were passed over, and what failed."""
    lines = list(notes)
    if counts["notes"] > _NOTED:
        lines.append(f"and {counts['notes'] - _NOTED} more such notes, which stand under 'notes' in output=FILE.jsonl")
    if others:
        names = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        lines.append(f"passed over {len(others)} of the folder's files, which are no *.txt, *.html or *.jsonl: {names}")
    lines += [f"{failure.where}: {failure.reason}" for failure in failures]
    if counts["failed"]:
        lines.append(f"{counts['failed']} failed, as listed {f'in {side_file}' if side_file else 'above'}; what else there is was read")
    print("".join(f"haltung: {line}\n" for line in lines), end="", file=sys.stderr)
