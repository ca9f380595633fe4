"""Who is named in a German sentence, and which code they have: states, capitals, offices, organisations, parties, groups, persons.

    actors = Actors.load()
    actors.find("Der Kreml warf Kiew vor, die US-Außenministerin zu täuschen.")

The tables are data (``data/actors``, described in its README.md); a folder with the same formats adds to them. What is found is what the
tables name: an Aho-Corasick automaton over all inflected forms, then rules for what stands together. Codes are those of the label standard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from haltung.actors import matching as actors_matching
from haltung.actors import tables as actors_tables
from haltung.actors.forms import first_names, forms
from haltung.actors.matching import Item
from haltung.actors.memory import Memory, resolve
from haltung.actors.mentions import Mention, codes
from haltung.actors.phrases import phrases
from haltung.files import shipped

__all__ = ["Actors", "Mention", "codes"]


@dataclass(frozen=True)
class Actors:
    """A matcher over tables. Hold it: to load takes some tenths of a second, to search a sentence some microseconds."""

    automaton: Any
    first_names: frozenset[str]

    @classmethod
    def load(cls, folder: Path | None = None, extra: Path | None = None) -> Actors:
        """Load the shipped tables, or those of ``folder``, and the user's own of ``extra`` beside them, which win form by form.

        Raises:
            UserError: a table is missing or wrong (with file and line), or pyahocorasick is not installed.
        """
        return _shipped() if folder is None and extra is None else _load(folder or shipped("data") / "actors", extra)

    def find(self, text: str, date: str = "") -> list[Mention]:
        """Return the actors of one sentence in order, without overlap.

        ``date`` (ISO) tells who was in office and which party governed; without it the latest counts. A role that says no state ("die
        Regierung") has that of the sentence if it names one state alone, and is else left out.

        Raises:
            UserError: the date is no ISO date.
        """
        return resolve(self._items(text, actors_tables.day(date)), text, {})[0]

    def article(self, sentences: Sequence[str], date: str = "", headline: str = "") -> list[list[Mention]]:
        """Return the actors of each sentence of an article, read in order.

        Carried along are the persons that it introduces ("der russische Außenminister Sergej Lawrow", later "Lawrow") and the states that
        it names: a role that says no state has the one named most so far, by the headline or a later sentence if there was none yet.

        Raises:
            UserError: the date is no ISO date.
        """
        memory, date = Memory(), actors_tables.day(date)
        texts = [headline, *sentences]
        found = [self._items(text, date) for text in texts]
        whole = Memory()
        for items in found:
            whole.count(items)
        out = []
        for text, items in zip(texts, found, strict=True):
            memory.count(items)
            items = memory.known(items, text)
            mentions, resolved = resolve(items, text, memory.states or whole.states)
            memory.meet(items, resolved, text)
            out.append(mentions)
        return out[1:]

    def _items(self, text: str, date: str) -> list[Item]:
        return phrases(actors_matching.items(self.automaton, text, date, self.first_names), text)


@cache
def _shipped() -> Actors:
    return _load(shipped("data") / "actors", None)


def _load(folder: Path, extra: Path | None) -> Actors:
    rows = actors_tables.read(folder) + (actors_tables.read(extra, own=True) if extra else [])
    return Actors(actors_matching.automaton(forms(rows)), first_names(rows))
