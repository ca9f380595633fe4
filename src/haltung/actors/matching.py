"""Where the forms of the tables stand in a text, by one pass of an Aho-Corasick automaton (pyahocorasick)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from haltung.actors.forms import Entry
from haltung.actors.tables import LAST, ORGANISATIONS
from haltung.errors import UserError

_CAPITAL = re.compile(r" [A-ZÄÖÜ]")


@dataclass(slots=True)
class Item:
    """A form in a text, at ``[start, end)``; phrases make one of several. ``options`` are its possible codes, the usual one first."""

    start: int
    end: int
    kind: str
    options: tuple[str, ...]
    entry: Entry
    place: bool = False
    head: str = ""
    former: bool = False
    # What a role is bound to: its codes; None while it waits for the state of the sentence or the article.
    bound: bool = field(default=False)


def automaton(forms: Mapping[str, tuple[Entry, ...]]) -> Any:
    """Return the automaton for these forms.

    Raises:
        UserError: pyahocorasick is not installed.
    """
    try:
        import ahocorasick  # type: ignore[import-not-found]
    except ImportError:
        raise UserError("actors are found with pyahocorasick, which is not installed; run: pip install 'haltung[events]'") from None
    built = ahocorasick.Automaton()
    for form, entries in forms.items():
        built.add_word(form, (len(form), entries))
    built.make_automaton()
    return built


def items(built: Any, text: str, date: str, first_names: frozenset[str] = frozenset()) -> list[Item]:
    """Return the items of a text in order, without overlap: of two that overlap, the one that begins first, then the longer one.

    A form counts where it is a whole word or the whole part of a word between hyphens ("US-Außenminister"), the first part of a compound
    with a known head ("Palästinenserpräsident", "Kremlsprecher"), or, for a role, the last part of one ("Außenminister").
    """
    whole: list[tuple[int, int, tuple[Entry, ...]]] = []
    first_parts: dict[int, tuple[int, int, tuple[Entry, ...]]] = {}
    for last, (length, entries) in built.iter(text):
        end = last + 1
        start = end - length
        ending = entries[0].ending
        if start and text[start - 1].isalnum() != ending:
            continue
        if not ending and start and text[start - 1] == "_":
            continue
        if text[end : end + 1].isalnum():
            if not ending and not entries[0].role and entries[0].kind in ("state", "people", "palace", "capital", "region"):
                kept = first_parts.get(end)
                if kept is None or kept[0] > start:
                    first_parts[end] = (start, end, entries)
            continue
        whole.append((start, end, entries))
    if first_parts:
        whole += [first_parts[start] for start, _, entries in whole if entries[0].ending and start in first_parts]
    whole.sort(key=_order)
    found: list[Item] = []
    at = 0
    for start, end, entries in whole:
        if start < at:
            continue
        entry = entries[0]
        if entry.ending and text[start - 1] != "-" and (not found or found[-1].end != start):
            start = _word_start(text, start, at)
        if entry.kind == "lookalike":
            at = end
            continue
        options = _options(entries, date)
        if options or entry.kind == "role":
            # A surname that is also a word counts only behind an office, or where the article has introduced its bearer.
            if entry.kind == "person":
                told = any(other.alone for other in entries) or (_after_office(found, text, start) and not _CAPITAL.match(text, end))
                if not told or _is_another(text, start, end, first_names):
                    continue
            found.append(Item(start, end, entry.kind, options, entry))
            at = end
    return found


def state_of(code: str) -> str:
    """Return the state in a code, "" for an organisation."""
    return "" if code in ORGANISATIONS else code[:3]


def _after_office(found: list[Item], text: str, start: int) -> bool:
    if not found or found[-1].end != start - 1 or text[start - 1] != " ":
        return False
    return found[-1].entry.noun == "office" or found[-1].kind == "institution"


def _is_another(text: str, start: int, end: int, first_names: frozenset[str]) -> bool:
    """Return whether a first name that is not in the form comes before a surname."""
    if " " in text[start:end] or text[start - 1 : start] != " ":
        return False
    return text[max(0, start - 20) : start - 1].rsplit(" ", 1)[-1] in first_names


def _order(candidate: tuple[int, int, tuple[Entry, ...]]) -> tuple[int, int]:
    return candidate[0], -candidate[1]


def _word_start(text: str, start: int, at: int) -> int:
    while start > at and text[start - 1].isalpha():
        start -= 1
    return start


def _options(entries: tuple[Entry, ...], date: str) -> tuple[str, ...]:
    """Return the codes that the entries of a form may have on a day, the likeliest first.

    Who has left office is one of the state's people ("-CIV"); who has not come to it yet is not known. Of a party the nearest period
    counts. Without a date the latest counts first.
    """
    if len(entries) == 1:
        entry = entries[0]
        if not date or entry.since <= date <= entry.until:
            return entry.codes
    if entries[0].kind not in ("person", "party"):
        return tuple(dict.fromkeys(code for entry in entries for code in entry.codes))
    latest = sorted(entries, key=lambda entry: entry.since, reverse=True)
    if not date:
        # Who is in office counts before who was; parties of several states may have one name.
        lasting = [entry for entry in latest if entry.until == LAST] or latest[:1]
        return tuple(dict.fromkeys(code for entry in lasting for code in entry.codes))
    current = [entry for entry in latest if entry.since <= date <= entry.until]
    if current:
        return tuple(dict.fromkeys(code for entry in current for code in entry.codes))
    past = [entry for entry in latest if entry.until < date]
    if entries[0].kind == "party":
        return (past or latest[-1:])[0].codes
    return tuple(dict.fromkeys(_former(code) for entry in past[:1] for code in entry.codes))


def _former(code: str) -> str:
    return f"{code[:3]}-CIV" if state_of(code) else ""
