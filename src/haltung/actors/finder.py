"""Find the states, offices, organisations and persons that German sentences name, with their codes.

    actors = Actors.load()
    actors.find("Der Kreml warf Kiew vor, die US-Außenministerin zu täuschen.")

Names come from the tables (``data/actors``, see its README.md); an article may introduce persons.
An Aho-Corasick automaton matches all inflected forms, then rules join words that belong together.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from haltung.actors import matching, tables
from haltung.actors.forms import Entry, first_names, forms
from haltung.actors.matching import Item, Mention, codes, state_of
from haltung.actors.phrases import add_role, phrases
from haltung.files import patterns, shipped, table

__all__ = ["Actors", "Mention", "codes"]
_NAME = r"(?:(?:von|van|de|der|den|di|da|du|al|bin|ibn|el|ben|zu)[ -]){0,2}[A-ZÄÖÜÁÉÍÓÚÇŠŽŁİŞĐØÅ][\w’'.-]*"
_AFTER = re.compile(rf" (?:Dr\. |Prof\. )?((?:{_NAME} ){{0,2}}{_NAME})")
_BEFORE_COMMA = re.compile(rf"((?:{_NAME} ){{1,2}}{_NAME}), (?:der|die|das|ein|eine)? ?(?:[a-zäöüß]+(?:e|er|en) )?$")
_BEFORE_BRACKET = re.compile(rf"((?:{_NAME} ){{0,2}}{_NAME}) \($")
_PERSON = Entry("person", (), "")
_WORD = re.compile(r"[^\W\d_][\w’'-]*")
_RE = patterns("haltung.actors", "finder")
_NO_NAMES = frozenset(word for (word,) in table("haltung.actors", "no_surnames.tsv"))


@dataclass(frozen=True)
class Actors:
    """A matcher for the tables. Loading takes tenths of a second, a sentence some microseconds."""

    automaton: Any
    first_names: frozenset[str]

    @classmethod
    def load(cls, extra: Path | None = None) -> "Actors":
        """Load the shipped tables, and the user's in ``extra``.

        A form in ``extra`` replaces all shipped entries of that form. Raises ``UserError`` if a
        table is missing or invalid (with file and line), or pyahocorasick is not installed.
        """
        return _load(extra) if extra else _shipped()

    def find(self, text: str, date: str = "") -> list[Mention]:
        """Return the actors of one sentence in order, without overlap.

        ``date`` (ISO) determines who was in office and which party governed; the default is the
        latest. A role without a state ("die Regierung") gets the state of the sentence if that
        names exactly one, and is omitted otherwise. Raises ``UserError`` if ``date`` is not ISO.
        """
        return _resolve(self._items(text, tables.day(date[:10])), text, {})

    def article(self, sentences: Sequence[str], date: str = "", headline: str = "") -> list[list[Mention]]:
        """Return the actors of each sentence of an article, read in order after the headline.

        The article's persons ("der russische Außenminister Sergej Lawrow", later "Lawrow") and
        states are remembered. A role without a state gets the state named most so far, or in the
        whole article if none was named yet. Raises ``UserError`` if ``date`` is not an ISO date.
        """
        date = tables.day(date[:10])
        texts = [headline, *sentences]
        items_of = [self._items(text, date) for text in texts]
        memory, whole = _Memory(), _states(itertools.chain.from_iterable(items_of))
        out = []
        for text, items in zip(texts, items_of, strict=True):
            memory.states.update(_states(items))
            items = memory.known(items, text)
            out.append(_resolve(items, text, memory.states or whole))
            memory.meet(items, text)
        return out[1:]

    def _items(self, text: str, date: str) -> list[Item]:
        return phrases(matching.items(self.automaton, text, date, self.first_names), text)


@dataclass
class _Memory:
    """The states named so far in an article, and the codes of its persons by their last name."""

    states: Counter[str] = field(default_factory=Counter)
    people: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def meet(self, items: list[Item], text: str) -> None:
        """Remember persons introduced with an office or a party: "Schieder (SPÖ)"."""
        for item in (item for item in items if item.code):
            if _is_office(item, text):
                if name := _AFTER.match(text, item.end) or _BEFORE_COMMA.search(text, max(0, item.start - 60), item.start):
                    self._learn(name[1], item.code)
            elif item.kind == "party" and text[item.start - 1 : item.start] == "(":
                name = _BEFORE_BRACKET.search(text, max(0, item.start - 60), item.start)
                if name and name[1].rsplit(" ", 1)[-1] not in self.people:
                    self._learn(name[1], item.code)

    def known(self, items: list[Item], text: str) -> list[Item]:
        """Return the items with the introduced persons, who replace overlapping table entries."""
        if not self.people:
            return items
        taken = {position for item in items if item.kind != "person" for position in range(item.start, item.end)}
        added = []
        for word in _WORD.finditer(text):
            if word.start() in taken:
                continue
            name = word[0] if word[0] in self.people else word[0].rstrip("’'").removesuffix("s")
            name = name if name in self.people else name.partition("-")[0]
            if options := self.people.get(name):
                added.append(Item(word.start(), word.start() + len(name), "person", options, _PERSON, bound=True))
        others = [one for one in items if one.kind != "person" or not any(new.start < one.end and one.start < new.end for new in added)]
        return sorted([*others, *added], key=lambda item: item.start)

    def _learn(self, name: str, code: str) -> None:
        words = [word.rstrip(".,’'") for word in name.split()]
        while words and (words[-1] in _NO_NAMES or _RE["noun"].match(words[-1]) or words[-1].islower()):
            words.pop()
        if words and words[0] not in _NO_NAMES and len(words[-1]) > 1:
            self.people[words[-1].removesuffix("’")] = (code,)


def _is_office(item: Item, text: str) -> bool:
    if item.entry.kind == "role":
        return item.entry.noun == "office"
    return item.kind == "institution" and _RE["personal"].search(text, item.start, item.end) is not None


def _resolve(items: list[Item], text: str, states: Mapping[str, int]) -> list[Mention]:
    """Return the mentions of a sentence, and set the code of each item."""
    in_sentence = _states(items)
    out: list[Mention] = []
    for item in items:
        in_brackets = text[item.start - 1 : item.start] == "("
        # "Wien (APA) –": the agency only reports.
        if item.kind == "media" and in_brackets:
            continue
        item.code = _code(item, in_sentence, states, text)
        # "Klug (SPÖ)": the party only describes the person and does not act.
        is_aside = item.kind == "party" and in_brackets and out and item.start - out[-1].end <= 2
        if item.code and not is_aside:
            out.append(Mention(item.start, item.end, text[item.start : item.end], item.code, item.kind, item.place, item.head))
    return out


def _code(item: Item, in_sentence: Counter[str], states: Mapping[str, int], text: str) -> str:
    """Return the code whose state the sentence and the article name most, "" for none."""
    if item.kind == "role" and not item.bound:
        if not item.entry.alone or item.entry.role in ("=", "place"):
            return ""
        # "Präsident der Universität" is not an office of the state.
        if item.entry.noun == "office" and _RE["of_other"].match(text, item.end):
            return ""
        # The state that the article names most, or else the only one of the sentence.
        if states:
            return add_role(max(states, key=lambda state: (states[state], in_sentence[state])), item.entry.role)
        return add_role(next(iter(in_sentence)), item.entry.role) if len(in_sentence) == 1 else ""
    options = item.options
    if len(options) < 2:
        return options[0] if options else ""
    weights = [in_sentence[state_of(code)] + states.get(state_of(code), 0) for code in options]
    if not any(weights):
        # Without evidence, a person of several states is nobody; other items have their usual code.
        return "" if item.kind == "person" and len({state_of(code) for code in options}) > 1 else options[0]
    return options[weights.index(max(weights))]


def _states(items: Iterable[Item]) -> Counter[str]:
    """Return how often items name each state, without persons and items of several states."""
    named = ({state_of(code) for code in item.options} for item in items if item.kind != "person")
    return Counter(state for states in named if len(states) == 1 for state in states if state)


def _load(extra: Path | None = None) -> Actors:
    rows, own = tables.read(shipped("data") / "actors"), tables.read(extra, extra=True) if extra else []
    return Actors(matching.automaton(forms(rows) | forms(own)), first_names([*rows, *own]))


_shipped = cache(_load)  # not for a user's tables, which may change
