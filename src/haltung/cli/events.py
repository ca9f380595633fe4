"""``haltung events`` reads who takes which stance towards whom; ``haltung network`` draws it."""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from tqdm import tqdm

from haltung.actors.finder import Actors
from haltung.actors.tables import day
from haltung.cli.build import Language, command, output_file, scheme_of, typed, write
from haltung.cli.config import Request
from haltung.cli.predict import GPU, Runtime, predictor
from haltung.corpus.readers.sheet import Sheet
from haltung.errors import UserError, listed, writing
from haltung.evaluation.report import style
from haltung.evaluation.report.i18n import word
from haltung.events.archive import network as networks
from haltung.events.archive import read as archives
from haltung.events.archive.pages import counted, figure, network_page, say, summary
from haltung.events.pipeline import check_stances, dyad_finder, events_of
from haltung.events.records import COLUMNS, ArticleEvents, DyadFinder, Event, as_lines, as_table
from haltung.events.text.read import SHEETS, STANDARD_INPUT, Article, Failure, find, read
from haltung.experiments.journal import BROKEN, LEFT, Journal, ahead, digest
from haltung.experiments.predict import kind_of, most_rows
from haltung.experiments.ray_engine import Cluster, results
from haltung.experiments.sheets import KINDS, NEW, open_sheet
from haltung.labels import Scheme
from haltung.models import compact
from haltung.models.predictor import Predictor
from haltung.serving import article_page

# The most events, notes and characters of a sentence that the terminal shows.
_SHOWN, _NOTED, _EXCERPT = 40, 20, 100
_WINDOW = 64  # articles that are labelled and written together; a run resumes after the last of these windows
_MANY = 30_000  # bytes; from this size on, the faster runtime is worth the time that it takes to load
# Values with commas or only digits, which Hydra would read as a sweep or a number.
_TEXTS = ("input", "output", "series", "pair", "since", "until", "topic", "stance")
_Window = tuple[int, list[Article | Failure]]  # the number of articles read so far, and the latest of them


