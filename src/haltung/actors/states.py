"""Find the states that a German text names, and the form of each name, to mask or swap names.

Names, adjectives and capitals come from the tables of actors; the EU counts as a state. Inhabitants
("Russen"), palaces ("Kreml") and names inside a one-word compound ("Ukrainekrieg") are left to
``Actors``, which uses more context but needs pyahocorasick.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from haltung.actors.forms import adjectives, genitives, resident, spellings, state_names
from haltung.actors.tables import ORGANISATIONS, ActorRow, read
from haltung.files import shipped
from haltung.records import by_key

_EU = "EU"  # in the tables an organisation, together with its institutions
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class State:
    """A state; ``gender`` is its name's class (see ``data/actors``). Missing values are ""."""

    code: str
    name: str
    gender: str
    adjective: str
    capital: str

    @property
    def is_regular(self) -> bool:
        """Whether it can replace another state: all its words decline regularly."""
        one_word = self.name.isalpha() and self.capital.isalpha() and self.adjective.isalpha()
        return one_word and self.name[-1] not in "szxß" and self.capital[-1] not in "szxß" and self.gender != "x"


@dataclass(frozen=True)
class StateForm:
    """One way to write a state, with the gender of a name or the ending of an adjective.

    ``kind`` is ``name``, ``genitive``, ``adjective``, ``capital``, ``capital_genitive`` or
    ``resident`` (the same in every case: "Moskauer Regierung", "Schweizer Regierung").
    """

    code: str
    kind: str
    gender: str = ""
    ending: str = ""


@dataclass(frozen=True)
class StateMention:
    """A form found in a text, at ``[start, end)``."""

    start: int
    end: int
    form: StateForm


def state_mentions(text: str) -> list[StateMention]:
    """Return the mentions of states in order; of overlapping ones, the first, then the longest."""
    mentions: list[StateMention] = []
    position = 0
    forms = _forms_by_first_word()
    for word in _WORD.finditer(text):
        if word.start() < position:
            continue
        for written, form in forms.get(word[0], ()):
            end = word.start() + len(written)
            if text.startswith(written, word.start()) and not text[end : end + 1].isalnum():
                if form is not None:
                    mentions.append(StateMention(word.start(), end, form))
                position = end
                break
    return mentions


@cache
def states() -> dict[str, State]:
    """Return all states by code, each with its first single-word name if it has one."""
    capitals = _capitals()
    out = {_EU: State(_EU, _EU, "f", "", "")}
    for row in (row for row in _rows("states") if len(row.many("code")) == 1):
        names = [(next(spellings(name)), gender) for name, gender in state_names(row)]
        name, gender = next((one for one in names if one[0].isalpha()), names[0])
        adjective = next((stem for stem in row.many("adjective") if not stem.endswith("!")), "")
        towns = [town for code, town in capitals if code == row["code"]] or [""]
        out[row["code"]] = State(row["code"], name, gender, adjective, next(filter(str.isalpha, towns), towns[0]))
    return out


@cache
def _forms_by_first_word() -> dict[str, list[tuple[str, StateForm | None]]]:
    """Return the forms by first word, the longest first; lookalikes ("Paris Hilton") are None."""
    # Of identical forms the first one wins, but a lookalike takes precedence over all of them.
    forms: dict[str, StateForm | None] = dict(reversed([*_all_forms()]))
    forms |= {written: None for row in _rows("lookalikes") for written in spellings(row["name"])}
    longest_first = sorted(forms.items(), key=lambda item: (-len(item[0]), item[0]))
    return by_key((first[0], item) for item in longest_first if (first := _WORD.match(item[0])))


def _all_forms() -> Iterator[tuple[str, StateForm]]:
    for name in (_EU, "Europäische/n Union"):
        yield from _name_forms(name, _EU, "f")
    for row in _rows("states"):
        code = _code(row)
        for name, gender in state_names(row):
            yield from _name_forms(name, code, gender)
        for written, ending in adjectives(row):
            # "Schweizer" does not decline, like the resident of a capital.
            yield written, StateForm(code, "resident") if ending is None else StateForm(code, "adjective", ending=ending)
    for code, town in _capitals():
        yield town, StateForm(code, "capital")
        yield from ((form, StateForm(code, "capital_genitive")) for form in genitives(town)[1:])
        if " " not in town:
            yield resident(town), StateForm(code, "resident")


def _name_forms(name: str, code: str, gender: str) -> Iterator[tuple[str, StateForm]]:
    spelled = list(spellings(name))
    declined = genitives(spelled[0])[1:]
    for written in spelled:
        yield written, StateForm(code, "genitive" if written in declined else "name", gender)
    if gender in ("n", "m"):
        yield from ((form, StateForm(code, "genitive", gender)) for form in declined)


def _capitals() -> list[tuple[str, str]]:
    return [(_code(row), town) for row in _rows("places") if row["kind"] == "capital" for town in spellings(row["name"])]


def _code(row: ActorRow) -> str:
    """Return the first code of a row that is a state: Belgium for Brussels."""
    return next(code for code in row.many("code") if code not in ORGANISATIONS)


def _rows(table: str) -> list[ActorRow]:
    return [row for row in read(shipped("data") / "actors") if row.table == table]
