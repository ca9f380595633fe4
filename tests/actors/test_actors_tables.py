"""The tables of actors: the content of the shipped ones, the forms of names, and the reports of
mistakes in a user's table.
"""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from haltung.actors import tables as actors_tables
from haltung.actors.finder import Actors, codes
from haltung.actors.forms import genitives, people, resident, spellings
from haltung.actors.tables import ActorRow, is_code
from haltung.errors import UserError
from haltung.files import shipped

FOLDER = shipped("data") / "actors"


@pytest.fixture(scope="module")
def rows() -> list[ActorRow]:
    return actors_tables.read(FOLDER)


def _user_table(folder: Path, table: str, *lines: str) -> Path:
    """Write a user's table with the correct header."""
    text = "\n".join((",".join(actors_tables.TABLES[table]), *lines))
    (folder / f"{table}.csv").write_text(text + "\n", encoding="utf-8")
    return folder


def test_the_shipped_tables_are_sound(rows: list[ActorRow]) -> None:
    """Reading them checks that keys are unique, codes known, dates ISO and in order, values
    allowed.
    """
    assert {row.table for row in rows} == set(actors_tables.TABLES)
    assert all(is_code(code) for row in rows if "code" in row.cells for code in row.many("code"))


def test_every_state_of_the_united_nations_has_a_row(rows: list[ActorRow]) -> None:
    """There are at least 193 states, with the two-letter codes that Babel has for them; territories
    without a government may be missing.
    """
    from babel.core import get_global

    twos = {code: aliases[0] for code, aliases in get_global("territory_aliases").items() if len(code) == 3 and len(aliases) == 1}
    states = [row for row in rows if row.table == "states" and row["iso2"]]
    assert {row["code"]: row["iso2"] for row in states if row["code"] in twos} == {
        row["code"]: twos[row["code"]] for row in states if row["code"] in twos
    }
    assert len({row["code"] for row in states}) >= 193


def test_one_person_has_one_office_at_a_time(rows: list[ActorRow]) -> None:
    """Two terms of one surname in one office of one state do not overlap, or the surname alone
    would be ambiguous.
    """
    terms = defaultdict(list)
    for row in rows:
        if row.table == "persons":
            for surname in row.many("surname") or (row.many("name")[0].rsplit(" ", 1)[-1],):
                terms[surname, row["office"], row["code"]].append(row.period)
    overlapping = [key for key, periods in terms.items() for one, other in itertools.pairwise(sorted(periods)) if other[0] <= one[1]]
    assert overlapping == []


def test_the_periods_of_a_party_do_not_overlap(rows: list[ActorRow]) -> None:
    """A party governs or does not."""
    terms = defaultdict(list)
    for row in rows:
        if row.table == "parties":
            terms[row["name"]].append(row.period)
    assert [name for name, periods in terms.items() for one, other in itertools.pairwise(sorted(periods)) if other[0] <= one[1]] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Kreml", ["Kreml"]),
        ("Kiew|Kyjiw", ["Kiew", "Kyjiw"]),
        ("Rote/n Armee", ["Rote Armee", "Roten Armee"]),
        ("CDU/CSU", ["CDU/CSU"]),
        ("Minister/s/in", ["Minister", "Ministers", "Ministerin"]),
        ("Weiß~ Haus", ["Weiße Haus", "Weißer Haus", "Weißen Haus", "Weißem Haus", "Weißes Haus"]),
    ],
)
def test_a_cell_spells_out_its_forms(name: str, expected: list[str]) -> None:
    """Bars separate spellings, slashes precede endings, a tilde means the endings of adjectives."""
    assert list(spellings(name)) == expected


def test_names_decline_by_rule() -> None:
    """Genitives, inhabitants and residents."""
    assert "Pentagons" in genitives("Pentagon")
    assert "Paris’" in genitives("Paris")
    assert people("Russe") == ("Russe", "Russen", "Russin", "Russinnen")
    assert people("Iraker") == ("Iraker", "Irakers", "Irakern", "Irakerin", "Irakerinnen")
    assert resident("Moskau") == "Moskauer"


def test_an_own_table_adds_and_wins(tmp_path: Path) -> None:
    """A user's row adds a name; if a shipped row has the same form, only the user's counts."""
    _user_table(tmp_path, "groups", "Wespen von Boddin,DEU-REB", "Hisbollah,SYR-REB")
    actors = Actors.load(extra=tmp_path)
    assert codes(actors.find("Die Wespen von Boddin drohten der Hisbollah.")) == ("DEU-REB", "SYR-REB")


def test_own_persons_have_dates(tmp_path: Path) -> None:
    """A term of office in a user's table applies within its dates."""
    _user_table(tmp_path, "persons", "Ada Quint,,LUX,head of government,2030-05,2031,yes")
    actors = Actors.load(extra=tmp_path)
    assert codes(actors.find("Quint drohte.", "2030-05-01")) == ("LUX",)
    assert codes(actors.find("Quint drohte.", "2031-12-31")) == ("LUX",)
    assert codes(actors.find("Quint drohte.", "2032-01-01")) == ("LUX-CIV",)
    assert codes(actors.find("Quint drohte.", "2030-04-30")) == ()


