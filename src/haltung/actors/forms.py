"""Generate the inflected German forms of each row of the tables of actors."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from haltung.actors.tables import FIRST, LAST, ActorRow
from haltung.errors import UserError

ENDINGS = ("e", "er", "en", "em", "es")
_TITLES = frozenset({"Papst", "König", "Königin", "Scheich", "Sheikh", "Mullah", "Ajatollah", "Queen", "Kardinal", "Dalai"})
_QUOTES = ("„“", "“”", '""', "»«", "«»", "‚‘", "''")
# Newspapers do not use Babel's names of these states; only the names in their rows count.
_UNUSUAL = {"HK", "MO", "CD", "CG", "MM", "KP", "KR"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A possible meaning of a form.

    ``codes`` are the possible codes, the usual one first, () for a role noun. ``since`` and
    ``until`` are the first and the last day (ISO), both inclusive. ``role`` is a role noun's
    suffix, ``noun`` its kind. ``ending`` marks the last part of a compound ("minister" of
    "Außenminister"), ``derived`` a genitive, ignored if the form has other entries ("Hamas" of
    "Hama"), ``alone`` a role or surname sufficient by itself. ``key`` identifies the row.
    """

    kind: str
    codes: tuple[str, ...]
    key: str
    since: str = FIRST
    until: str = LAST
    role: str = ""
    noun: str = ""
    ending: bool = False
    alone: bool = True
    derived: bool = False


def forms(rows: Iterable[ActorRow]) -> dict[str, tuple[Entry, ...]]:
    """Return the entries of each written form."""
    out: dict[str, dict[Entry, None]] = {}
    for row in rows:
        for form, entry in _WRITERS.get(row.table, _named)(row):
            out.setdefault(form, {})[entry] = None
    return {form: _winning(tuple(entries)) for form, entries in out.items()}


def spellings(name: str) -> Iterator[str]:
    """Yield the spellings in a cell of names.

    ``|`` separates names, ``/`` precedes an additional ending of a word ("Rote/n Armee"), ``~`` is
    any adjective ending; a slash before a capital letter is literal ("CDU/CSU").
    """
    for spelling in name.split("|"):
        yield from map(" ".join, itertools.product(*map(_inflected, spelling.split())))


def _inflected(word: str) -> tuple[str, ...]:
    stem, *endings = re.split(r"/(?=[a-zäöüß])", word)
    forms = (stem, *(stem + ending for ending in endings))
    return tuple(form.replace("~", ending) for form in forms for ending in ENDINGS) if "~" in word else forms


def genitives(name: str) -> tuple[str, ...]:
    """Return a name, then its genitives: ``Ankaras``, ``Pentagons``, ``Paris’``."""
    last = name[-1]
    if last in "szxß":
        return name, f"{name}’", f"{name}'", f"{name}es"
    if last in "aeiouyäöüéáíóú" or name[-2:].isupper() or not last.isalpha():
        return name, f"{name}s", f"{name}’s", f"{name}'s"
    return name, f"{name}s", f"{name}es", f"{name}’s", f"{name}'s"


def people(name: str) -> tuple[str, ...]:
    """Return the forms of an inhabitant's name: ``Russe``, ``Iraker``, ``Israeli``."""
    if name.endswith("e"):
        return name, f"{name}n", f"{name[:-1]}in", f"{name[:-1]}innen"
    return name, f"{name}s", f"{name}n", f"{name}in", f"{name}innen"


def resident(town: str) -> str:
    """Return ``Moskauer`` for ``Moskau``."""
    return town + ("r" if town.endswith("e") else "er")


def first_names(rows: Iterable[ActorRow]) -> frozenset[str]:
    """Return all persons' first names; one before a bare surname indicates somebody else."""
    names = (name for row in rows if row.table == "persons" for name in row.many("name"))
    return frozenset(name.split(" ", 1)[0] for name in names if " " in name) - _TITLES


