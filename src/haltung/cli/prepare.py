"""``haltung prepare corpus=NAME``, ``haltung check corpus=NAME limits=NAME``; faults of sheets."""

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from haltung.cli import hint
from haltung.cli.build import CorpusOptions, command, corpus_of, make, scheme_of, typed
from haltung.cli.config import Request
from haltung.corpus.parsing.sheets import SheetCells, as_text
from haltung.corpus.quality import INSTALL_HUNSPELL, has_hunspell, inspect
from haltung.corpus.readers.sheet import Sheet, SheetFault, checked, recognised
from haltung.corpus.split import SPLITS
from haltung.corpus.store import REASONS, Prepared, label_rows
from haltung.errors import UserError, listed, one_of
from haltung.evaluation.report.tables import Grid
from haltung.experiments.journal import writing
from haltung.files import atomic_file
from haltung.labels import Scheme

_SHOWN = 50  # of a sheet's faults; the file has them all


@command("prepare")
def run(request: Request) -> None:
    """Prepare a corpus and print its table."""
    prepared = corpus_of(request.settings, request.config_dir)
    Console().print(table(prepared))
    print(f"written to {prepared.folder}")


@command("check")
def check(
    request: Request, *, spelling: Literal["auto", "required", "off"], shown: Annotated[int, Field(ge=0)],
    only_splits: tuple[Literal["train", "dev", "test"], ...] | None,
) -> int:  # fmt: skip
    """Hold a corpus against its limits; return 1 if one of them is not met."""
    corpus = typed(CorpusOptions, request.settings["corpus"], "corpus")
    limits, reader = make(request.settings["limits"], "limits"), make(corpus.reader, "corpus.reader")
    scheme = scheme_of(corpus.labels, request.config_dir)
    console = Console()
    spells = spelling == "required" or (spelling == "auto" and has_hunspell())
    segments = reader.read(scheme).segments
    if only_splits is not None:
        segments = tuple(segment for segment in segments if segment.split in only_splits)
    with Console(stderr=True).status(f"{corpus.name}: checking {len(segments)} segments"):
        countries = reader.countries() if hasattr(reader, "countries") else {}
        measures = list(inspect(segments, limits, scheme, countries, spells))
    heads = ("measure", Column("found", justify="right"), "allowed", "")
    grid = Table(*heads, title=f"{corpus.name}: {len(segments):,} segments", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for measure in measures:
        grid.add_row(measure.name, measure.found, measure.allowed, Text("ok", "green") if measure.holds else Text("not met", "bold red"))
    console.print(grid)
    for measure in measures:
        if not measure.holds and measure.faults:
            console.print(Text(f"{measure.name}: {len(measure.faults)}", "bold"))
            for fault in measure.faults[:shown]:
                console.print(Text(f"  {fault}"))
            if len(measure.faults) > shown:
                console.print(f"  … and {len(measure.faults) - shown} more (shown={len(measure.faults)} lists them all)")
    if limits.spelling is not None and not spells:
        why = "switched off" if spelling == "off" else f"hunspell is not installed; {INSTALL_HUNSPELL}"
        console.print(Text(f"Note: spelling was not checked: {why}.", "yellow"))
    return 0 if all(measure.holds for measure in measures) else 1


def table(prepared: Prepared) -> Group:
    """Return counts of the labels by split, then dropped segments."""
    manifest = prepared.manifest
    parts: list[RenderableType] = [Text(prepared.name, style="bold")]
    parts += [Text(f"  {part}: {manifest.segments[part]:,} segments of {manifest.articles[part]:,} articles") for part in SPLITS]
    whole = max(1, manifest.segments["train"])
    for task in prepared.scheme:
        rows = tuple(
            (id, name, *(f"{count:,}" for count in counts.values()), f"{counts['train'] / whole:.1%}")
            for id, _, name, counts in label_rows(task, manifest)
        )
        parts.append(Grid(task.title(), ("label", "English", *SPLITS, "share of train"), rows, left=2).rich())
    losses = [(reason, REASONS.get(reason, "see dropped.jsonl"), f"{count:,}") for reason, count in sorted(manifest.dropped.items())]
    losses += [(f"repaired: {what}", "see repaired.jsonl", f"{count:,}") for what, count in sorted(manifest.repaired.items())]
    if losses:
        parts.append(Grid("Dropped and repaired", ("reason", "meaning", "segments"), tuple(losses), left=2).rich())
    return Group(*parts, *(Text(f"Note: {note}.", style="yellow") for note in manifest.notes))


def tell(sheet: Sheet, scheme: Scheme, labels: str, name: str) -> None:
    """Print what was found in a sheet, and its faults, which ``NAME.faults.xlsx`` marks in a copy.
    Raises ``UserError`` if there are any, unless they are to be dropped.
    """
    drops = one_of("on_error", sheet.on_error, ("stop", "drop")) == "drop"
    (fields, columns, counts), cells, (_, faults) = recognised(sheet), sheet.cells, checked(sheet, scheme)
    hint("table", f"{sheet.path}: {cells.format}, {len(cells.rows)} rows, {len(cells.names)} columns")
    for key, column in fields.items():
        hint(key, f"{column} ({len(counts[column])} different)")
    for column in columns:
        hint("label", f"{column} ({listed(f'{label} {count}' for label, count in counts[column].most_common(20))})")
    hint("not read", listed(column for column in cells.names if column not in (*fields.values(), *columns)))
    hint("labels", f"{labels}, to be edited: names, definitions, order")
    if not faults:
        return
    grid = Table("row", "column", "what is wrong", "what to do", title="Dropped" if drops else "Faults", box=box.SIMPLE_HEAD)
    for fault in faults[:_SHOWN]:
        what, _, remedy = fault.detail.partition("; ")
        grid.add_row(str(fault.row), *map(Text, (fault.column, what, remedy)))
    Console().print(grid)
    _mark(path := Path(f"{name}.faults.xlsx"), cells, faults)
    found = f"faults: {len(faults)} in {len({fault.row for fault in faults})} rows, marked in {path}"
    if not drops:
        remedy = "correct the sheet, add labels that are meant so to the scheme, or leave rows out by on_error=drop"
        raise UserError(f"{sheet.path} has {found}; {remedy}")
    hint("dropped", found)


def _mark(path: Path, sheet: SheetCells, faults: tuple[SheetFault, ...]) -> None:
    """Write a copy of a sheet with faulty cells in red, and what is wrong behind each row."""
    import xlsxwriter

    words, marked, width = {sheet.header: "faults"}, set[tuple[int, int]](), max(map(len, sheet.cells))
    for fault in faults:
        words[fault.row] = "; ".join(filter(None, (words.get(fault.row), fault.column, fault.detail)))
        marked |= {(fault.row, sheet.names.index(fault.column) if fault.column else width)}
    options = {"strings_to_formulas": False, "strings_to_urls": False, "remove_timezone": True, "nan_inf_to_errors": True}
    options |= {"default_date_format": "dd.mm.yyyy"}
    with writing(path), atomic_file(path) as scratch, scratch.open("wb") as file, xlsxwriter.Workbook(file, options) as book:
        page, red = book.add_worksheet("faults"), book.add_format({"bg_color": "#FFC7CE", "font_color": "#9C0006"})
        for number, row in enumerate(sheet.cells, 1):
            for column, cell in enumerate([*row, *[""] * (width - len(row)), words.get(number, "")]):
                value = cell if isinstance(cell, str | int | float | dt.date) else as_text(cell)
                page.write(number - 1, column, value, *[red] * ((number, column) in marked))
