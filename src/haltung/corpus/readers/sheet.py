"""A person's sheet: its columns recognised, a label scheme drafted, all faults of its rows."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property, lru_cache
from pathlib import Path

import yaml

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import existing
from haltung.corpus.parsing.rows import Fault, Intake, Reading, SourceRow
from haltung.corpus.parsing.sheets import SheetCells, iso_date, open_sheet
from haltung.errors import UserError, listed, nearest
from haltung.files import table, write_text
from haltung.labels import RESERVED, STANCE, Scheme
from haltung.records import TEXT_COLUMNS

_TASKS = (STANCE, "topic", "label")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})
# A column of labels has at most so many values, or each stands in two rows on average.
_MOST_LABELS = 20


@dataclass(frozen=True)
class SheetFault:
    """What is wrong with a row, numbered as a spreadsheet does, in a column ("": in all)."""

    row: int
    column: str
    detail: str


@dataclass(frozen=True, eq=False)
class Sheet:
    """A sheet with one segment per row.

    ``columns`` maps our fields to its columns (null: recognised; ``none``: there is none), and
    ``label`` names those with labels, a task each. The next four are found where they are null.
    """

    path: str
    columns: Mapping[str, str | None] = field(default_factory=dict)
    label: tuple[str, ...] | list[str] | None = None
    sheet: str | None = None
    encoding: str | None = None
    separator: str | None = None
    header: int | None = None
    list_separator: str = ";"
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the file (see ``Reader``)."""
        return (existing(self.path),)

    @cached_property
    def cells(self) -> SheetCells:
        """All cells (see ``open_sheet``)."""
        try:
            return open_sheet(self.files()[0], self.sheet, self.encoding, self.separator, self.header)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def read(self, scheme: Scheme) -> Reading:
        """Read all rows (see ``Reader``)."""
        reading, faults = checked(self, scheme)
        if faults and self.on_error != "drop":
            raise UserError(f"{self.path} has {len(faults)} faults, the first in row {faults[0].row}: {faults[0].detail}")
        return reading

    def draft(self, labels: str, name: str) -> None:
        """Write a scheme with the labels found, less slips, if ``labels`` is a path of no file."""
        if not labels.endswith((".yaml", ".yml")) or Path(labels).exists():
            return
        tasks, (_, columns, counts) = dict[str, object](), recognised(self)
        for column in columns:
            task, count = _task_of(column), counts[column]
            if not _recurs(count) or task in tasks:
                why = f"{len(count)} values in {count.total()} rows" if task not in tasks else f"the task {task}, as another column has"
                raise UserError(f"{self.path}: '{column}' has {why}, which can't be learned; name the columns of labels (label=COLUMN)")
            ids = [label for label, _ in count.most_common() if not slip(label, count)]
            ids = sorted(ids, key=int) if all(map(str.isdecimal, ids)) else ids
            tasks[task] = {"de": column, "en": task if task in _TASKS else column, "labels": {id: {"de": id, "en": id} for id in ids}}
        text = yaml.safe_dump({"name": name, "version": 1, "tasks": tasks}, allow_unicode=True, sort_keys=False, default_flow_style=None)
        write_text(Path(labels), f"# Drafted from {Path(self.path).name}, and read from now on: edit names, definitions, order.\n{text}")


@lru_cache(maxsize=1)
def recognised(sheet: Sheet) -> tuple[dict[str, str], list[str], dict[str, Counter[str]]]:
    """Return the column of each field, the columns of labels, and the values of every column.
    Raises ``UserError`` if one that is needed is missing, or has to be asked for.
    """
    names, path = sheet.cells.names, sheet.path
    fields, labels = {key: name for key, name in sheet.columns.items() if name}, list(sheet.label or ())
    for key, name in [*fields.items(), *(("label", name) for name in labels)]:
        if name not in (*names, "none"):
            raise UserError(f"{path}: {key} is '{name}'{nearest(name, names)}; the columns are {listed(names)}")
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    for _, row in sheet.cells.rows:
        for name, value in zip(names, row, strict=False):
            counts[name].update([value] if value else ())
    kinds = {name: _KNOWN.get(_plain(name), "") for name in names}
    for name, kind in kinds.items():
        # A number that begins anew in each article is no id.
        is_id = kind != "id" or max(counts[name].values(), default=0) == 1
        if kind in (*TEXT_COLUMNS, "position") and kind not in fields and name not in labels and is_id:
            fields[kind] = name

    def free() -> list[str]:
        return [name for name in names if kinds[name] != "-" and name not in (*fields.values(), *labels) and counts[name]]

    if "text" not in fields:
        lengths = {name: sum(map(len, counts[name].elements())) / counts[name].total() for name in free()}
        if max(lengths.values(), default=0) < 15:
            raise UserError(f"{path}: no column with texts was recognised; name it, as in text=COLUMN; the columns are {listed(names)}")
        fields["text"] = max(lengths, key=lambda name: lengths[name])
    if "date" not in fields and (dates := [name for name in free() if all(map(iso_date, counts[name]))]):
        fields["date"] = dates[0]
    rows = counts[fields["text"]].total()
    labels = labels or [name for name in free() if kinds[name] in _TASKS and _recurs(counts[name])]
    likely = [name for name in free() if 1 < len(counts[name]) <= min(_MOST_LABELS, rows / 8)]
    if not labels and len(likely) != 1:
        raise UserError(f"{path}: which column has labels? Name it (label=A), or several (label=[A,B]), of {listed(likely or names)}")
    labels = labels or likely
    asked = [*free(), *(fields[key] for key in ("headline", "context") if key in fields)]
    groups = [name for name in asked if max(5, rows / 50) <= len(counts[name]) <= counts[name].total() / 2 >= rows / 4]
    if groups and "article" not in fields:
        options = " or ".join(f"article={name} ({len(counts[name])} in {rows} rows)" for name in groups)
        raise UserError(f"{path}: does a column say which article a row is from? Say {options}, or article=none if each stands alone")
    return {key: name for key, name in fields.items() if name != "none"}, labels, counts


