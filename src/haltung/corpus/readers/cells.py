"""A person's file as rows of cells: its format, encoding, separator, sheet, and titles above."""

import csv
import datetime as dt
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice, pairwise, zip_longest
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

from haltung.corpus.parsing.lines import MAX_LINE_BYTES, csv_rows, existing, lines
from haltung.corpus.parsing.recognise import kind_of
from haltung.corpus.readers.tables import SEPARATORS, Parquet, check_names
from haltung.errors import UserError, first_line, one_of, short

# The first bytes of what is no text, and what it is then.
_SIGNATURES = {b"PK\x03\x04": "Excel", b"\xd0\xcf\x11\xe0": "Excel", b"PAR1": "Parquet", b"$FL": "SPSS", b"<stata_dta>": "Stata"}
_MAX_BYTES, _MAX_EMPTY = 1_000_000_000, 1_000_000  # of a workbook, unpacked; cells that its sheet may have beside those written
_FIRST = 50  # rows that are looked at for the names of columns
# Opens a workbook in a process that may take so many bytes; where a cell far off asks for more, its
# reader ends the process.
_OPEN = """import resource, sys; most = resource.getrlimit(resource.RLIMIT_AS)[1]; bytes = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (min(bytes, most) if most > 0 else bytes, most)); import python_calamine as reader
book = reader.CalamineWorkbook.from_path(sys.argv[1]); [book.get_sheet_by_name(name) for name in book.sheet_names]"""
_MAX_MEMORY = 3_000_000_000
_CELL = re.compile(rb'\br="([A-Z]{1,3}[0-9]+)"')
Row = tuple[int, Sequence[Any]]
Known = Callable[[str], object]  # whether a text is the name of a column of ours


@dataclass(frozen=True)
class Cells:
    """Rows by the numbers that a program shows; ``above`` ends with the names, ``said`` is how."""

    unit: str  # row or line
    above: list[Row]
    names: list[str]
    rows: Iterator[Row]
    said: list[str]


def read_cells(path: Path, sheet: str | None, encoding: str | None, separator: str | None, known: Known, quote: str = '"') -> Cells:
    """Open a file; ``UserError`` if it is damaged or far too sparse, or lacks names of columns."""
    kind, said, mark, unit = format_of(path), list[str](), ",", "row"
    try:
        rows = _binary(path, kind, sheet, said) if kind != "text" else iter(())
    except ImportError:
        raise UserError(f"{path}: a file of {kind} needs a package that is not installed; pip install 'haltung[sheets]'") from None
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 -- each library has its own errors, and a panic is no Exception
        raise UserError(f"{path}: not a file of {kind}, or a damaged or locked one ({first_line(error)})") from None
    if kind == "text":
        encoding, unit, quote = encoding or _encoding(path), "line", one_of("quotechar", quote, ('"', "'"))
        mark = SEPARATORS.get(separator or "", separator) or separator_in(path, encoding, known, quote)
        # Excel's own line, which it does not show, says sep=;
        rows = (row for row in csv_rows(path, separator=mark, quotechar=quote, encoding=encoding) if row[1][0] != "sep=")
        said.append(f"{path.name} is read as {encoding}, separated by {mark!r} (encoding=, separator=)")
    if not (first := list(islice(rows, _FIRST))):
        return Cells(unit, [], [], iter(()), said)
    at = header_of(first, known) if kind in ("text", "Excel") else 0
    upper, names = ([text_of(cell) for cell in first[line][1]] for line in (max(0, at - 1), at))
    if len({*upper} - {""}) > 1:  # the upper line of a header of two
        names = [name or other for name, other in zip_longest(names, upper[: len(names)], fillvalue="")]
    where = f"{path}, {unit} {first[at][0]}" + (f" of {sheet}" if sheet else "")
    check_names(where, names, mark)
    for column, name in enumerate(names if kind in ("text", "Excel") else ()):
        if name and [text_of(cell) for _, cells in first[at + 1 :] for cell in cells[column : column + 1]].count(name) > 1:
            raise UserError(f"{where}: '{short(name)}' is no name of a column but a value of it; put a row with the columns' names above")
    if titles := " / ".join(cell for _, cells in first[:at] for cell in dict.fromkeys(map(text_of, cells)) if cell):
        said.append(f"the names of the columns stand in {unit} {first[at][0]}, below: {short(titles)}")
    return Cells(unit, first[: at + 1], names, chain(first[at + 1 :], rows), said)


def header_of(rows: Sequence[Row], known: Known) -> int:
    """Return which row has the names: the first that fills more than half of the usual columns, or
    the next if it has more that are ``known`` or nothing else, or one with three of them.
    """
    filled = [{text for cell in cells if (text := text_of(cell))} for _, cells in rows]
    widths = sorted(len(cells) for cells in filled if cells) or [0]
    usual = widths[len(widths) // 2]
    count = Counter(cell for cells in filled for cell in cells)  # a label may be called as a column of ours, but recurs
    full = [number for number, cells in enumerate(filled) if 2 * len(cells) > usual]
    # A title is followed by a fuller row, of what stands nowhere else.
    titles = (len(filled[at]) < len(filled[below]) and all(count[cell] == 1 for cell in filled[below]) for at, below in pairwise(full))
    first = next((at for at, is_title in zip_longest(full, titles) if not is_title), 0)
    names = [sum(bool(known(cell)) and count[cell] == 1 for cell in cells) for cells in filled]
    best = names.index(max(names))
    at = best if names[best] >= min(usual, 2 if best <= first + 1 else 3) > 0 else first
    below = filled[at + 1 : at + 2]
    return at + any(cells and all(map(known, cells)) for cells in below)


def text_of(cell: object) -> str:
    """Return a cell as text, 17.0 as 17, which spreadsheets make of it; "" if it is null."""
    empty = cell is None or (isinstance(cell, float) and cell != cell)
    return "" if empty else str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).removesuffix(" 00:00:00").strip()


