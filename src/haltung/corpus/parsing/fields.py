"""A row's fields by our names, validated: text, ids, dates, splits, labels and dyads."""

import datetime
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from haltung.corpus.parsing.lines import MAX_LINE_BYTES
from haltung.corpus.parsing.rows import SPLITS, Fault, SourceRow
from haltung.errors import UserError, first_line, kind, listed, nearest, short
from haltung.labels import Scheme, Task
from haltung.records import TEXT_COLUMNS, Answer, Dyad, Segment, Shares

_MONTHS = ("jan", "feb", "mär", "apr", "mai", "jun", "jul", "aug", "sep", "okt", "nov", "dez")
_GERMAN_DATE = re.compile(r"(\d{1,2})\.\s*(\d{1,2}|[a-zä]{3,9})(?:\.|\b)\s*(\d{4}|\d{2})(?:,?\s+\d{1,2}[:.]\d{2}.*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Fields:
    """The data of one row by our field names; methods raise ``Fault`` if a value is invalid.

    ``columns`` maps our name to that of the source if they differ. ``list_separator`` separates the
    labels of a multi-label cell in formats without lists; there a dyads cell contains JSON.
    """

    data: Mapping[str, object]
    columns: Mapping[str, str]
    list_separator: str = ""

    def get(self, name: str) -> object:
        """Return the raw value of our field ``name``, None if missing (NaN in pandas)."""
        value = self.data.get(self.columns.get(name, name))
        return None if isinstance(value, float) and value != value else value

    def text(self, name: str, required: bool = False) -> str:
        """Return a field of text, "" if it is absent or null."""
        column = self.columns.get(name, name)
        if required and column not in self.data:
            raise Fault("missing_field", f"no '{column}'{nearest(column, self.data)}; this row has {listed(self.data)}")
        if (value := self.get(name)) is None:
            return ""
        if not isinstance(value, str):
            raise Fault("wrong_type", f"'{column}' is {kind(value)} ({short(value)}); expected text")
        return sound(value, column)

    def word(self, name: str) -> str:
        """Return a short field (an id, an article) as text; many sources store it as a number."""
        value = self.get(name)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self.text(name).strip()

    def whole(self, name: str) -> int | None:
        """Return a whole number below a billion, None if the field is absent, null or empty."""
        value = self.get(name)
        # Tools that convert a column with gaps to floats write 3 as 3.0.
        digits = "" if value is None else str(value).strip().removesuffix(".0")
        if digits and not (digits.isdecimal() and len(digits) < 10):
            found = f"'{self.columns.get(name, name)}' is {kind(value)} ({short(value)})"
            raise Fault("wrong_type", f"{found}; expected a whole number from 0 to 999999999")
        return int(digits) if digits else None

    def date(self) -> str:
        """Return the date, in ISO or German notation, as ISO, "" if there is none."""
        value = self.get("date")
        if isinstance(value, datetime.date):  # or a datetime, which is one too
            return value.isoformat()[:10]
        text = unicodedata.normalize("NFC", self.text("date").strip())
        try:
            if not (found := _GERMAN_DATE.fullmatch(text)):
                return datetime.datetime.fromisoformat(text).date().isoformat() if text else ""
            day, month, year = found.groups()
            number = int(month) if month.isdigit() else 1 + _MONTHS.index(month[:3].lower().replace("mrz", "mär").replace("jän", "jan"))
            return datetime.date(int(year) + (len(year) == 2) * (2000 if year < "70" else 1900), number, int(day)).isoformat()
        except ValueError:
            raise Fault("wrong_date", f"'{short(text)}' is not a date; expected one like 2024-05-31 or 31.05.2024") from None

    def split(self) -> str:
        """Return ``train``, ``dev``, ``test``, or "" if there is none."""
        found = self.text("split").strip()
        if found and found.lower() not in SPLITS:
            raise Fault("unknown_split", f"unknown split '{short(found)}'{nearest(found.lower(), SPLITS)}; choose from {listed(SPLITS)}")
        return SPLITS.get(found.lower(), "")

    def dyads(self, scheme: Scheme) -> tuple[Dyad, ...]:
        """Return the dyads of a list of ``{"source", "target", "stance"}``, () for None and ""."""
        value = self.get("dyads")
        if self.list_separator and isinstance(value, str) and value.strip():
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise Fault("wrong_type", f"'dyads' is not a JSON list ({first_line(error)})") from None
        if value is None or value == "":
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise Fault("wrong_type", f"'dyads' is {kind(value)}; expected a list of source, target and stance")
        made = []
        for entry in value:
            if not isinstance(entry, Mapping) or set(entry) != {"source", "target", "stance"}:
                found = listed(entry) if isinstance(entry, Mapping) else kind(entry)
                raise Fault("wrong_type", f"a dyad has source, target and stance; found {found}")
            for key in ("source", "target", "stance"):
                if not isinstance(entry[key], str):
                    raise Fault("wrong_type", f'a dyad\'s {key} is {kind(entry[key])}; expected text ("" if there is none)')
                sound(entry[key], f"dyads.{key}")
            if "stance" not in scheme.names:
                raise Fault("unknown_label", f"a dyad needs a task 'stance'; the scheme {scheme.name} has {listed(scheme.names)}")
            made.append(Dyad(entry["source"], entry["target"], known(scheme["stance"], entry["stance"])))
        return tuple(made)

    def segment(self, scheme: Scheme, row: SourceRow, labels: Mapping[str, Answer] | None = None, soft: Shares | None = None) -> Segment:
        """Return the row's segment, with ``labels`` if given; raise one ``Fault`` for all cells."""
        reads: dict[str, Callable[[], Any]] = {"id": lambda: self.word("id") or row.made_id, "text": lambda: self.text("text", True)}
        reads |= {"article": lambda: self.word("article"), "position": lambda: self.whole("position"), "date": self.date}
        reads |= {"dyads": lambda: self.dyads(scheme), "split": lambda: self.split() or row.split}
        reads |= {name: partial(self.text, name) for name in ("context", "target", "source", "genre", "headline")}
        reads |= {task.name: partial(self.answer, task) for task in scheme if labels is None}
        values, faults = dict[str, Any](), dict[str, Fault]()
        for name, read in reads.items():
            try:
                values[name] = read()
            except Fault as fault:
                faults[self.columns.get(name, name)] = fault
        if faults:
            details, first = {column: fault.detail for column, fault in faults.items()}, next(iter(faults.values()))
            raise Fault(first.reason, "; ".join(details.values()), first.id, details)
        own = {task.name: values.pop(task.name) for task in scheme if labels is None}
        return Segment(**values, labels=own if labels is None else labels, soft=soft or {}, where=row.where)

    def answer(self, task: Task) -> Answer:
        """Return the labels of a task, None if there are none."""
        return self._answer(task, self.get(task.name))

    def votes(self, scheme: Scheme) -> dict[str, dict[str, Answer]]:
        """Return the answers by coder if cells have several, else {}; "" has the decided ones."""
        cells = {task: value if isinstance(value := self.get(task.name), Mapping) else {"": value} for task in scheme}
        coders = dict.fromkeys(coder for cell in cells.values() for coder in cell)
        if not any(coders):  # then ``segment`` reports the faults of labels
            return {}
        return {coder: {task.name: self._answer(task, cell.get(coder), coder) for task, cell in cells.items()} for coder in coders}

    def _answer(self, task: Task, value: object, coder: str = "") -> Answer:
        if task.kind == "multi" and isinstance(value, str) and self.list_separator:
            # An empty cell may mean "none applies" or "not annotated"; it counts as the latter.
            value = [part for part in map(str.strip, value.split(self.list_separator)) if part] or None
        try:
            return answer(task, value)
        except Fault as fault:
            told = f"{short(coder)}: {fault.detail}"
            raise (Fault(fault.reason, told, fault.id, {coder: told}) if coder else fault) from None


def answer(task: Task, value: object) -> Answer:
    """Return a source's value as an answer; ``Fault`` if it is invalid or has too many labels."""
    if value is None or value == "":
        return None
    ids = []
    for label in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(label, str):
            raise Fault("wrong_type", f"the {task.name} is {kind(label)} ({short(label)}); a label must be text")
        ids.append(known(task, label.strip()))
    if task.kind == "single":
        if len(set(ids)) > 1:
            raise Fault("several_labels", f"{len(ids)} labels for {task.name} ({listed(ids)}); this task takes exactly one")
        return ids[0] if ids else None
    return tuple(label for label in task.ids if label in ids)


def known(task: Task, label: str) -> str:
    """Return the label, or raise a ``Fault`` if the task lacks it."""
    try:
        task.index(label)
    except UserError as error:
        raise Fault("unknown_label", str(error)) from None
    return label


def sound(text: str, column: str) -> str:
    """Return the text; raise a ``Fault`` for a NUL, a lone surrogate, or excessive length."""
    if "\0" in text:
        found = f"'{column}' has a NUL byte at character {text.index(chr(0)) + 1}"
        raise Fault("nul_byte", f"{found}; remove it (is the file damaged, or UTF-16?)")
    if len(text) > MAX_LINE_BYTES:
        raise Fault("over_long", f"'{column}' has {len(text):,} characters, too many for a text; the limit is {MAX_LINE_BYTES:,}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"'{column}' has half a surrogate pair at character {error.start + 1}"
        raise Fault("broken_unicode", f"{found}; it is not valid Unicode") from None
    return text


def check_columns(columns: Mapping[str, str | None], scheme: Scheme) -> dict[str, str]:
    """Return the columns that are not null by field or task; ``UserError`` for unknown ones."""
    fields = (*TEXT_COLUMNS, "position", *scheme.names, "dyads", "split")
    for name, column in columns.items():
        # Configs list common tasks as null, to be set without a plus; a scheme may lack them.
        if column is not None and name not in fields:
            raise UserError(f"corpus.reader.columns: unknown field '{name}'{nearest(name, fields)}; choose from {listed(fields)}")
    return {name: str(column) for name, column in columns.items() if column is not None}


def check_header(path: object, found: Sequence[str], columns: Mapping[str, str], key: str = "corpus.reader.columns.") -> None:
    """Raise ``UserError`` if the text or a mapped column is missing; ``key`` is for the hint."""
    for name, column in {"text": "text", **columns}.items():
        if column not in found:
            missing = f"no column '{column}'" + (f" (for {name})" if column != name else "") + nearest(column, found)
            raise UserError(f"{path}: {missing}; the columns are: {listed(found)}; map one with {key}{name}=NAME")
