"""Read a user's file as rows of cells: detect format, encoding, separator, sheet and header."""

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

# The first bytes of the formats other than text.
_SIGNATURES = {b"PK\x03\x04": "Excel", b"\xd0\xcf\x11\xe0": "Excel", b"PAR1": "Parquet", b"$FL": "SPSS", b"<stata_dta>": "Stata"}
_MAX_BYTES, _MAX_EMPTY = 1_000_000_000, 1_000_000  # bytes of an unpacked workbook; cells that a sheet may have beyond its bytes
_FIRST = 50  # rows in which the header is searched
# Opens a workbook in a process with limited memory; if a cell far off makes it exceed the limit,
# the reader aborts that process.
_OPEN = """import resource, sys; most = resource.getrlimit(resource.RLIMIT_AS)[1]; bytes = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (min(bytes, most) if most > 0 else bytes, most)); import python_calamine as reader
book = reader.CalamineWorkbook.from_path(sys.argv[1]); [book.get_sheet_by_name(name) for name in book.sheet_names]"""
_MAX_MEMORY = 3_000_000_000
_CELL = re.compile(rb'\br="([A-Z]{1,3}[0-9]+)"')
Row = tuple[int, Sequence[Any]]
Known = Callable[[str], object]  # whether a text is a known column name


@dataclass(frozen=True)
class Cells:
    """Rows, numbered as programs show them; ``above`` ends with the header, ``said`` has notes."""

    unit: str  # row or line
    above: list[Row]
    names: list[str]
    rows: Iterator[Row]
    said: list[str]


def read_cells(path: Path, sheet: str | None, encoding: str | None, separator: str | None, known: Known, quote: str = '"') -> Cells:
    """Open a file; ``UserError`` if it is damaged or far too sparse, or has no usable header."""
    kind, said, mark, unit = format_of(path), list[str](), ",", "row"
    try:
        rows = _binary(path, kind, sheet, said) if kind != "text" else iter(())
    except ImportError:
        raise UserError(f"{path}: reading {kind} files requires a package that is not installed; pip install 'haltung[sheets]'") from None
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 -- each library has its own errors, and a panic is no Exception
        raise UserError(f"{path}: not a valid {kind} file, or a damaged or locked one ({first_line(error)})") from None
    if kind == "text":
        encoding, unit, quote = encoding or _encoding(path), "line", one_of("quotechar", quote, ('"', "'"))
        mark = SEPARATORS.get(separator or "", separator) or separator_in(path, encoding, known, quote)
        # Excel does not show its directive sep=;
        rows = (row for row in csv_rows(path, separator=mark, quotechar=quote, encoding=encoding) if row[1][0] != "sep=")
        said.append(f"{path.name} is read as {encoding}, separated by {mark!r} (encoding=, separator=)")
    if not (first := list(islice(rows, _FIRST))):
        return Cells(unit, [], [], iter(()), said)
    at = header_of(first, known) if kind in ("text", "Excel") else 0
    upper, names = ([text_of(cell) for cell in first[line][1]] for line in (max(0, at - 1), at))
    if len({*upper} - {""}) > 1:  # the first line of a two-line header
        names = [name or other for name, other in zip_longest(names, upper[: len(names)], fillvalue="")]
    where = f"{path}, {unit} {first[at][0]}" + (f" of {sheet}" if sheet else "")
    check_names(where, names, mark)
    for column, name in enumerate(names if kind in ("text", "Excel") else ()):
        if name and [text_of(cell) for _, cells in first[at + 1 :] for cell in cells[column : column + 1]].count(name) > 1:
            raise UserError(f"{where}: '{short(name)}' is a value of the column, not its name; put a row with the column names above")
    if titles := " / ".join(cell for _, cells in first[:at] for cell in dict.fromkeys(map(text_of, cells)) if cell):
        said.append(f"the column names are in {unit} {first[at][0]}, below: {short(titles)}")
    return Cells(unit, first[: at + 1], names, chain(first[at + 1 :], rows), said)


def header_of(rows: Sequence[Row], known: Known) -> int:
    """Return the index of the header: the first row that fills over half of the usual columns, or
    that with the most ``known`` names (two, or further down three), or the next if all are known.
    """
    filled = [{text for cell in cells if (text := text_of(cell))} for _, cells in rows]
    widths = sorted(len(cells) for cells in filled if cells) or [0]
    usual = widths[len(widths) // 2]
    count = Counter(cell for cells in filled for cell in cells)  # a label may equal a known name, but recurs
    full = [number for number, cells in enumerate(filled) if 2 * len(cells) > usual]
    # A title is followed by a row with more cells, none of which recurs.
    titles = (len(filled[at]) < len(filled[below]) and all(count[cell] == 1 for cell in filled[below]) for at, below in pairwise(full))
    first = next((at for at, is_title in zip_longest(full, titles) if not is_title), 0)
    names = [sum(bool(known(cell)) and count[cell] == 1 for cell in cells) for cells in filled]
    best = names.index(max(names))
    at = best if names[best] >= min(usual, 2 if best <= first + 1 else 3) > 0 else first
    below = filled[at + 1 : at + 2]
    return at + any(cells and all(map(known, cells)) for cells in below)


def text_of(cell: object) -> str:
    """Return a cell as text, "" if it is null; 17.0, as spreadsheets store 17, becomes 17."""
    empty = cell is None or (isinstance(cell, float) and cell != cell)
    return "" if empty else str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).removesuffix(" 00:00:00").strip()


