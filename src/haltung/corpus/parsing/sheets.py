"""Opens sheets as people keep them: Excel, ODS, CSV of any kind, Parquet, SPSS, Stata."""

import csv
import datetime as dt
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from haltung.corpus.parsing.lines import MAX_LINE_BYTES
from haltung.errors import UserError, first_line, listed, nearest

# The first bytes of what is no text, and what it is then.
_SIGNATURES = {b"PK\x03\x04": "workbook", b"\xd0\xcf\x11\xe0": "workbook", b"PAR1": "Parquet", b"$FL": "SPSS", b"<stata_dta>": "Stata"}
# What German programs wrote before UTF-8; among all encodings too many look alike in a short text.
_OLDER = ["cp1252", "iso8859_15", "mac_roman", "cp850", "utf_16"]
_QUOTES: tuple[dict[str, Any], ...] = ({}, {"escapechar": "\\"}, {"quotechar": "'"}, {"quoting": csv.QUOTE_NONE})
_SAMPLE = 2_000  # the records by which separator and quoting are chosen
_MONTHS = ("jan", "feb", "mär", "apr", "mai", "jun", "jul", "aug", "sep", "okt", "nov", "dez")
_GERMAN = re.compile(r"(\d{1,2})\.\s*(\d{1,2}|[a-zä]{3,9})(?:\.|\b)\s*(\d{4}|\d{2})(?:,?\s+\d{1,2}[:.]\d{2}.*)?", re.IGNORECASE)


@dataclass(frozen=True)
class SheetCells:
    """All cells of a sheet, how it was read, the number of its header's row, unique names, and the
    rows below that are not empty, as text, each with its number in a spreadsheet.
    """

    cells: list[list[object]]
    format: str
    header: int
    names: tuple[str, ...]
    rows: list[tuple[int, list[str]]]


def as_text(cell: object) -> str:
    """Return a cell as text: 17.0 as "17", a date as ISO, what is missing as ""."""
    if isinstance(cell, dt.datetime):
        return cell.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(cell, float):
        return "" if cell != cell else str(int(cell)) if cell.is_integer() else str(cell)
    return "" if cell is None else str(cell).strip()


def iso_date(text: str) -> str:
    """Return an ISO or German date (14.01.2025, 14. Januar 25) as ISO, "" if it is none."""
    try:
        if not (found := _GERMAN.fullmatch(text)):
            return dt.datetime.fromisoformat(text).date().isoformat()
        day, month, year = found.groups()
        number = int(month) if month.isdigit() else 1 + _MONTHS.index(month[:3].lower().replace("mrz", "mär"))
        return dt.date(int(year) + (len(year) == 2) * (2000 if year < "70" else 1900), number, int(day)).isoformat()
    except ValueError:
        return ""


def open_sheet(path: Path, sheet: str | None, encoding: str | None, separator: str | None, header: int | None) -> SheetCells:
    """Open a file by its content; what is None is found. ``UserError``: that fails, or no rows."""
    with path.open("rb") as file:
        start = file.read(12) if path.suffix.lower() != ".dta" else b"<stata_dta>"
    kind = next((kind for mark, kind in _SIGNATURES.items() if start.startswith(mark)), "text")
    if kind == "text":
        found, cells = _text(path, encoding, separator)
    else:
        found, cells = _workbook(path, sheet) if kind == "workbook" else _frame(path, kind)
    filled = [sum(map(bool, map(as_text, row))) for row in cells[:50]]
    # A title or merged cells above the header leave most of their row empty.
    header = header or next((number for number, count in enumerate(filled, 1) if count > max(filled) / 2), 0)
    if not 0 < header < len(cells):
        raise UserError(f"{path} has no rows below a header; the first row has the names of the columns, or say which (header=2)")
    names = list(map(as_text, cells[header - 1]))
    while kind == "text" and names and not names[-1]:
        names.pop()
    unique = (name if name and name not in names[:at] else f"{name} (column {at + 1})".strip() for at, name in enumerate(names))
    texts = ((number, list(map(as_text, row))) for number, row in enumerate(cells[header:], header + 1))
    rows = [(number, row if any(row[len(names) :]) else row[: len(names)]) for number, row in texts if any(row)]
    return SheetCells(cells, f"{found}, header in row {header}", header, tuple(unique), rows)


