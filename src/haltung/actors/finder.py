"""Who is named in a German sentence, and with which code: states, offices, organisations, persons.

    actors = Actors.load()
    actors.find("Der Kreml warf Kiew vor, die US-Außenministerin zu täuschen.")

The tables are data (``data/actors``, see its README.md); a folder in the same format adds to them.
Only what the tables name is found: an Aho-Corasick automaton over all inflected forms, then rules
for words that belong together. Codes are those of the label standard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from haltung.actors import matching, tables
from haltung.actors.forms import first_names, forms
from haltung.actors.matching import Item, Mention, codes
from haltung.actors.memory import Memory, resolve
from haltung.actors.phrases import phrases
from haltung.files import shipped

__all__ = ["Actors", "Mention", "codes"]


@dataclass(frozen=True)
class Actors:
    """A matcher over tables. Loading takes tenths of a second, a sentence some microseconds."""

    automaton: Any
    first_names: frozenset[str]

    @classmethod
    def load(cls, folder: Path | None = None, extra: Path | None = None) -> Actors:
        """Load tables: the shipped ones or those of ``folder``, and the user's in ``extra``.

        A form that stands in ``extra`` counts only as it stands there.

        Raises:
            UserError: a table is missing or wrong (with file and line), or pyahocorasick is not
                installed.
        """
        return _shipped() if folder is None and extra is None else _load(folder or shipped("data") / "actors", extra)

    def find(self, text: str, date: str = "") -> list[Mention]:
        """Return the actors of one sentence in order, without overlap.

        ``date`` (ISO) decides who was in office and which party governed; without it the latest
        counts. A role that names no state ("die Regierung") gets that of the sentence if it names
        exactly one, and is left out otherwise.

        Raises:
            UserError: the date is no ISO date.
        """
        return resolve(self._items(text, tables.day(date)), text, {})[0]

    def article(self, sentences: Sequence[str], date: str = "", headline: str = "") -> list[list[Mention]]:
        """Return the actors of each sentence of an article, read in order.

        The article's persons ("der russische Außenminister Sergej Lawrow", later "Lawrow") and
        states are remembered: a role that names no state gets the one named most so far, or most in
        the whole article if there was none yet.

        Raises:
            UserError: the date is no ISO date.
        """
        date = tables.day(date)
        texts = [headline, *sentences]
        items_of = [self._items(text, date) for text in texts]
        memory, whole = Memory(), Memory()
        for items in items_of:
            whole.count(items)
        out = []
        for text, items in zip(texts, items_of, strict=True):
            memory.count(items)
            items = memory.known(items, text)
            mentions, resolved = resolve(items, text, memory.states or whole.states)
            memory.meet(items, resolved, text)
            out.append(mentions)
        return out[1:]

    def _items(self, text: str, date: str) -> list[Item]:
        return phrases(matching.items(self.automaton, text, date, self.first_names), text)


@cache
def _shipped() -> Actors:
    return _load(shipped("data") / "actors", None)


def _load(folder: Path, extra: Path | None) -> Actors:
    rows = tables.read(folder) + (tables.read(extra, extra=True) if extra else [])
    return Actors(matching.automaton(forms(rows)), first_names(rows))