def _winning(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    entries = tuple(entry for entry in entries if not entry.derived) or entries
    # A role that can stand alone ("Präsident") precedes the same one that can't ("-Präsident").
    return tuple(sorted(entries, key=lambda entry: not entry.alone)) if entries[0].kind == "role" else entries


def _declined(names: Iterable[str], entry: Entry) -> Iterator[tuple[str, Entry]]:
    genitive = replace(entry, derived=True)
    for name in names:
        yield name, entry
        yield from ((form, genitive) for form in genitives(name)[1:])


def state_names(row: ActorRow) -> Iterator[tuple[str, str]]:
    """Yield the names of a state's row with their classes, the name of Unicode CLDR first."""
    from babel import Locale

    if row["iso2"] and row["iso2"] not in _UNUSUAL:
        territories = Locale("de").territories
        if row["iso2"] not in territories:
            what = "which Unicode CLDR has no name for; give two capital letters, such as DE, or nothing for a state without a code"
            raise UserError(f"{row.where}: iso2 is '{row['iso2']}', {what}")
        yield str(territories[row["iso2"]]), row["class"]
    for name in row.many("names"):
        spelling, _, gender = name.partition(":")
        yield spelling, gender or row["class"]


def adjectives(row: ActorRow) -> Iterator[tuple[str, str | None]]:
    """Yield the forms of a row's adjectives with their endings, None for indeclinable ones."""
    for stem in row.many("adjective"):
        if stem.endswith("!"):  # "Schweizer!"
            yield stem[:-1], None
            continue
        for written in dict.fromkeys((stem, stem[0].upper() + stem[1:])):
            yield from ((written + ending, ending) for ending in ("", *ENDINGS))


def _state(row: ActorRow) -> Iterator[tuple[str, Entry]]:
    code = row.many("code")
    entry = Entry("state", code, row["code"])
    for name, _ in state_names(row):
        for form in spellings(name):
            # "die Türkei", "die USA" have no genitive form.
            if row["class"] in "fp" or form.isupper():
                yield form, entry
            else:
                yield from _declined([form], entry)
    yield from _adjectives(row, row["code"])
    citizen = Entry("people", code, row["code"])
    for name in row.many("people"):
        yield from ((form, citizen) for form in (spellings(name) if "~" in name else people(name)))


def _adjectives(row: ActorRow, key: str) -> Iterator[tuple[str, Entry]]:
    entry = Entry("adjective", row.many("code"), key)
    yield from ((form, entry) for form, _ in adjectives(row))


def _place(row: ActorRow) -> Iterator[tuple[str, Entry]]:
    entry = Entry(row["kind"], row.many("code"), row["name"])
    people_of_town = replace(entry, kind="resident", key=row["kind"])
    for form in spellings(row["name"]):
        yield from _declined([form], entry)
        if row["kind"] != "palace" and " " not in form:
            yield resident(form), people_of_town


def _named(row: ActorRow) -> Iterator[tuple[str, Entry]]:
    entry = Entry(_KINDS[row.table], row.many("code"), row["name"], *row.period)
    for form in spellings(row["name"]):
        if row.cells.get("quoted") == "yes":
            yield from ((f"{quotes[0]}{form}{quotes[1]}", entry) for quotes in _QUOTES)
        else:
            # At the start of a sentence: "Prorussische Separatisten".
            yield from _declined([form, form[0].upper() + form[1:]], entry)
    yield from _adjectives(row, row["name"])


def _person(row: ActorRow) -> Iterator[tuple[str, Entry]]:
    names = row.many("name")
    surnames = row.many("surname") or tuple(dict.fromkeys(name.rsplit(" ", 1)[-1] for name in names))
    entry = Entry("person", row.many("code"), names[0], *row.period)
    yield from _declined(names, entry)
    yield from _declined(surnames, replace(entry, alone=row["alone"] == "yes"))


def _role(row: ActorRow) -> Iterator[tuple[str, Entry]]:
    entry = Entry("role", (), row["name"], role=row["role"], noun=row["kind"], alone=row["alone"] == "yes")
    for name in row["name"].split("|"):
        for form in spellings(name.removeprefix("-")):
            yield form, entry
            if name.startswith("-"):
                yield form[0].lower() + form[1:], replace(entry, ending=True)


# The kind of a table's entries; the tables with a writer below set their kinds there.
_KINDS = {
    "organisations": "organisation", "institutions": "institution", "groups": "group", "parties": "party", "media": "media",
    "companies": "company", "regions": "region", "lookalikes": "lookalike",
}  # fmt: skip
_WRITERS: Mapping[str, Callable[[ActorRow], Iterator[tuple[str, Entry]]]] = {
    "states": _state, "places": _place, "persons": _person, "roles": _role,
}  # fmt: skip