def format_of(path: Path) -> str:
    """Return Excel (also OpenDocument), Parquet, SPSS, Stata or text, as the file begins."""
    with existing(path).open("rb") as file:
        start = file.read(12) if path.suffix.lower() != ".dta" else b"<stata_dta>"
    return next((kind for mark, kind in _SIGNATURES.items() if start.startswith(mark)), "text")


def separator_in(path: Path, encoding: str | None = None, known: Known = kind_of, quote: str = '"') -> str:
    """Return the separator of a text: by it most names are known, and most lines are alike."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    start = [part for line in islice(lines(path, encoding=encoding or _encoding(path)), _FIRST) for part in line.splitlines() if part]

    def score(mark: str) -> tuple[int, int]:
        rows = [(0, next(csv.reader([line], delimiter=mark, quotechar=quote), [])) for line in start]
        names = rows[header_of(rows, known)][1]
        return sum(bool(known(name.strip())) for name in {*names}), sum(len(cells) == len(names) > 1 for _, cells in rows)

    told = re.match(r"sep=(.)\s*$", start[0]) if start else None
    return told[1] if told else max(",;\t|", key=score) if start else ","


def _binary(path: Path, kind: str, sheet: str | None, said: list[str]) -> Iterator[Row]:
    import pandas as pd
    import pyarrow.parquet as pq

    if kind == "Excel":
        return _workbook(path, sheet, said)
    if kind == "Parquet":
        return chain([(0, pq.read_schema(path).names)], ((at, list(row.data.values())) for at, row in enumerate(Parquet("").rows(path), 1)))
    frame = {"SPSS": pd.read_spss, "Stata": pd.read_stata}[kind](path).astype(object)
    return enumerate([list(frame.columns), *frame.where(frame.notna(), "").to_numpy().tolist()], 1)


def _workbook(path: Path, sheet: str | None, said: list[str]) -> Iterator[Row]:
    """Yield the rows of the sheet of that name, or of the first with rows that is not hidden."""
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    if is_zipfile(path):
        _check_size(path)
    if path.suffix.lower() != ".xlsx":
        tried = subprocess.run([sys.executable, "-P", "-c", _OPEN, path, str(_MAX_MEMORY)], check=False, capture_output=True)
        if tried.returncode < 0:
            reason = f"takes over {_MAX_MEMORY:,} bytes of memory, as with a cell far off"
            raise UserError(f"{path} {reason}; delete what is there, or save the rows as CSV")
    book, plain = CalamineWorkbook.from_path(path), (SheetTypeEnum.WorkSheet, SheetVisibleEnum.Visible)
    shown = [one.name for one in book.sheets_metadata if (one.typ, one.visible) == plain]
    for name in [one_of("sheet", sheet, book.sheet_names)] if sheet else shown:
        page = book.get_sheet_by_name(name)
        rows = page.to_python(skip_empty_area=False)
        # A value of merged cells stands in the first of them, and is that of all.
        for (top, left), (bottom, right) in page.merged_cell_ranges or ():
            for cells in rows[top : bottom + 1]:
                cells[left : right + 1] = rows[top][left : left + 1] * len(cells[left : right + 1])
        if sum(any(cell != "" for cell in cells) for cells in rows) > 1:
            said += [f"of the sheets {', '.join(book.sheet_names)} {name} is read (sheet=)"] if len(book.sheet_names) > 1 else []
            return enumerate(([_plain(cell) for cell in cells] for cells in rows), 1)
    return iter(())


def _plain(cell: Any) -> Any:
    """Return a whole number as one, and a day as a time, as pandas has them."""
    day = dt.datetime(*cell.timetuple()[:3]) if type(cell) is dt.date else cell  # noqa: DTZ001 -- a sheet has no time zone
    return int(day) if isinstance(day, float) and day.is_integer() else day


def _check_size(path: Path) -> None:
    """Raise ``UserError`` if a workbook takes too much memory, as with one cell at XFD1048576."""
    from xlsxwriter.utility import xl_cell_to_rowcol

    with ZipFile(path) as book:
        if (size := sum(part.file_size for part in book.infolist())) > _MAX_BYTES:
            raise UserError(f"{path} has {size:,} bytes unpacked, allowed are {_MAX_BYTES:,}; save the rows as CSV")
        for name in book.namelist():
            text = book.read(name) if re.match(r"(?i)/?xl/worksheets/[^/]*\.xml", name) else b""
            most = _MAX_EMPTY + len(text)
            # Of a large part with no more than 26 columns, cells are not looked at one by one.
            is_plain = most > 26 * 1_048_576 and not re.search(rb'\br="[A-Z]{2}', text)
            found = [] if is_plain else [xl_cell_to_rowcol(one[1].decode()) for one in _CELL.finditer(text)]
            rows, columns = (1 + max((cell[axis] for cell in found), default=0) for axis in (0, 1))
            if rows * columns > most:
                last = f"up to row {rows:,} and column {columns:,}"
                raise UserError(f"{path}: {name} has cells {last}, nearly all empty; delete what is far off, or save the rows as CSV")


def _encoding(path: Path) -> str:
    """Return the encoding of a text; among all, those of German texts look too much alike."""
    from charset_normalizer import from_path

    with suppress(UnicodeDecodeError), path.open(encoding="utf-8") as text:
        sum(map(len, text))  # line by line, since the whole may not fit into memory
        return "utf-8"
    return getattr(from_path(path, cp_isolation=["utf_16", "cp1252", "mac_roman", "cp850"]).best(), "encoding", "utf-8")