@command("events")
def run(
    *, bundle: str | None, input: str | None, reader: Mapping[str, Any],  # noqa: A002 -- the key's name
    output: str | None, table: str | None, page: str | None, actors: str | None,
    max_characters: Annotated[int, Field(ge=1)], resume: bool | None, runtime: Runtime, engine: Literal["local", "ray"],
    ray: Mapping[str, Any], language: Language,
) -> int:  # fmt: skip
    """Extract the events of an input; return 1 if a part of it could not be read."""
    if input is None:
        raise UserError("name what to read: input=FILE, a folder, 'news/*.txt', or input=- for standard input, or a sheet: table=FILE.xlsx")
    named = {Path(given).expanduser().resolve() for given in (output, table, page) if given}
    files, others = find(input, partial(_is_result, named))
    outputs = [output_file(given or None, files) for given in (output, table, page)]
    paths = [path for path in outputs if path]
    if twice := [path for number, path in enumerate(paths) if path.resolve() in {other.resolve() for other in paths[:number]}]:
        raise UserError(f"{twice[0]} is named for two outputs; give each of output=, table= and page= its own file")
    if outputs[1] and outputs[1].suffix.lower() != ".csv":
        raise UserError(f"{outputs[1]}: with input=, table= is written as CSV; name it table=FILE.csv")
    sheet, several = typed(Sheet, {**reader, "path": input, "label": ["none"]}, "reader"), files != [Path(input).expanduser()]
    labelled = None
    if outputs[0] and outputs[0].suffix.lower() in KINDS:
        if several or files[0].suffix.lower() not in SHEETS or resume:
            wrong = f"{outputs[0]} is written only for a sheet, and all at once"
            raise UserError(f"{wrong}; give input=FILE.xlsx (or .csv, …) without resume=true, or name output=FILE.jsonl or table=FILE.csv")
        labelled = open_sheet(sheet, outputs[0])
        labelled.check_free(NEW)
    grow = [path for path in outputs[0 if labelled is None else 1 : 2] if path]
    if resume is not None and (not (grow or labelled) or (resume and input == STANDARD_INPUT)):
        raise UserError("resume= needs output= or table= to continue, and resume=true needs an input that can be read again, not -")
    if engine == "ray" and (not grow or input == STANDARD_INPUT):
        raise UserError("engine=ray needs files: input=FILE or a folder, and output=FILE.jsonl or table=FILE.csv")
    cluster = typed(Cluster, ray, "ray") if engine == "ray" else None
    folder = compact.find(bundle)
    known = Actors.load(extra=Path(actors) if actors else None)
    many = several or (input != STANDARD_INPUT and files[0].stat().st_size >= _MANY)
    reading = _reader(known, runtime, cluster is not None or not GPU.exists(), many, folder)
    scheme, read_by = reading.args[0].scheme, getattr(reading.args[0], "runtime", "weights")
    # Digests take a second; an article that is only shown in the terminal needs none.
    parts = {"input": files, "model": [folder], "actors": [Path(actors)] if actors else []} if grow else {}
    depends = {name: digest(of) for name, of in parts.items()} | {"max_characters": max_characters, "runtime": runtime, "read by": read_by}
    failures, notes, first, of_rows = list[Failure](), list[str](), list[ArticleEvents](), dict[str, ArticleEvents]()
    with ExitStack() as stack:
        beside = grow[0] if grow else Path(stack.enter_context(TemporaryDirectory())) / "events"
        journal = stack.enter_context(Journal(grow or [beside], depends, resume))
        before, counts = journal.counts["read"], journal.counts
        # The bar appears if reading takes longer than two seconds.
        total = sum((most_rows(path) or 0) if kind_of(path) else 1 for path in files) if sys.stderr.isatty() else None
        bar = stack.enter_context(tqdm(total=total, unit=" articles", initial=before, delay=2, disable=None))
        # A resumed run reads the first articles again, for the page.
        windows = partial(_windows, sheet, max_characters, before, article_page.MOST if page else 0)
        coming: Iterator[Any] = map(reading, (iter if input == STANDARD_INPUT or not files[0].is_file() else ahead)(windows(files)))
        if cluster:
            coming = filter(None, results(cluster, [files], windows, folder, partial(_reader, known, runtime, True, many)))
        for done, window in coming:
            found = [one for one in window if not isinstance(one, Failure)]
            first += found[: article_page.MOST - len(first)]
            if done <= before:
                continue
            failed = [one for one in window if isinstance(one, Failure)]
            failures += failed
            noted = [f"{one.article.where}: {note}" for one in found for note in one.notes]
            notes += noted[: _NOTED - len(notes)]
            of_rows |= {one.article.where: one for one in found if labelled}
            texts = [as_lines(found)] * bool(output and not labelled) + [as_table(found, done == len(window))] * bool(table) or [""]
            journal.append(
                [text.encode("utf-8", "backslashreplace") for text in texts], failed, read=len(window), articles=len(found),
                events=sum(len(one.events) for one in found), failed=len(failed), notes=len(noted),
            )  # fmt: skip
            bar.update(len(window))
        if outputs[2]:
            write(outputs[2], article_page.page(first, scheme, language, counts["articles"]))
        if labelled:
            labelled.add_events(of_rows, scheme, language)
        journal.finish()
        journal.path.unlink()
    if not paths:
        _show([event for one in first for event in one.events][:_SHOWN], counts["events"], scheme, language)
    names = " and ".join(map(str, paths))
    print(" in ".join(counted("en", what, counts[what]) for what in ("events", "articles")) + (f" written to {names}" if names else ""))
    if page and counts["articles"] > article_page.MOST:
        notes.insert(0, f"{page} shows the first {article_page.MOST} of {counts['articles']:,} articles; output=FILE.jsonl has all")
    _report(notes, others, failures, counts, f"{beside}{BROKEN}" if grow else "")
    return 1 if counts["failed"] else 0


def _windows(sheet: Sheet, max_characters: int, before: int, shown: int, files: Sequence[Path]) -> Iterator[_Window]:
    """Yield each window not done ``before`` or to be ``shown``, with the articles read so far."""
    articles, done, sound = read(files, max_characters, sheet), 0, 0
    while window := list(islice(articles, _WINDOW)):
        done += len(window)
        if done > before or sound < shown:
            yield done, window
        sound += sum(isinstance(one, Article) for one in window)


def _reader(known: Actors, runtime: Runtime, graph: bool, many: bool, folder: Path) -> partial[tuple[int, list[ArticleEvents | Failure]]]:
    model = predictor(folder, runtime, graph, many)
    check_stances(model.scheme, folder)
    return partial(_read, model, known, dyad_finder(model, folder, known))


def _read(model: Predictor, known: Actors, finder: DyadFinder, item: _Window) -> tuple[int, list[ArticleEvents | Failure]]:
    done, window = item
    return done, list(events_of(window, model, known, finder))


