"""A user's sheet: Excel, ODS, CSV, Parquet, SPSS or Stata, detected by its content."""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import yaml

from haltung.corpus.parsing.fields import check_header
from haltung.corpus.parsing.lines import existing
from haltung.corpus.parsing.recognise import TASKS, by_cells, kind_of, one_each
from haltung.corpus.parsing.rows import Fault, Reading, RowFaults, SourceRow
from haltung.corpus.readers.cells import Cells, format_of, read_cells, separator_in, text_of
from haltung.corpus.readers.tables import SEPARATORS, Table, split_files
from haltung.errors import UserError, listed, one_of, short
from haltung.files import atomic_file, write_text
from haltung.labels import RESERVED, Scheme, parse
from haltung.records import TEXT_COLUMNS

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})
_CODES, _SAMPLE = 1_000, 5_000  # most labels that are checked for slips; rows used to recognise columns
_LONGEST = 32_767  # characters in an Excel cell
_FIELDS = (*TEXT_COLUMNS, "position", "coder", "split", "dyads")


@dataclass(frozen=True)
class Sheet(Table):
    """A user's sheet: Excel, ODS, CSV, Parquet, SPSS or Stata, detected by its content.

    Columns that are null are recognised by their names (``columns.tsv``) or cells; ``none`` skips a
    field. ``label`` lists the columns with labels, one task each. The columns of ``coders`` have
    one label each for one task, the first of ``label``. ``annotators`` settles them, and rows of
    the same id if a column names the coder (see ``settle``); a cell in the task's own column wins.
    ``sheet``, ``encoding`` and ``separator`` are detected if null. ``said`` lists what was found.
    """

    label: tuple[str, ...] | list[str] | None = None
    coders: tuple[str, ...] | list[str] | None = None
    annotators: str = "error"
    sheet: str | None = None
    encoding: str | None = None
    separator: str | None = None
    quotechar: str = '"'
    list_separator: str = ";"
    said: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def read(self, scheme: Scheme) -> Reading:
        """Read all rows; ``UserError`` if ``label`` names tasks that the scheme lacks."""
        if unknown := [task for task in self.tasks(self.label or ()) if task not in scheme.names]:
            has = f"the scheme {scheme.name} has {listed(scheme.names)}"
            raise UserError(f"label= names the tasks {listed(unknown)}, {has}; delete its file to have it drafted again, or edit it")
        self.said.clear()
        try:
            return replace(super().read(scheme), notes=tuple(dict.fromkeys(self.said)))
        except RowFaults as error:
            raise RowFaults(error.rows, self._marked(error.rows)) from None

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows; those of a workbook are numbered as in a spreadsheet program."""
        return iter(self._by_coder(self._rows(path)))

    def opened(self) -> tuple[Iterator[SourceRow], dict[str, str]]:
        """Return the rows, with the unchanged cells in ``raw``, and the column of each field.
        ``UserError`` if there is no file, row or text column, or the first rows are all faulty.
        """
        rows = self._rows(path := existing(str(self.path)))
        first = list(islice(rows, _SAMPLE))
        header = list(dict.fromkeys(name for row in first for name in row.data))
        if not first:
            raise UserError(f"{path} has no rows below its column names; expected at least one")
        if not header:
            raise RowFaults([(row.where, "", row.fault.detail) for row in first if row.fault])
        check_header(path, header, columns := self.mapping(header, first, False), "")
        return chain(first, rows), columns

    def delimiter(self) -> str:
        """Return the separator of a text file; for others ``;``, as in German Excel."""
        path, given = existing(str(self.path)), SEPARATORS.get(self.separator or "", self.separator)
        return (given or separator_in(path, self.encoding, self._is_known, self.quotechar)) if format_of(path) == "text" else ";"

    def _by_coder(self, rows: Iterable[SourceRow]) -> list[SourceRow]:
        """Return the rows with the labels of several coders in one cell, a dict by coder."""
        rows, out, items = list(rows), list[SourceRow](), dict[object, dict[str, Any]]()
        header = list(dict.fromkeys(name for row in rows for name in row.data))
        names = {"id": "id", "text": "text", **({} if self.coders else self.mapping(header))}
        is_long = "coder" in names and names["id"] in header
        labels = [one_of("label", name, header) for name in self.tasks(header).values()] if is_long else []
        for row in rows:
            data: dict[str, Any] = dict(row.data)
            if self.coders and data:
                given, task = {coder: data.pop(one_of("coders", coder, data)) for coder in self.coders}, (self.label or ("label",))[0]
                data[task] = {**given, "": data.get(task, "")}
            elif labels and data:
                coder, id = data[names["coder"]], data[names["id"]] or row.where
                item = items.setdefault(id, data | {label: {} for label in labels})
                if coder in ("", *item[labels[0]]) or data.get(names["text"]) != item.get(names["text"]):
                    what = f"the id '{short(id)}' has no coder here, or '{short(coder)}' twice, or a changed text"
                    row = replace(row, fault=Fault("duplicate_id", what))
                else:
                    for label in labels:
                        item[label][coder] = data[label]
                    if len(item[labels[0]]) > 1:
                        continue
                    data = item
            out.append(replace(row, data=data))
        return out

    def _rows(self, path: Path) -> Iterator[SourceRow]:
        opened = self._read(path)
        names, self.said[:] = opened.names, [*self.said, *opened.said]
        # If label names columns, other columns with labels are not read.
        given = {*(self.label or ())} if self.coders or {*(self.label or ())} & {*names} else set()
        own = {*given, *self.columns.values(), *(self.coders or ())}
        unread = {key for key, name in self.columns.items() if name == "none"}
        unread |= {"", *(name for name in names if given and name not in own and kind_of(name) in TASKS)}
        for number, cells in opened.rows:
            texts = [cell if isinstance(cell, list | dict) else text_of(cell) for cell in cells]
            where, made = f"{path}, {opened.unit} {number}", f"{path.stem}-{number}"
            if len(cells) < len(names) or any(texts[len(names) :]):
                fault = Fault("wrong_columns", f"{len(cells)} cells, expected {len(names)} ({listed(names)})")
                yield SourceRow(where, made, {}, fault, raw=cells)
            elif any(texts):
                raw = {name: cell if text else None for name, text, cell in zip(names, texts, cells, strict=False) if name}
                yield SourceRow(where, made, {name: text for name, text in zip(names, texts, strict=False) if name not in unread}, raw=raw)

    def _read(self, path: Path) -> Cells:
        return read_cells(path, self.sheet, self.encoding, self.separator, self._is_known, self.quotechar)

    def _is_known(self, name: str) -> bool:
        return bool(kind_of(name)) or name in (*self.columns.values(), *(self.label or ()), *(self.coders or ()))

    def tasks(self, header: Sequence[str]) -> dict[str, str]:
        """Return the column of each task, with the task names of a drafted scheme."""
        free = [name for name in header if kind_of(name) in TASKS and name not in self.columns.values()]
        return one_each([(_task_of(name), name) for name in self.label or free], "label")

    def mapping(self, header: Sequence[str], rows: Sequence[SourceRow] = (), learns: bool = True) -> dict[str, str]:
        """Return the column of each field and task, as set or recognised by name or cells.
        ``UserError`` if it ``learns`` and a column that is not set could be the article.
        """
        given = super().mapping(header)
        named = {**given, **self.tasks(header)}
        free = [(kind, name) for name in header if name not in named.values() and (kind := kind_of(name)) not in ("", "-", *named, *TASKS)]
        out = {key: name for key, name in {**one_each(free), **named}.items() if name != "none"}
        why = {key: "as given" if key in given or (key not in _FIELDS and self.label) else "by its name" for key in out}
        if not (sample := [row.data for row in rows[:_SAMPLE] if not row.fault]):
            return out
        taken = {*named.values(), *(self.coders or ())}
        cells = {name: [str(data.get(name, "")) for data in sample] for name in header if name not in taken}
        wanted = ["text", "date"] + ["label"] * (learns and not (self.label or self.coders or self.tasks(header))) + ["article"] * learns
        unknown = {name: column for name, column in cells.items() if kind_of(name) in ("", "headline")}
        for key, name, reason in by_cells(unknown, [key for key in wanted if key not in {**given, **out}]):
            told = _task_of(name) if key == "label" else key
            out[told], why[told] = name, f"as {reason}"
        self.said.extend(f"{key if key in _FIELDS else 'label'}={name}, {why[key]}" for key, name in out.items())
        if unread := [name for name in cells if name not in out.values()]:
            self.said.append(f"not read: {listed(unread)}")
        return out

    def draft(self, labels: str, name: str) -> None:
        """Write a scheme with the labels found, without slips, unless the YAML ``labels`` exists.
        Raises ``UserError`` if no column with labels is recognised, a named one is missing, or
        the labels are not a valid scheme.
        """
        if not labels.endswith((".yaml", ".yml")) or Path(labels).exists():
            return
        rows, tasks = [row for _, path in split_files(self.path) for row in self.rows(path)], {}
        header = list(dict.fromkeys(name for row in rows for name in row.data))
        mapping = self.mapping(header, rows)
        if not (columns := {key: column for key, column in mapping.items() if key not in _FIELDS}):
            raise UserError(
                f"{self.path}: which column has labels? Name it (label=A), or several (label=[A,B], coders=[A,B]), from {listed(header)}"
            )
        check_header(self.path, header, mapping)
        for task, column in columns.items():
            found = [cell for row in rows if (cell := row.data.get(column))]
            given = [value for cell in found for value in (cell.values() if isinstance(cell, Mapping) else [cell])]
            parts = [cell if isinstance(cell, list) else str(cell).split(self.list_separator) for cell in given if cell]
            cells = [[label for part in cell if (label := str(part).strip())] for cell in parts]
            count = Counter(label for cell in cells for label in cell)
            known = sorted(label for label in count if len(count) > _CODES or not is_slip(label, count))
            kind = {"kind": "multi"} if any(len(cell) > 1 for cell in cells) else {}
            tasks[task] = {**kind, "de": column, "en": column, "labels": {label: {"de": label, "en": label} for label in known}}
        scheme = {"name": name, "version": 1, "tasks": tasks}
        parse(scheme, f"the labels in {self.path}")  # before anything is written
        text = yaml.safe_dump(scheme, allow_unicode=True, sort_keys=False, default_flow_style=None)
        read = " ".join(listed(f"{key}={column}" for key, column in mapping.items()).split())
        write_text(Path(labels), f"# Drafted from {self.path} ({read}), and read from now on: edit names, definitions, order.\n{text}")

    def _marked(self, faults: Sequence[tuple[str, str, str]]) -> str:
        """Write a copy of the sheet as a new workbook, with faults in its first column and their
        cells coloured; return its path, or "" if it can't be written.
        """
        import xlsxwriter

        if isinstance(self.path, Mapping):
            return ""
        by_row: dict[int, dict[str, str]] = {}
        for where, name, detail in faults:
            by_row.setdefault(int(where.rpartition(" ")[2]), {})[name] = detail
        opened, path = self._read(existing(self.path)), Path(self.path).expanduser()
        tries = (path.with_name(f"{path.stem}.faults{number}.xlsx") for number in ("", *range(2, 1000)))
        at, to = -1, next(path for path in tries if not path.exists())
        # Written as text: a spreadsheet would evaluate =1+1.
        options: dict[str, Any] = dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False)
        options |= {"constant_memory": True, "remove_timezone": True, "nan_inf_to_errors": True, "default_date_format": "dd.mm.yyyy"}
        with suppress(OSError), atomic_file(to) as scratch, scratch.open("wb") as file, xlsxwriter.Workbook(file, options) as book:
            page, red = book.add_worksheet(), book.add_format({"bg_color": "#F8CBAD"})
            for number, cells in chain(opened.above, opened.rows):
                wrong = by_row.get(number, {"fault": "fault"} if number == opened.above[-1][0] else {})
                # In a workbook, rows keep their numbers, also after a title or a row not read.
                at = max(at + 1, number - 1 if opened.unit == "row" else 0)
                page.write(at, 0, "; ".join(wrong.values())[:_LONGEST])
                for column, (name, cell) in enumerate((one for one in zip_longest(opened.names, cells) if one[0] != "fault"), 1):
                    is_plain = abs(cell) < 2**53 if isinstance(cell, int | float) else isinstance(cell, dt.date) and cell.year >= 1900
                    plain = cell if is_plain else text_of(cell)[:_LONGEST]
                    page.write(at, column, plain, *[red] * (name in wrong or "" in wrong))
        return str(to) if to.exists() else ""


def is_slip(label: str, counts: Counter[str]) -> bool:
    """Return whether a label may be a slip of a similar one that is five times as frequent."""
    digits = re.compile(r"\d+").findall
    others = [other.casefold() for other, count in counts.items() if count >= 5 * counts[label] and digits(other) == digits(label)]
    return bool(get_close_matches(label.casefold(), others, cutoff=0.83))


def _task_of(column: str) -> str:
    plain = re.sub(r"\W+", "_", column.translate(_UMLAUTS), flags=re.ASCII).strip("_")
    name = kind if (kind := kind_of(column)) in TASKS[:2] else plain or "label"
    return f"{name}_label" if name in (*RESERVED, *_FIELDS) else f"_{name}" if name[0].isdigit() else name
