"""Ordered pairs of actors as segments: what a dyad model reads, in training and afterwards.

A segment with the actors USA and Russland becomes as many segments as there are ordered pairs of them. Each has the first marked with ``@``
and the second with ``#``, after the typed markers of Zhou and Chen 2022, "An Improved Baseline for Sentence-level Relation Extraction"
(signs that any tokenizer knows, so that no vocabulary has to grow), and both named in ``target``, since an actor may have been named
only before the sentence. Either side may be nobody: a stance towards a thing, or harm without an agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from haltung.records import Segment

# No more actors of a segment are paired: the pairs grow with their square.
MOST = 5

SOURCE_MARK, TARGET_MARK = "@", "#"
_ARROW, _NOBODY = "→", "–"


class Named(Protocol):
    """What is asked of a mention: its position in the text, its words, the actor's code, and whether it names a mere place."""

    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def code(self) -> str: ...  # noqa: D102
    @property
    def place(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Span:
    """Where an actor's words stand in the sentence: characters ``start`` to ``end``."""

    start: int
    end: int


@dataclass(frozen=True)
class Actor:
    """An actor that a segment's stance may be from or towards; ``spans`` is empty where it is named only before the sentence."""

    code: str
    text: str
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Pair:
    """An ordered pair: who takes a stance towards whom; None is nobody, and at most one side is."""

    source: Actor | None
    target: Actor | None

    @property
    def codes(self) -> tuple[str, str]:
        """The codes of both sides, "" for nobody."""
        return (self.source.code if self.source else "", self.target.code if self.target else "")


def actors_of(own: Sequence[Named], before: Sequence[Named], most: int = MOST) -> tuple[Actor, ...]:
    """Return the distinct actors, those of the sentence first, in their order; then, from the nearest on, those named before it.

    Args:
        own: the mentions in the sentence. A mere place counts only where the sentence names no actor by that code elsewhere and there
            is room for it.
        before: the mentions in what stands before it, in their order.
        most: how many are kept.
    """
    spans: dict[str, list[Span]] = {}
    words: dict[str, str] = {}
    for mention in sorted(own, key=lambda mention: (mention.place, mention.start)):
        words.setdefault(mention.code, mention.text)
        spans.setdefault(mention.code, []).append(Span(mention.start, mention.end))
    for mention in [one for one in reversed(before) if not one.place]:
        words.setdefault(mention.code, mention.text)
    return tuple(Actor(code, text, tuple(sorted(spans.get(code, ()), key=lambda span: span.start))) for code, text in words.items())[:most]


def pairs_of(actors: Sequence[Actor]) -> list[Pair]:
    """Return all ordered pairs, those with nobody on one side last.

    An actor that stands twice in the sentence is also paired with itself ("die Regierung warf der Opposition …" of one country with one
    code).
    """
    both = [Pair(one, other) for one in actors for other in actors if one is not other or len(one.spans) > 1]
    return both + [Pair(one, None) for one in actors] + [Pair(None, one) for one in actors]


def marked(segment: Segment, pair: Pair) -> Segment:
    """Return the segment with the pair marked in its text and named in its ``target``; the id gets the codes behind it."""
    source, target = pair.codes
    marks: list[tuple[int, int, str]] = []
    for actor, mark in ((pair.source, SOURCE_MARK), (pair.target, TARGET_MARK)):
        if actor is not None:
            marks += [(span.start, span.end, mark) for span in actor.spans]
    if pair.source is pair.target and pair.source is not None:
        # One code on both sides: its first words act, the others are acted on.
        first, *rest = pair.source.spans
        marks = [(first.start, first.end, SOURCE_MARK), *((span.start, span.end, TARGET_MARK) for span in rest)]
    text = segment.text
    for start, end, mark in sorted(marks, reverse=True):
        text = f"{text[:start]}{mark} {text[start:end]} {mark}{text[end:]}"
    names = [_NOBODY if actor is None else actor.text for actor in (pair.source, pair.target)]
    return replace(segment, id=f"{segment.id}:{source}>{target}", text=text, target=f"{names[0]} {_ARROW} {names[1]}", labels={}, dyads=())
