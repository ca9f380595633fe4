"""The user's files with one segment per row: JSONL, CSV, Parquet, and sheets of any kind."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import yaml

from haltung.corpus.parsing.fields import Fields, check_columns, check_header
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, csv_rows, existing, json_rows, separator_of
from haltung.corpus.parsing.rows import SPLITS, Fault, Intake, Reading, SourceRow
from haltung.errors import UserError, first_line, listed, one_of
from haltung.files import table, write_text
from haltung.labels import RESERVED, STANCE, Scheme, parse

# One file, or one for each split: {"train": "a.csv", "test": "b.csv"}.
Paths = str | Mapping[str, str]
# The first bytes of what is no text, and what it is then.
_SIGNATURES = {b"PK\x03\x04": "Excel", b"\xd0\xcf\x11\xe0": "Excel", b"PAR1": "Parquet", b"$FL": "SPSS", b"<stata_dta>": "Stata"}
_TASKS = (STANCE, "topic", "label")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})
_CODES, _MAX_BYTES = 1_000, 1_000_000_000  # labels of which slips are looked for; of a workbook, unpacked
_TOLD = 30  # of the rows with faults; dropping them lists them all in a file


@dataclass(frozen=True)
class Table(ABC):
    """Files with one segment per row; ``columns`` maps our fields to theirs if they differ."""

    path: Paths
    columns: Mapping[str, str | None] = field(default_factory=dict)
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``)."""
        return tuple(path for _, path in split_files(self.path))

    def read(self, scheme: Scheme) -> Reading:
        """Read all rows (see ``Reader``)."""
        check_columns(self.columns, scheme)
        drops = one_of("on_error", self.on_error, ("stop", "drop")) == "drop"
        files = split_files(self.path)
        intake = Intake(scheme, ", ".join(str(file) for _, file in files), "drop")
        for split, file in files:
            # Read as a whole first: if each row names its columns, only then all are known.
            rows = [replace(row, split=split) for row in self.rows(file)]
            header = dict.fromkeys(name for row in rows for name in row.data)
            mapping = self.mapping(list(header))
            if header:
                check_header(file, list(header), mapping)
            for row in rows:
                with intake.row(row):
                    intake.add(Fields(row.fields(), mapping, getattr(self, "list_separator", "")).segment(scheme, row))
        if intake.dropped and not drops:
            faults = [f"{row.where}: {row.detail}" for row in intake.dropped]
            more = f"; and {len(faults) - _TOLD} more rows" if len(faults) > _TOLD else ""
            raise UserError("; ".join(faults[:_TOLD]) + more)
        return intake.reading(f"the columns are: {listed(header)}; map one with corpus.reader.columns.{scheme.names[0]}=NAME")

    def mapping(self, header: Sequence[str]) -> dict[str, str]:
        """Return the column of each field that is called otherwise, of those in the ``header``."""
        return {key: str(name) for key, name in self.columns.items() if name is not None}

    @abstractmethod
    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""


@dataclass(frozen=True)
class Jsonl(Table):
    """JSONL, one object per line; a multi-label answer is a list."""

    encoding: str = "utf-8"
    max_line_bytes: int = MAX_LINE_BYTES

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        return json_rows(path, encoding=self.encoding, max_line_bytes=self.max_line_bytes)


@dataclass(frozen=True)
class Csv(Table):
    """CSV; ``list_separator`` is within multi-label cells, ``names`` stand in for a header."""

    separator: str = ","
    quotechar: str = '"'
    names: tuple[str, ...] | list[str] | None = None
    list_separator: str = ";"
    encoding: str = "utf-8"
    max_line_bytes: int = MAX_LINE_BYTES

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        # A shell passes \t as two characters.
        separator = {"\\t": "\t", "tab": "\t"}.get(self.separator, self.separator)
        rows = csv_rows(path, separator=separator, quotechar=self.quotechar, encoding=self.encoding, max_line_bytes=self.max_line_bytes)
        names = list(self.names) if self.names else None
        for number, cells in rows:
            where = f"{path}, line {number}"
            if names is None:
                if cells[0] == "sep=":  # Excel's own line, which it does not show
                    continue
                names = [cell.strip() for cell in cells]
                _check_names(where, names, separator)
                continue
            fault = None
            if len(cells) != len(names):
                fault = Fault("wrong_columns", f"{len(cells)} cells, expected {len(names)} ({listed(names)}) separated by {separator!r}")
            yield SourceRow(where, f"{path.stem}-{number}", {} if fault else dict(zip(names, cells, strict=True)), fault, raw=cells)


@dataclass(frozen=True)
class Parquet(Table):
    """Parquet; labels are strings, multi-label answers lists of strings, dyads lists of structs."""

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=1024):
                    for data in batch.to_pylist():
                        number += 1
                        yield SourceRow(f"{path}, row {number}", f"{path.stem}-{number}", data)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a Parquet file, or a damaged one after row {number} ({first_line(error)})") from None


