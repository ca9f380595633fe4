"""The names of actors in German and English, for those who do not read codes."""

from __future__ import annotations

from collections.abc import Iterable

from haltung.actors.tables import read
from haltung.files import shipped

# Code → (English, German). The tables of actors spell organisations as a matcher needs them, inflected, and in German alone.
ORGANISATIONS = {
    "EU": ("European Union", "Europäische Union"),
    "UN": ("United Nations", "Vereinte Nationen"),
    "NATO": ("NATO", "NATO"),
    "OSCE": ("OSCE", "OSZE"),
    "IMF": ("International Monetary Fund", "Internationaler Währungsfonds"),
    "IAEA": ("International Atomic Energy Agency", "Internationale Atomenergiebehörde"),
    "ICC": ("International Criminal Court", "Internationaler Strafgerichtshof"),
    "AU": ("African Union", "Afrikanische Union"),
    "ARABLEAGUE": ("Arab League", "Arabische Liga"),
    "G7": ("G7", "G7"),
    "NGO": ("Non-governmental organisations", "Nichtregierungsorganisationen"),
    "CHURCH": ("Churches", "Kirchen"),
    "ISIL": ("Islamic State", "Islamischer Staat"),
    "ALQ": ("Al-Qaeda", "Al-Qaida"),
}
ROLES = {
    "OPP": ("opposition", "Opposition"),
    "REG": ("regional or local government", "Region oder Gemeinde"),
    "GOVPARTY": ("governing party", "Regierungspartei"),
    "REB": ("armed group", "bewaffnete Gruppe"),
    "CIV": ("people", "Bevölkerung"),
    "MED": ("media", "Medien"),
    "JUD": ("judiciary", "Justiz"),
    "BUS": ("business", "Unternehmen"),
}

# As newspapers write them; Unicode CLDR has longer ones, or other.
_USUAL = {
    "USA": ("United States", "USA"),
    "GBR": ("United Kingdom", "Großbritannien"),
    "COD": ("DR Congo", "DR Kongo"),
    "COG": ("Republic of the Congo", "Republik Kongo"),
    "HKG": ("Hong Kong", "Hongkong"),
    "MAC": ("Macao", "Macau"),
    "MMR": ("Myanmar", "Myanmar"),
    "PSE": ("Palestinian territories", "Palästina"),
}


def names(codes: Iterable[str], language: str = "en") -> dict[str, str]:
    """Return the name of each code, such as ``Russland`` or ``USA: Opposition``; a code that nobody knows is its own name.

    The states are those of the table of actors, their names those of Unicode CLDR, save for some that newspapers write otherwise.

    Raises:
        UserError: a table of actors is missing or broken.
    """
    known = _states(language)
    return {code: _name(code, known, int(language == "de")) for code in codes}


def _name(code: str, states: dict[str, str], place: int) -> str:
    state, dash, role = code.partition("-")
    name = ORGANISATIONS[state][place] if state in ORGANISATIONS else states.get(state, state)
    return f"{name}: {ROLES[role][place] if role in ROLES else role}" if dash else name


def _states(language: str) -> dict[str, str]:
    from babel import Locale

    territories = Locale(language).territories
    rows = (row for row in read(shipped("data") / "actors") if row.table == "states" and row["iso2"])
    known = {row["code"]: str(territories.get(row["iso2"], row["code"])) for row in rows}
    return known | {code: pair[int(language == "de")] for code, pair in _USUAL.items()}