def _is_result(named: Collection[Path], path: Path) -> bool:
    """Return whether this command wrote a file: a table, one ``named`` now, or a leftover."""
    start, header = b"?", ",".join(COLUMNS).encode()
    with suppress(OSError), path.open("rb") as file:
        start = file.readline() + file.read(1000)
    is_named = path.resolve() in named and (not start or any(mark in start for mark in (b'"segments": [', b'content="haltung events"')))
    return is_named or start.startswith(header) or path.name.endswith(LEFT)


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
    """Print notes, skipped files and failures on standard error."""
    lines = list(notes)
    if counts["notes"] > _NOTED:
        lines.append(f"and {counts['notes'] - _NOTED} more such notes, which are listed under 'notes' in output=FILE.jsonl")
    if others:
        names = listed(others[:3]) + ", …" * (len(others) > 3)
        lines.append(f"skipped {len(others)} files, which are not texts, HTML pages, JSON Lines or sheets: {names}")
    lines += [f"{failure.where}: {failure.reason}" for failure in failures]
    if counts["failed"]:
        lines.append(f"{counts['failed']} failed, as listed {f'in {side_file}' if side_file else 'above'}; everything else was read")
    print("".join(f"haltung: {line}\n" for line in lines), end="", file=sys.stderr)


@command("network", texts=_TEXTS)
def network(
    request: Request, *, input: str | None,  # noqa: A002 -- the key's name
    output: str | None, pair: str | None, series: str | None,
    since: str | None, until: str | None, min_probability: Annotated[float, Field(ge=0, le=1)],
    min_events: Annotated[int, Field(ge=1)], topic: str | None, stance: str | None, inside: Literal["merge", "keep"], language: Language,
) -> None:  # fmt: skip
    """Draw an archive."""
    # Events have the stances of this scheme, which has their names.
    scheme = scheme_of("diplomacy", request.config_dir)
    if output is None and series is None and pair is None:
        raise UserError("name what to draw: output=FILE.html for network and matrix, or pair=USA,RUS series=FILE.png")
    page = output_file(output)
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"output is '{output}'; network and matrix are one HTML page, name it output=FILE.html")
    wanted = _of_series(series, pair)
    if input is None:
        raise UserError("name the archive: input=FILE, which haltung events wrote (output=FILE.jsonl), or a folder")
    first, last = day(since, "since"), day(until, "until", last=True)
    if first and last and first > last:
        raise UserError(f"since={since} is after until={until}; no event is between them")
    archive = archives.read(archives.find([input] if Path(input).expanduser().exists() else _several(input)))
    topics, stances = _several(topic or ""), _several(stance or "")
    selected = archives.select(archive.events, since=first, until=last, min_probability=min_probability, topics=topics, stances=stances)
    events = archives.folded(selected) if inside == "merge" else selected
    incomplete = len(archive.events) - sum(map(archives.is_whole, archive.events))
    notes = [say(language, "incomplete", events=counted(language, "events", incomplete))] if incomplete else []
    chosen = {"since": since, "until": until, "min_probability": min_probability, "topic": topic, "stance": stance}
    if filters := ", ".join(f"{name}={value}" for name, value in chosen.items() if value):
        notes.append(say(language, "chosen", filters=filters))
    if inside == "merge":
        notes.append(say(language, "merged"))
    if page:
        graph = networks.network(events, min_events)
        write(page, network_page(graph, archive, scheme, language, fewest=min_events, notes=notes))
        print(f"{summary(graph, 'en')}: {len(graph.actors):,} actors, written to {page}")
        months = {event.date[:7] for event in events if event.date}
        if len(months) < 2:
            why = "the events are from one month" if months else "no event has a date"
            print(f"haltung: {why}, so the page has no slider", file=sys.stderr)
    if wanted:
        path, actors = wanted
        drawn = networks.series(events, archive, actors, since=first, until=last)
        with writing(path):
            style.save(figure(drawn, language), path)
        count = f"{drawn.events:,} events between {actors[0]} and {actors[1]} in {len(drawn.table):,} months"
        print(f"{count}, {sum(drawn.is_gap):,} of them without an article, written to {path}")
    for note in archive.notes:
        print(f"haltung: {note}", file=sys.stderr)


def _of_series(series: str | None, pair: str | None) -> tuple[Path, tuple[str, str]] | None:
    """Return the file and the pair of a series, None if no series is requested."""
    if series is None and pair is None:
        return None
    if pair is None or series is None:
        raise UserError("a series needs its two actors and its file, as in pair=USA,RUS series=FILE.png; one of them is missing")
    path = Path(series if Path(series).suffix else f"{series}.png").expanduser()
    if path.suffix.lower() != ".png" or not Path(series).name:
        raise UserError(f"series is '{series}', but a series is a picture: name it FILE.png; output=FILE.html is a page with the sentences")
    output_file(str(path))
    codes = _several(pair)
    if len(codes) != 2 or codes[0] == codes[1]:
        raise UserError(f"pair is '{pair}'; expected two different codes with a comma between them, as in pair=USA,RUS")
    return path, (codes[0].upper(), codes[1].upper())


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
