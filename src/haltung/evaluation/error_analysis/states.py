"""Where a German text names a state: by its name, its adjective or its capital. Good enough to test a model's habits, no gazetteer.

Names are Babel's German territories (Unicode CLDR); adjectives, capitals and further names are in ``states.tsv``. Not found are names of
inhabitants (``Russen``), names inside a compound written as one word (``Ukrainekrieg``), and palaces and seats (``Kreml``). The EU counts
as a state, and its seat as the capital of Belgium.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

ENDINGS = ("", "e", "er", "en", "em", "es")

# How a state may be named. A resident form stays as it is in every case: "Moskauer Regierung", "Schweizer Regierung".
KINDS = ("name", "genitive", "adjective", "capital", "capital_genitive", "resident")

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class State:
    """A state. ``gender`` is the class of its name (see ``states.tsv``); adjective and capital are "" where the table has none."""

    code: str
    name: str
    gender: str
    adjective: str
    capital: str

    @property
    def is_regular(self) -> bool:
        """Whether it can stand for another: one word that takes a genitive -s, with an adjective and a capital that decline by rule."""
        whole = self.name.isalpha() and self.capital.isalpha() and self.adjective.isalpha()
        return whole and self.name[-1] not in "szxß" and self.capital[-1] not in "szxß" and self.gender != "x"


@dataclass(frozen=True)
class Form:
    """One way to write a state: its class, kind, and, for an adjective, its ending."""

    code: str
    kind: str
    gender: str = ""
    ending: str = ""


@dataclass(frozen=True)
class Mention:
    """A form found in a text, at ``[start, end)``."""

    start: int
    end: int
    form: Form


def mentions(text: str) -> list[Mention]:
    """Return where the text names states, in order and without overlap; of two forms that begin at the same word, the longer one."""
    found, end = [], 0
    forms = _forms()
    for word in _WORD.finditer(text):
        if word.start() < end:
            continue
        for written, form in forms.get(word[0], ()):
            end_ = word.start() + len(written)
            if text.startswith(written, word.start()) and not text[end_ : end_ + 1].isalnum():
                found.append(Mention(word.start(), end_, form))
                end = end_
                break
    return found


@cache
def states() -> dict[str, State]:
    """Return all states by code."""
    from babel import Locale

    territories = Locale("de").territories
    # Babel has some names that no newspaper writes.
    usual = {"US": "USA", "GB": "Großbritannien", "VA": "Vatikan", "MD": "Moldau", "CI": "Elfenbeinküste", "EU": "EU"}
    return {
        code: State(code, usual.get(code, territories[code]), "n" if code == "GB" else gender, adjective, capital)
        for code, gender, adjective, capital, _ in _rows()
    }


@cache
def _forms() -> dict[str, tuple[tuple[str, Form], ...]]:
    """Return the forms by their first word, the longest first."""
    written: dict[str, Form] = {}
    for form, how in _written():
        written.setdefault(form, how)
    out: dict[str, list[tuple[str, Form]]] = {}
    for form, how in sorted(written.items(), key=lambda item: (-len(item[0]), item[0])):
        first = _WORD.match(form)
        if first:
            out.setdefault(first[0], []).append((form, how))
    return {first: tuple(forms) for first, forms in out.items()}


def _written() -> Iterator[tuple[str, Form]]:
    from babel import Locale

    territories = Locale("de").territories
    for code, gender, adjective, capital, others in _rows():
        for name in (f"{territories[code]}:{gender}", *others):
            written, _, kind = name.partition(":")
            kind = kind or gender
            yield written, Form(code, "name", kind)
            # Feminine and plural names have no genitive of their own; "Vereinigten Königreichs" stands in the table.
            if kind in ("n", "m"):
                yield from ((form, Form(code, "genitive", kind)) for form in _genitives(written))
        if adjective:
            stems = (adjective, adjective[0].upper() + adjective[1:])
            yield from ((stem + ending, Form(code, "adjective", ending=ending)) for stem in stems for ending in ENDINGS)
        if capital:
            yield capital, Form(code, "capital")
            yield from ((form, Form(code, "capital_genitive")) for form in _genitives(capital))
            yield resident(capital), Form(code, "resident")
    yield "Schweizer", Form("CH", "resident")
    for stem in ("US-amerikanisch",):
        yield from ((stem + ending, Form("US", "adjective", ending=ending)) for ending in ENDINGS)


def resident(capital: str) -> str:
    """Return ``Moskauer`` for ``Moskau``."""
    return capital + ("r" if capital.endswith("e") else "er")


def _genitives(name: str) -> tuple[str, ...]:
    return (f"{name}’", f"{name}'") if name[-1] in "szxß" else (f"{name}s",)


@cache
def _rows() -> tuple[tuple[str, str, str, str, tuple[str, ...]], ...]:
    """Return code, class, adjective, capital and other names of each state."""
    text = resources.files("haltung.evaluation.error_analysis").joinpath("states.tsv").read_text(encoding="utf-8")
    out = []
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        code, gender, adjective, capital, *others = (part.strip() for part in line.split("\t"))
        names = tuple(name for name in "|".join(others).split("|") if name)
        out.append((code, gender, "" if adjective == "-" else adjective, "" if capital == "-" else capital, names))
    return tuple(out)