def format_of(path: Path) -> str:
    """Return Excel (also OpenDocument), Parquet, SPSS, Stata or text, by first bytes or .dta."""
    with existing(path).open("rb") as file:
        start = file.read(12) if path.suffix.lower() != ".dta" else b"<stata_dta>"
    return next((kind for mark, kind in _SIGNATURES.items() if start.startswith(mark)), "text")


def separator_in(path: Path, encoding: str | None = None, known: Known = kind_of, quote: str = '"') -> str:
    """Return a text's separator: as ``sep=`` says, or with most known names and even rows."""
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
    """Return the rows of the sheet of that name, or of the first visible one with rows."""
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    if is_zipfile(path):
        _check_size(path)
    if path.suffix.lower() != ".xlsx":
        tried = subprocess.run([sys.executable, "-P", "-c", _OPEN, path, str(_MAX_MEMORY)], check=False, capture_output=True)
        if tried.returncode < 0:
            reason = f"needs over {_MAX_MEMORY:,} bytes of memory, as with a cell far off"
            raise UserError(f"{path} {reason}; delete what is there, or save the rows as CSV")
    book, plain = CalamineWorkbook.from_path(path), (SheetTypeEnum.WorkSheet, SheetVisibleEnum.Visible)
    shown = [one.name for one in book.sheets_metadata if (one.typ, one.visible) == plain]
    for name in [one_of("sheet", sheet, book.sheet_names)] if sheet else shown:
        page = book.get_sheet_by_name(name)
        rows = page.to_python(skip_empty_area=False)
        # Merged cells store their value in the first of them only.
        for (top, left), (bottom, right) in page.merged_cell_ranges or ():
            for cells in rows[top : bottom + 1]:
                cells[left : right + 1] = rows[top][left : left + 1] * len(cells[left : right + 1])
        if sum(any(cell != "" for cell in cells) for cells in rows) > 1:
            said += [f"of the sheets {', '.join(book.sheet_names)}, {name} is read (sheet=)"] if len(book.sheet_names) > 1 else []
            return enumerate(([_plain(cell) for cell in cells] for cells in rows), 1)
    return iter(())


def _plain(cell: Any) -> Any:
    """Return a whole float as an integer, and a date as a datetime, as pandas does."""
    day = dt.datetime(*cell.timetuple()[:3]) if type(cell) is dt.date else cell  # noqa: DTZ001 -- a sheet has no time zone
    return int(day) if isinstance(day, float) and day.is_integer() else day


def _check_size(path: Path) -> None:
    """Raise ``UserError`` if a workbook needs too much memory, e.g. for a cell at XFD1048576."""
    from xlsxwriter.utility import xl_cell_to_rowcol

    with ZipFile(path) as book:
        if (size := sum(part.file_size for part in book.infolist())) > _MAX_BYTES:
            raise UserError(f"{path} has {size:,} bytes unpacked, the limit is {_MAX_BYTES:,}; save the rows as CSV")
        for name in book.namelist():
            text = book.read(name) if re.match(r"(?i)/?xl/worksheets/[^/]*\.xml", name) else b""
            most = _MAX_EMPTY + len(text)
            # With this much text, a sheet of up to 26 columns can't exceed the limit.
            is_plain = most > 26 * 1_048_576 and not re.search(rb'\br="[A-Z]{2}', text)
            found = [] if is_plain else [xl_cell_to_rowcol(one[1].decode()) for one in _CELL.finditer(text)]
            rows, columns = (1 + max((cell[axis] for cell in found), default=0) for axis in (0, 1))
            if rows * columns > most:
                last = f"up to row {rows:,} and column {columns:,}"
                raise UserError(f"{path}: {name} has cells {last}, nearly all empty; delete the distant cells, or save the rows as CSV")


def _encoding(path: Path) -> str:
    """Return the encoding of a text, out of a few: of all of them, too many fit German texts."""
    from charset_normalizer import from_path

    with suppress(UnicodeDecodeError), path.open(encoding="utf-8") as text:
        sum(map(len, text))  # line by line, since the whole may not fit into memory
        return "utf-8"
    return getattr(from_path(path, cp_isolation=["utf_16", "cp1252", "mac_roman", "cp850"]).best(), "encoding", "utf-8")
