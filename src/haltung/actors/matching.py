"""Find the forms of the tables in a text in one pass of an Aho-Corasick automaton."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from haltung.actors.forms import Entry
from haltung.actors.tables import LAST, ORGANISATIONS
from haltung.errors import UserError

_Candidate = tuple[int, int, tuple[Entry, ...]]  # a form in a text: start, end, what it may be
# A name of these kinds may be the first part of a compound: "Palästinenserpräsident".
_FIRST_PARTS = ("state", "people", "palace", "capital", "region")


@dataclass(frozen=True)
class Mention:
    """An actor named at ``[start, end)`` of a sentence.

    ``code`` is the code of the label standard. ``kind`` is that of the entry, such as ``state``,
    ``role`` for a role that names no state itself ("die Regierung"), or ``office`` for one joined
    to a name. ``place`` is set if a state or town is only a location ("in Paris"). ``head`` is the
    noun that the mention modifies ("Politik" of "russische Politik", "Nordkorea-Politik"), or the
    noun of a role ("Außenminister" of "der russische Außenminister"); "" without one.
    """

    start: int
    end: int
    text: str
    code: str
    kind: str
    place: bool = False
    head: str = ""


@dataclass(slots=True)
class Item:
    """A form in a text, at ``[start, end)``, that may become a ``Mention``.

    ``phrases`` joins items. ``options`` are the possible codes, the usual one first; ``code`` is
    the selected one. ``bound`` is True for a role that has the codes of an item it was joined to;
    an unbound role gets the state of the sentence or article.
    """

    start: int
    end: int
    kind: str
    options: tuple[str, ...]
    entry: Entry
    place: bool = False
    head: str = ""
    bound: bool = False
    code: str = ""


def codes(mentions: Iterable[Mention], places: bool | None = None) -> tuple[str, ...]:
    """Return the distinct codes in order of first mention.

    A place is not an actor: by default, codes of places count only if nothing else is named. They
    always count with ``places=True``, and never with ``places=False``.
    """
    given = list(mentions)
    if places is None:
        places = all(mention.place for mention in given)
    return tuple(dict.fromkeys(mention.code for mention in given if places or not mention.place))


def state_of(code: str) -> str:
    """Return the state in a code, "" for an organisation."""
    return "" if code in ORGANISATIONS else code[:3]


def automaton(forms: Mapping[str, tuple[Entry, ...]]) -> Any:
    """Return the automaton for these forms; ``UserError`` if pyahocorasick is not installed."""
    try:
        import ahocorasick  # type: ignore[import-not-found]
    except ImportError:
        raise UserError("finding actors requires pyahocorasick, which is not installed; run: pip install 'haltung[events]'") from None
    built = ahocorasick.Automaton()
    for form, entries in forms.items():
        built.add_word(form, (len(form), entries))
    built.make_automaton()
    return built


def items(built: Any, text: str, date: str, first_names: frozenset[str] = frozenset()) -> list[Item]:
    """Return the items of a text in order; of overlapping forms, the first, then the longest.

    A form matches if it is a whole word or a whole part of a word between hyphens
    ("US-Außenminister"), the first part of a compound with a known head ("Palästinenserpräsident",
    "Kremlsprecher"), or, for a role, the last part of one ("Außenminister").
    """
    out: list[Item] = []
    position = 0
    for start, end, entries in _candidates(built, text):
        if start < position:
            continue
        entry = entries[0]
        if entry.ending and text[start - 1] != "-" and (not out or out[-1].end != start):
            while start > position and text[start - 1].isalpha():
                start -= 1
        if entry.kind == "lookalike":
            position = end
            continue
        options = _options(entries, date)
        known = options and (entry.kind != "person" or _is_person(out, text, start, end, entries, first_names))
        if known or entry.kind == "role":
            out.append(Item(start, end, entry.kind, options, entry))
            position = end
    return out


def _candidates(built: Any, text: str) -> list[_Candidate]:
    """Return all forms that are words or parts of compounds, by start, then the longest first."""
    whole: list[_Candidate] = []
    first_parts: dict[int, _Candidate] = {}
    for last, (length, entries) in built.iter(text):
        end = last + 1
        start = end - length
        ending = entries[0].ending
        if start and (text[start - 1].isalnum() != ending or (not ending and text[start - 1] == "_")):
            continue
        if text[end : end + 1].isalnum():
            is_first_part = not ending and not entries[0].role and entries[0].kind in _FIRST_PARTS
            if is_first_part and (end not in first_parts or first_parts[end][0] > start):
                first_parts[end] = (start, end, entries)
            continue
        whole.append((start, end, entries))
    whole += [first_parts[start] for start, _, entries in whole if entries[0].ending and start in first_parts]
    return sorted(whole, key=lambda candidate: (candidate[0], -candidate[1]))


def _is_person(before: list[Item], text: str, start: int, end: int, entries: tuple[Entry, ...], first_names: frozenset[str]) -> bool:
    """Return whether a name refers to the person in the table.

    A surname that is also a word counts only after an office and not before a capitalised word
    (``_Memory`` adds introduced persons). A known first name before a bare surname is another's.
    """
    if not any(entry.alone for entry in entries):
        last = before[-1] if before and before[-1].end == start - 1 and text[start - 1] == " " else None
        if last is None or not (last.entry.noun == "office" or last.kind == "institution") or re.match(r" [A-ZÄÖÜ]", text[end:]):
            return False
    word_before = text[max(0, start - 20) : start - 1].rsplit(" ", 1)[-1]
    return " " in text[start:end] or text[start - 1 : start] != " " or word_before not in first_names


def _options(entries: tuple[Entry, ...], date: str) -> tuple[str, ...]:
    """Return the codes that the entries of a form may have on a day, the likeliest first.

    A former officeholder is one of the state's people ("-CIV"), a future one is unknown. A party
    outside its periods has the last earlier one, or else the first. Without a date the latest wins.
    """
    if len(entries) == 1 and (not date or entries[0].since <= date <= entries[0].until):
        return entries[0].codes
    if entries[0].kind not in ("person", "party"):
        return _all_codes(entries)
    latest = sorted(entries, key=lambda entry: entry.since, reverse=True)
    if not date:
        # Current holders count before former ones; parties of several states may share a name.
        return _all_codes([entry for entry in latest if entry.until == LAST] or latest[:1])
    if current := [entry for entry in latest if entry.since <= date <= entry.until]:
        return _all_codes(current)
    past = [entry for entry in latest if entry.until < date]
    if entries[0].kind == "party":
        return (past or latest[-1:])[0].codes
    return tuple(dict.fromkeys(f"{code[:3]}-CIV" if state_of(code) else "" for code in _all_codes(past[:1])))


def _all_codes(entries: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code for entry in entries for code in entry.codes))