def _workbook(path: Path, sheet: str | None) -> tuple[str, list[list[object]]]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_path(path)
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            raise UserError(f"{path} has no sheet '{sheet}'{nearest(sheet, names)}; its sheets are {listed(names)}")
        sheet = sheet or next((name for name in names if book.get_sheet_by_name(name).total_height > 1), names[0])
        others = f" (others: {listed(name for name in names if name != sheet)})" if len(names) > 1 else ""
        return f"workbook, sheet '{sheet}'{others}", [list(row) for row in book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)]
    except (CalamineError, IndexError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a workbook of Excel or OpenDocument, or a damaged or locked one ({first_line(error)})") from None


def _frame(path: Path, kind: str) -> tuple[str, list[list[object]]]:
    import pandas as pd

    try:
        frame = {"Parquet": pd.read_parquet, "SPSS": pd.read_spss, "Stata": pd.read_stata}[kind](path)
    except ImportError:
        raise UserError(f"{path}: a file of SPSS is read by pyreadstat, which is not installed; pip install 'haltung[sheets]'") from None
    except Exception as error:  # noqa: BLE001 -- each library has its own errors
        raise UserError(f"{path}: not a file of {kind}, or a damaged one ({first_line(error)})") from None
    values = frame.astype(object)
    return kind, [list(map(str, frame.columns)), *values.where(values.notna(), None).to_numpy().tolist()]


def _text(path: Path, encoding: str | None, separator: str | None) -> tuple[str, list[list[object]]]:
    from charset_normalizer import from_bytes

    data = path.read_bytes()
    try:
        text, found = data.decode(encoding or "utf-8-sig"), encoding or "utf-8"
    except LookupError:
        raise UserError(f"encoding is '{encoding}', which Python does not know; try utf-8, cp1252, utf-16") from None
    except UnicodeDecodeError as error:
        if encoding or (best := from_bytes(data, cp_isolation=_OLDER).best()) is None:
            where = f"{path}, line {data.count(10, 0, error.start) + 1}: not {encoding or 'utf-8'} (byte 0x{data[error.start]:02x})"
            raise UserError(f"{where}; name another encoding=, or save the sheet as UTF-8") from None
        text, found = str(best), best.encoding
    if "\0" in text:
        raise UserError(f"{path}, line {text.split(chr(0))[0].count(chr(10)) + 1}: a NUL byte; if it is UTF-16, say encoding=utf-16-le")
    if told := re.match(r"sep=(.)\r?\n", text):  # Excel's own line, which it does not show
        separator, text = separator or told[1], text[told.end() :]
    separator = {"\\t": "\t", "tab": "\t"}.get(str(separator), separator)
    if separator is not None and len(separator) != 1:
        raise UserError(f"separator is {separator!r}; expected one character, or tab")
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    quotes, separator = max(product(_QUOTES, separator or ";\t,|"), key=lambda style: _fitness(text, *style))
    cells: list[list[Any]] = []
    try:
        cells.extend(_records(text, quotes, separator))
    except csv.Error as error:
        where = f"{path}, row {len(cells) + 1}: not CSV with separator {separator!r} ({error})"
        raise UserError(f"{where}; put the whole cell in quotes, and double those in it") from None
    unusual = "".join(f", {key} {'none' if key == 'quoting' else value}" for key, value in quotes.items())
    return f"text, encoding {found}, separator {separator.replace(chr(9), 'tab')}{unusual}", cells


def _records(text: str, quotes: dict[str, Any], separator: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, **quotes)


def _fitness(text: str, quotes: dict[str, Any], separator: str) -> float:
    """Return how alike the records are if read so, less for stray quotes or one column."""
    try:
        rows = [row for row in islice(_records(text, quotes, separator), _SAMPLE) if row] or [[""]]
    except csv.Error:
        return -1.0
    ((width, count),) = Counter(map(len, rows)).most_common(1)
    quoted = sum(any(end in "'\"" for end in (*cell[:1], *cell[-1:])) for row in rows for cell in row)
    return (count / len(rows) - quoted / sum(map(len, rows))) * (1 if width > 1 else 0.7)
