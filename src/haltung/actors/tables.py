"""Read and check the tables of actors, CSV files; their format is in data/actors/README.md."""

import calendar
import csv
import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from haltung.errors import UserError, listed, nearest, one_of
from haltung.files import shipped, table

ORGANISATIONS = ("EU", "UN", "NATO", "OSCE", "IMF", "IAEA", "ICC", "AU", "ARABLEAGUE", "G7", "NGO", "CHURCH", "ISIL", "ALQ")
ROLES = ("OPP", "REG", "GOVPARTY", "REB", "CIV", "MED", "JUD", "BUS")
_COLUMNS = [*table("haltung.actors", "tables.tsv")]
# The columns of each table, in order; its key, unique for each row; and a column's allowed values.
TABLES = {name: tuple(column for of, column, *_ in _COLUMNS if of == name) for name, *_ in _COLUMNS}
_KEYS = {name: tuple(column for of, column, key, _ in _COLUMNS if of == name and key == "key") for name in TABLES}
CHOICES = {(name, column): choices.split("|") for name, column, _, choices in _COLUMNS if choices != "any"}
FIRST, LAST = "0001-01-01", "9999-12-31"
_DATE = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?")


@dataclass(frozen=True)
class ActorRow:
    """A checked line of a table: its cells by column."""

    table: str
    where: str
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def many(self, column: str) -> tuple[str, ...]:
        """Return the parts of a cell between bars: spellings, or codes, the usual one first."""
        return tuple(part.strip() for part in self.cells.get(column, "").split("|") if part.strip())

    @property
    def period(self) -> tuple[str, str]:
        """First and last day (ISO), inclusive; a year or month covers its days, "" is no limit."""
        return day(self.cells.get("from")) or FIRST, day(self.cells.get("to"), last=True) or LAST