def test_the_first_and_the_last_day_of_a_period_belong_to_it(tmp_path: Path) -> None:
    """A person is in office on both days, unknown before and a civilian afterwards; a party changes
    its role overnight.
    """
    _user_table(tmp_path, "persons", "Ada Quint,,LUX,minister,2030-05-04,2031-10,yes")
    _user_table(tmp_path, "parties", "Kressepartei,LUX-GOVPARTY,2030-05-04,2031-10-31", "Kressepartei,LUX-OPP,2031-11-01,")
    actors = Actors.load(extra=tmp_path)
    days = ("2030-05-03", "2030-05-04", "2031-10-31", "2031-11-01")
    assert [codes(actors.find("Quint sprach.", day)) for day in days] == [(), ("LUX",), ("LUX",), ("LUX-CIV",)]
    assert [codes(actors.find("Die Kressepartei sprach.", day)) for day in days[1:]] == [("LUX-GOVPARTY",), ("LUX-GOVPARTY",), ("LUX-OPP",)]


@pytest.mark.parametrize(
    ("table", "lines", "message"),
    [
        ("groups", ["Wespen,XYZ-REB"], r"groups\.csv, line 2: code is 'XYZ-REB'.*ISO 3166-1 alpha-3"),
        ("groups", ["Wespen,DEU-REBELS"], r"line 2: code is 'DEU-REBELS'.*-OPP, -REG"),
        ("groups", ["Wespen,"], r"line 2: code is ''"),
        ("groups", ["Wespen,DE"], r"line 2: code is 'DE', did you mean"),
        ("groups", ["Wespen,DEU-REB", "Wespen,DEU-REB"], r"line 3: 'Wespen' is already in .*line 2"),
        ("groups", ["Wespen"], r"line 2: 1 cells, expected 2 \(name, code\)"),
        ("groups", [",DEU-REB"], r"line 2: the name is empty"),
        ("groups", ["Wespen|,DEU-REB"], r"line 2: name is 'Wespen\|', with nothing between two bars"),
        ("groups", ['"Wespen,DEU-REB'], r"line \d: .*double quotes"),
        ("places", ["Boddin,DEU,village"], r"line 2: kind is 'village'; choose from capital, palace, city"),
        ("states", ["EU,,n,,,"], r"states\.csv, line 2: code is 'EU'"),
        ("persons", ["Ada Quint,,LUX,minister,2030-13-01,,yes"], r"line 2: from is '2030-13-01'; expected YYYY-MM-DD"),
        ("persons", ["Ada Quint,,LUX,minister,1. Mai,,yes"], r"line 2: from is '1\. Mai'; expected YYYY-MM-DD"),
        ("persons", ["Ada Quint,,LUX,minister,2031,2030,yes"], r"line 2: from is 2031, which is after to \(2030\)"),
        ("persons", ["Ada Quint,,LUX,minister,2030,,maybe"], r"line 2: alone is 'maybe'; choose from yes, no"),
        ("roles", ["-Vogt/s,XXX,office,yes"], r"line 2: role is 'XXX'; choose from .*OPP"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, table: str, lines: list[str], message: str) -> None:
    """What was found, where, and what is allowed."""
    with pytest.raises(UserError, match=message):
        actors_tables.read(_user_table(tmp_path, table, *lines), extra=True)


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    """The order of columns matters."""
    (tmp_path / "groups.csv").write_text("code,name\nDEU-REB,Wespen\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 1: the columns are code, name; expected name, code"):
        actors_tables.read(tmp_path, extra=True)


def test_a_broken_quote_in_the_header_is_told(tmp_path: Path) -> None:
    """A quote that is never closed."""
    (tmp_path / "groups.csv").write_text('"name,code\nWespen,DEU-REB\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"groups\.csv, line \d: "):
        actors_tables.read(tmp_path, extra=True)


def test_a_state_with_an_unknown_iso_code_is_told(tmp_path: Path) -> None:
    """Its name would come from Unicode CLDR, which does not have it."""
    from haltung.actors.finder import Actors

    with pytest.raises(UserError, match=r"states\.csv, line 2: iso2 is 'QQ'"):
        Actors.load(extra=_user_table(tmp_path, "states", "QQQ,QQ,n,qualisch,Quale,"))


def test_an_unknown_table_is_named(tmp_path: Path) -> None:
    """A misspelled file name is not skipped in silence."""
    (tmp_path / "group.csv").write_text("name,code\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"the table is 'group', did you mean 'groups'\?"):
        actors_tables.read(tmp_path, extra=True)


def test_a_folder_that_is_not_there_or_empty_is_named(tmp_path: Path) -> None:
    """There is no folder, no table in it, or not every table if all are needed."""
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        actors_tables.read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no tables"):
        actors_tables.read(tmp_path, extra=True)
    with pytest.raises(UserError, match=r"lacks states\.csv"):
        actors_tables.read(_user_table(tmp_path, "groups"))


def test_another_encoding_is_told(tmp_path: Path) -> None:
    """Latin-1 is not UTF-8."""
    (tmp_path / "groups.csv").write_bytes("name,code\nMännerbund,DEU-REB\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"groups\.csv is not UTF-8 \(byte \d+\)"):
        actors_tables.read(tmp_path, extra=True)


def test_a_table_may_have_a_byte_order_mark_and_comments(tmp_path: Path) -> None:
    """As saved by spreadsheets."""
    (tmp_path / "groups.csv").write_text("\ufeffname,code\n# ours\n\nWespen,DEU-REB\n", encoding="utf-8")
    assert [row["name"] for row in actors_tables.read(tmp_path, extra=True)] == ["Wespen"]


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs it."""
    from haltung.actors.matching import automaton

    monkeypatch.setitem(sys.modules, "ahocorasick", None)
    with pytest.raises(UserError, match=r"pip install 'haltung\[events\]'"):
        automaton({})
