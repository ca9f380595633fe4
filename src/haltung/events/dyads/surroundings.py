"""What stands around an actor's words, in words: preposition, article and neighbours tell a reader of German who acts on whom."""

from __future__ import annotations

import re

from haltung.events.records import Span

# So many words before the name are looked at for a preposition and an article.
_WINDOW = 3
# An actor that begins by this character stands at the beginning.
_BEGINNING = 30

_PREPOSITIONS = frozenset(
    re.findall(
        r"\w+",
        "von vom durch gegen gegenüber mit an am für vor nach in im aus bei zu zum zur über laut auf um unter zwischen seit wegen trotz",
    )
)
_ARTICLES = frozenset(re.findall(r"\w+", "der die das den dem des ein eine einen einem einer eines"))
_TOKEN = re.compile(r"[\w-]+|[„“,.:]")
# Sentences that go on with what the one before has named, or with somebody whom a pronoun stands for.
_OPENING = re.compile(r"„?(Er|Sie|Es|Dies\w*|Der|Die|Das|Ihr\w*|Sein\w*|Zudem|Auch|Außerdem)\b")


def of_sentence(text: str) -> list[str]:
    """Return how a sentence goes on with the one before it, and whether somebody is quoted; each as one word."""
    opening = _OPENING.match(text)
    return [*([f"beginnt_{opening[1]}"] if opening else []), *(["zitiert"] if "“" in text else [])]


def of_name(text: str, span: Span) -> list[str]:
    """Return what stands around the words of an actor at ``span``; each as one word, so that it is one feature of a bag of words."""
    start, end = span
    before, after = _TOKEN.findall(text[:start])[-_WINDOW:], _TOKEN.findall(text[end:])[:1]
    preposition, article = _nearest(before, _PREPOSITIONS), _nearest(before, _ARTICLES)
    told = [f"hinter_{preposition}", f"artikel_{article}", f"hinter_{preposition}_{article}"]
    told += [f"davor_{word.lower()}" for word in before[-1:]] + [f"danach_{word.lower()}" for word in after]
    quoted = text.count("„", 0, start) > text.count("“", 0, start)
    return [*told, *(["im_zitat"] if quoted else []), *(["am_anfang"] if start < _BEGINNING else [])]


def _nearest(words: list[str], known: frozenset[str]) -> str:
    return next((word.lower() for word in reversed(words) if word.lower() in known), "nichts")