def read(folder: Path, extra: bool = False) -> list[ActorRow]:
    """Read the tables in a folder; of a user's tables (``extra``) some may be missing.

    Raises ``UserError`` with what is allowed if the folder, a table or a line is invalid or absent.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; expected tables of actors: {listed(f'{name}.csv' for name in TABLES)}")
    files = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    for name, path in files.items():
        one_of(f"{path}: the table", name, TABLES)
    if extra and not files:
        raise UserError(f"{folder} has no tables; expected one or more of {listed(f'{name}.csv' for name in TABLES)}")
    if not extra and (missing := [name for name in TABLES if name not in files]):
        raise UserError(f"{folder} lacks {listed(f'{name}.csv' for name in missing)}")
    return [row for name in TABLES if name in files for row in _table(name, files[name])]


@cache
def known_states() -> frozenset[str]:
    """Return the ISO 3166-1 alpha-3 codes of Unicode CLDR, and XKX for Kosovo."""
    from babel.core import get_global

    aliases = get_global("territory_aliases")
    return frozenset({code for code in aliases if re.fullmatch("[A-Z]{3}", code) and len(aliases[code]) == 1} | {"XKX"})


def day(text: str | None, key: str = "the date", last: bool = False) -> str:
    """Return the first (or ``last``) day of YYYY-MM-DD, YYYY-MM or YYYY, "" for None and "".

    Raises ``UserError`` if ``text`` is not such a date; the message names ``key``.
    """
    if not text:
        return ""
    with suppress(ValueError):
        # Python also accepts other formats, such as 20240531, whose strings do not sort by date.
        if _DATE.fullmatch(text):
            first = datetime.date.fromisoformat(text + FIRST[len(text) :])
            ends = {4: "-12-31", 7: f"-{calendar.monthrange(first.year, first.month)[1]}", 10: ""}
            return text + ends[len(text)] if last else first.isoformat()
    raise UserError(f"{key} is '{text}'; expected YYYY-MM-DD, YYYY-MM, YYYY or nothing")


def is_code(code: str) -> bool:
    """Return whether a code is one of the label standard."""
    state, dash, role = code.partition("-")
    return code in ORGANISATIONS or (state in known_states() and (not dash or role in ROLES))


def names(codes: Iterable[str], language: str = "en") -> dict[str, str]:
    """Return the name of each code, such as ``Russland`` or ``USA: Opposition``.

    An unknown code is its own name. ``names.tsv`` overrides the names of states in Unicode CLDR.
    Raises ``UserError`` if a table of actors is missing or invalid.
    """
    known = _known_names(language)
    out = {}
    for code in codes:
        state, dash, role = code.partition("-")
        out[code] = known.get(state, state) + (f": {known.get(dash + role, role)}" if dash else "")
    return out


@cache
def _known_names(language: str) -> dict[str, str]:
    from babel import Locale

    territories = Locale(language).territories
    rows = (row for row in read(shipped("data") / "actors") if row.table == "states" and row["iso2"])
    known = {row["code"]: str(territories.get(row["iso2"], row["code"])) for row in rows}
    return known | {code: german if language == "de" else english for code, english, german in table("haltung.actors", "names.tsv")}


def _table(name: str, path: Path) -> Iterator[ActorRow]:
    columns = TABLES[name]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
    seen: dict[tuple[str, ...], str] = {}
    rows = csv.reader(lines, strict=True)
    try:
        if (header := tuple(next(rows, ()))) != columns:
            raise UserError(f"{path}, line 1: the columns are {listed(header)}; expected {listed(columns)}")
        for cells in (cells for cells in rows if cells and not cells[0].startswith("#")):
            where = f"{path}, line {rows.line_num}"
            if len(cells) != len(columns):
                raise UserError(f"{where}: {len(cells)} cells, expected {len(columns)} ({listed(columns)})")
            row = ActorRow(name, where, dict(zip(columns, map(str.strip, cells), strict=True)))
            _check(row)
            if (key := tuple(row[column] for column in _KEYS[name])) in seen:
                raise UserError(f"{where}: '{listed(key)}' is already in {seen[key]}; remove one of the two")
            seen[key] = where
            yield row
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: {error}; put a cell with a comma or quote in double quotes") from None


def _check(row: ActorRow) -> None:
    """Raise ``UserError`` for the first wrong cell."""
    for column, cell in row.cells.items():
        if (row.table, column) in CHOICES:
            one_of(f"{row.where}: {column}", cell, CHOICES[row.table, column])
        if column == "code":
            _check_code(row)
        if column == "names":
            for name in row.many(column):
                if ":" in name:
                    one_of(f"{row.where}: the class of '{name}'", name.partition(":")[2], CHOICES["states", "class"])
        if column in ("from", "to"):
            day(cell, f"{row.where}: {column}")
    if row.table != "states" and not row["name"]:
        raise UserError(f"{row.where}: the name is empty")
    for column in ("name", "names", "surname", "adjective", "people"):
        cell = row.cells.get(column, "")
        if cell and not all(part.strip() for part in cell.split("|")):
            raise UserError(f"{row.where}: {column} is '{cell}', with nothing between two bars or at its end; remove a bar")
    if row.period[0] > row.period[1]:
        raise UserError(f"{row.where}: from is {row['from']}, which is after to ({row['to']})")


def _check_code(row: ActorRow) -> None:
    codes = row.many("code")
    wrong = next((code for code in codes if not is_code(code) or (row.table == "states" and code not in known_states())), None)
    if not codes or wrong is not None:
        near = nearest(wrong or row["code"], (*ORGANISATIONS, *known_states()))
        roles = ", ".join(f"-{role}" for role in ROLES)
        allowed = f"an ISO 3166-1 alpha-3 code (XKX for Kosovo), alone or with {roles}, or one of {listed(ORGANISATIONS)}"
        raise UserError(f"{row.where}: code is '{wrong or row['code']}'{near}; expected {allowed}")