@dataclass(frozen=True)
class Sheet(Table):
    """A person's sheet: Excel, ODS, CSV, Parquet, SPSS or Stata, as its content says.

    Columns that are null are recognised by their names (``columns.tsv``), ``none`` leaves one
    unread; ``label`` names those with labels, a task each. The next three are found if null.
    """

    label: tuple[str, ...] | list[str] | None = None
    sheet: str | None = None
    encoding: str | None = None
    separator: str | None = None
    list_separator: str = ";"

    def read(self, scheme: Scheme) -> Reading:
        """Read all rows; ``UserError`` if ``label`` names tasks that the scheme lacks."""
        if unknown := [task for task in self.tasks(self.label or ()) if task not in scheme.names]:
            has = f"the scheme {scheme.name} has {listed(scheme.names)}"
            raise UserError(f"label= names the tasks {listed(unknown)}, {has}; delete its file to have it drafted anew, or edit it")
        return super().read(scheme)

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows, those of a workbook with the numbers that a spreadsheet shows."""
        unread = {key for key, name in self.columns.items() if name == "none"}
        for row in self._rows(path):
            given = set(self.label or ()) & row.data.keys()
            other = {name for name in row.data if given and name not in (*given, *self.columns.values()) and _kind(name) in _TASKS}
            yield replace(row, data={name: cell for name, cell in row.data.items() if name not in unread | other})

    def _rows(self, path: Path) -> Iterator[SourceRow]:
        import pandas as pd

        kind, readers = "text", {"SPSS": pd.read_spss, "Stata": pd.read_stata}
        try:
            with path.open("rb") as file:
                start = file.read(12) if path.suffix.lower() != ".dta" else b"<stata_dta>"
            kind = next((kind for mark, kind in _SIGNATURES.items() if start.startswith(mark)), kind)
            if kind in readers:
                frame = readers[kind](path).astype(object)
            elif kind == "Excel":
                frame = _workbook(path, self.sheet)
        except ImportError:
            raise UserError(f"{path}: a file of {kind} needs a package that is not installed; pip install 'haltung[sheets]'") from None
        except (UserError, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 -- each library has its own errors, and a panic is no Exception
            raise UserError(f"{path}: not a file of {kind}, or a damaged or locked one ({first_line(error)})") from None
        if kind == "Parquet":
            for row in Parquet("").rows(path):
                yield replace(row, data={name: cell if isinstance(cell, list | dict) else _text(cell) for name, cell in row.data.items()})
        elif kind == "text":
            encoding = self.encoding or _encoding(path)
            yield from Csv("", separator=self.separator or separator_of(path, encoding), encoding=encoding).rows(path)
        for number, row in enumerate(frame.where(frame.notna(), "").to_dict("records"), 2) if kind in (*readers, "Excel") else ():
            data = {str(name): _text(cell) for name, cell in row.items()}
            if any(data.values()):
                yield SourceRow(f"{path}, row {number}", f"{path.stem}-{number}", data)

    def tasks(self, header: Sequence[str]) -> dict[str, str]:
        """Return the column of each task, by the name that a drafted scheme gives it."""
        free = [name for name in header if _kind(name) in _TASKS and name not in self.columns.values()]
        return _columns([(_task_of(name), name) for name in self.label or free], "label")

    def mapping(self, header: Sequence[str]) -> dict[str, str]:
        """Return the column of each field and task that was named or is recognised."""
        named = {**super().mapping(header), **self.tasks(header)}
        free = [(kind, name) for name in header if name not in named.values() and (kind := _kind(name)) not in ("", "-", *named, *_TASKS)]
        return {key: name for key, name in {**_columns(free), **named}.items() if name != "none"}

    def draft(self, labels: str, name: str) -> None:
        """Write a scheme with the labels found, less slips, if ``labels`` is a path of no file.
        Raises ``UserError`` if no column of labels is recognised, or a named one is missing, or
        what it has is no scheme.
        """
        if not labels.endswith((".yaml", ".yml")) or Path(labels).exists():
            return
        rows, tasks = [row.data for _, path in split_files(self.path) for row in self.rows(path)], {}
        header = list(dict.fromkeys(name for row in rows for name in row))
        if not self.tasks(header):
            raise UserError(f"{self.path}: which column has labels? Name it (label=A), or several (label=[A,B]), of {listed(header)}")
        check_header(self.path, header, mapping := self.mapping(header))
        for task, column in self.tasks(header).items():
            parts = [cell if isinstance(cell, list) else str(cell).split(self.list_separator) for row in rows if (cell := row.get(column))]
            cells = [[label for part in cell if (label := str(part).strip())] for cell in parts]
            count = Counter(label for cell in cells for label in cell)
            known = sorted(label for label in count if len(count) > _CODES or not is_slip(label, count))
            kind = {"kind": "multi"} if any(len(cell) > 1 for cell in cells) else {}
            tasks[task] = {**kind, "de": column, "en": column, "labels": {label: {"de": label, "en": label} for label in known}}
        scheme = {"name": name, "version": 1, "tasks": tasks}
        parse(scheme, f"what {self.path} has as labels")  # before anything is written
        text = yaml.safe_dump(scheme, allow_unicode=True, sort_keys=False, default_flow_style=None)
        found = " ".join(listed(f"{key}={column}" for key, column in mapping.items()).split())
        write_text(Path(labels), f"# Drafted from {self.path} ({found}), and read from now on: edit names, definitions, order.\n{text}")


def _text(cell: object) -> str:
    """Return a cell as text, 17.0 as 17, which spreadsheets make of it; "" if it is null."""
    empty = cell is None or (isinstance(cell, float) and cell != cell)
    return "" if empty else str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()


def _workbook(path: Path, sheet: str | None) -> Any:
    """Return the sheet of that name, or the first with rows that is not hidden, as a data frame."""
    import pandas as pd
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    if is_zipfile(path) and (size := sum(part.file_size for part in ZipFile(path).infolist())) > _MAX_BYTES:
        raise UserError(f"{path} has {size:,} bytes unpacked, allowed are {_MAX_BYTES:,}; save the rows as CSV")
    plain = (SheetTypeEnum.WorkSheet, SheetVisibleEnum.Visible)
    shown = [one.name for one in CalamineWorkbook.from_path(path).sheets_metadata if (one.typ, one.visible) == plain]
    for name in [sheet] if sheet else shown:
        cells = pd.read_excel(path, sheet_name=name, header=None, dtype=object, na_filter=False, engine="calamine")
        if len(cells) > 1:
            cells.columns = [str(cell).strip() for cell in cells.iloc[0]]
            _check_names(f"{path}, row 1 of {name}", list(cells.columns), ",")
            return cells.loc[1:, [bool(name) for name in cells.columns]]
    return pd.DataFrame()


def _encoding(path: Path) -> str:
    """Return the encoding of a text; among all, those of German texts look too much alike."""
    from charset_normalizer import from_path

    with suppress(UnicodeDecodeError):
        path.read_text(encoding="utf-8")
        return "utf-8"
    return getattr(from_path(path, cp_isolation=["cp1252", "mac_roman", "cp850"]).best(), "encoding", "utf-8")


def _columns(found: Iterable[tuple[str, str]], option: str = "") -> dict[str, str]:
    """Return the column of each of our names; ``UserError`` if two could be the same."""
    out: dict[str, str] = {}
    for key, column in found:
        if key in out:
            raise UserError(f"the columns {listed([out[key], column])} could both be {key}; name one of them: {option or key}={out[key]}")
        out[key] = column
    return out


def split_files(path: Paths, hint: str = "") -> list[tuple[str, Path]]:
    """Return each file with its split, "" if the rows name it or nothing does.

    Raises ``UserError`` if a file is missing or empty (``hint``: where it is) or a split unknown.
    """
    if not isinstance(path, Mapping):
        return [("", existing(path, hint))]
    if not path:
        raise UserError("path is empty; expected a file, or a file for each split: {train: …, test: …}")
    return [(SPLITS[one_of("a split in path", str(split), SPLITS)], existing(file, hint)) for split, file in path.items()]


def _check_names(where: str, names: list[str], separator: str) -> None:
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise UserError(f"{where}: the column '{twice[0]}' occurs twice in the header ({listed(names)}); every column needs a unique name")
    other = next((mark for mark in ";\t,|" if len(names) == 1 and mark != separator and mark in names[0]), None)
    if other is not None:
        raise UserError(f"{where}: the header is one single column, '{names[0]}'; the separator is {separator!r}, should it be {other!r}?")


def is_slip(label: str, counts: Counter[str]) -> bool:
    """Return whether a label may be a slip of one that is close and five times as frequent."""
    digits = re.compile(r"\d+").findall
    others = [other.casefold() for other, count in counts.items() if count >= 5 * counts[label] and digits(other) == digits(label)]
    return bool(get_close_matches(label.casefold(), others, cutoff=0.83))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


_KNOWN = {_plain(name): kind for kind, names in table("haltung.corpus", "columns.tsv") for name in names.split(",")}


def _kind(column: str) -> str:
    """Return which field or task of ours a column is by its name, - if none, "" if unknown."""
    return _KNOWN.get(_plain(column), "")


def _task_of(column: str) -> str:
    plain = re.sub(r"\W+", "_", column.translate(_UMLAUTS), flags=re.ASCII).strip("_")
    name = kind if (kind := _kind(column)) in _TASKS[:2] else plain or "label"
    return f"{name}_label" if name in RESERVED else f"_{name}" if name[0].isdigit() else name
