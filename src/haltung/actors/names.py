"""The names of actors in German and English, for those who do not read codes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from haltung.actors.tables import read
from haltung.files import shipped


def names(codes: Iterable[str], language: str = "en") -> dict[str, str]:
    """Return the name of each code, such as ``Russland`` or ``USA: Opposition``.

    An unknown code is its own name. The states are those of the table of actors, with the names of
    Unicode CLDR unless ``names.tsv`` has another.

    Raises:
        UserError: a table of actors is missing or broken.
    """
    known = _known(language)
    out = {}
    for code in codes:
        state, dash, role = code.partition("-")
        out[code] = known.get(state, state) + (f": {known.get(dash + role, role)}" if dash else "")
    return out


@cache
def _known(language: str) -> dict[str, str]:
    """Return the names of states, organisations and roles."""
    from babel import Locale

    territories = Locale(language).territories
    rows = (row for row in read(shipped("data") / "actors") if row.table == "states" and row["iso2"])
    known = {row["code"]: str(territories.get(row["iso2"], row["code"])) for row in rows}
    lines = Path(__file__).with_name("names.tsv").read_text(encoding="utf-8").splitlines()
    for code, english, german in (line.split("\t") for line in lines[2:]):
        known[code] = german if language == "de" else english
    return known