@lru_cache(maxsize=1)
def checked(sheet: Sheet, scheme: Scheme) -> tuple[Reading, tuple[SheetFault, ...]]:
    """Return the sound rows, and the faults of all others; ``UserError`` if a task is missing."""
    names, stem, (fields, labels, _) = sheet.cells.names, Path(sheet.path).stem, recognised(sheet)
    columns, intake, faults = dict(fields), Intake(scheme, sheet.path, "drop"), list[SheetFault]()
    for column in labels:
        tasks = [one.name for one in scheme if one.name == _task_of(column) or _plain(column) in map(_plain, (one.name, one.de, one.en))]
        if not tasks and sheet.label:
            raise UserError(f"{sheet.path}: the scheme {scheme.name} has {listed(scheme.names)}, no task for '{column}'; add it there")
        columns |= dict.fromkeys(tasks[:1], column)
    for number, row in sheet.cells.rows:
        values = dict(zip(names, row, strict=False))
        data = {key: values.get(name, "") for key, name in columns.items()}
        data |= {"date": iso_date(data["date"]) or data["date"]} if "date" in data else {}
        source, cells = SourceRow(f"{sheet.path}, row {number}", f"{stem}-{number}", data), Fields(data, {}, sheet.list_separator)
        with intake.row(source):
            found = list(_faults(cells, scheme))
            if len(row) != len(names):
                found = [("", Fault("wrong_columns", f"{len(row)} cells, expected {len(names)}; a cell with a separator needs quotes"))]
            try:
                if not found:
                    intake.add(cells.segment(scheme, source))
            except Fault as fault:
                found = [("id", fault)]
            faults += [SheetFault(number, columns.get(key, ""), fault.detail) for key, fault in found]
            if found:
                raise found[0][1]
    return intake.reading(f"the columns are {listed(names)}; name one with label=COLUMN"), tuple(faults)


def _faults(row: Fields, scheme: Scheme) -> Iterator[tuple[str, Fault]]:
    """Yield each field of a row that has a fault, with the fault."""
    for key in row.data:
        try:
            if key in scheme.names:
                row.answer(scheme[key])
            elif key in (checks := {"position": lambda: row.whole("position"), "split": row.split, "date": row.date}):
                checks[key]()
            elif not row.text(key) and key == "text":
                raise Fault("empty_text", "no text; write it, or delete the row")
        except Fault as fault:
            yield key, fault


def slip(label: str, counts: Mapping[str, int]) -> str:
    """Return the label that another may be a slip of: five times as frequent, one edit away."""
    for other, count in counts.items():
        blocks = SequenceMatcher(None, label.casefold(), other.casefold(), autojunk=False).get_matching_blocks()
        is_close = min(len(label), len(other)) > 3 and sum(block.size for block in blocks) >= max(len(label), len(other)) - 1
        if is_close and count >= 5 * counts[label] and re.findall(r"\d+", label) == re.findall(r"\d+", other):
            return other
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


# The kind of a column by its name.
_KNOWN = {_plain(name): kind for kind, names in table("haltung.corpus", "columns.tsv") for name in names.split(",")}


def _task_of(column: str) -> str:
    """Return the task's name for a column of labels: one of ours, or the column's in ASCII."""
    if (kind := _KNOWN.get(_plain(column), "")) in _TASKS:
        return kind
    name = re.sub(r"\W+", "_", column.translate(_UMLAUTS), flags=re.ASCII).strip("_") or "label"
    return f"{name}_label" if name in RESERVED else f"_{name}" if name[0].isdigit() else name


def _recurs(counts: Counter[str]) -> bool:
    return 1 < len(counts) <= max(_MOST_LABELS, counts.total() / 2)
