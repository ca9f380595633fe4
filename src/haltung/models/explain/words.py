"""What each word of a segment adds to a label, whatever the model: the record, and how the shares of its parts are summed per word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PARTS = ("text", "target", "context")

_WORD = re.compile(r"\w+(?:[-’'.]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class WordShare:
    """What the word at ``[start, end)`` of ``part`` (text, target or context) adds to the label's logit."""

    part: str
    start: int
    end: int
    value: float


@dataclass(frozen=True)
class Attribution:
    """Why a model leans to ``label`` for one segment.

    ``words`` are those that the model has read, each with its share; ``rest`` is the share of what is no word (special tokens, a prefix).
    ``logit`` is the label's, ``baseline`` what it is for an input without words; all shares together are their difference, but for
    ``gap``, the error of the method.
    """

    task: str
    label: str
    words: tuple[WordShare, ...]
    rest: float
    logit: float
    baseline: float

    @property
    def gap(self) -> float:
        """The logit's difference to the baseline less all shares."""
        return self.logit - self.baseline - self.rest - sum(word.value for word in self.words)

    def normalised(self) -> tuple[WordShare, ...]:
        """Return the words with values from -1 to 1: divided by the largest one's size."""
        largest = max((abs(word.value) for word in self.words), default=0.0) or 1.0
        return tuple(WordShare(word.part, word.start, word.end, word.value / largest) for word in self.words)


def pooled(attributions: Sequence[Attribution], weights: Sequence[float]) -> Attribution:
    """Return why several models lean to a label together: the shares of each, for one segment, times its weight, added up word by word."""
    shares: dict[tuple[str, int, int], float] = {}
    for attribution, weight in zip(attributions, weights, strict=True):
        for word in attribution.words:
            place = (word.part, word.start, word.end)
            shares[place] = shares.get(place, 0.0) + weight * word.value
    # In the order in which a reader meets them: that of the parts, then of the text.
    words = [WordShare(*place, shares[place]) for place in sorted(shares, key=lambda place: (PARTS.index(place[0]), *place[1:]))]

    def total(name: str) -> float:
        return float(sum(weight * getattr(attribution, name) for attribution, weight in zip(attributions, weights, strict=True)))

    first = attributions[0]
    return Attribution(first.task, first.label, tuple(words), total("rest"), total("logit"), total("baseline"))


@dataclass(frozen=True)
class Piece:
    """A piece of ``part`` at ``[start, end)``, such as a token or an n-gram, and what it adds."""

    part: str
    start: int
    end: int
    value: float


def summed(pieces: Iterable[Piece], texts: Mapping[str, str]) -> tuple[tuple[WordShare, ...], float]:
    """Return the words that pieces reach into, in order, with their shares, and the share of pieces in no word.

    A piece over several words is divided among them by the characters that it has of each.
    """
    spans = {part: [match.span() for match in _WORD.finditer(text)] for part, text in texts.items()}
    totals: dict[tuple[str, int], float] = {}
    rest = 0.0
    for piece in pieces:
        own = spans.get(piece.part, [])
        overlaps = _overlaps(piece, own)
        reach = sum(size for _, size in overlaps)
        if not reach:
            rest += piece.value
        for place, size in overlaps:
            totals[piece.part, place] = totals.get((piece.part, place), 0.0) + piece.value * size / reach
    shares = (
        WordShare(part, *spans[part][place], totals[part, place])
        for part in texts
        for place in range(len(spans[part]))
        if (part, place) in totals
    )
    return tuple(shares), rest


def _overlaps(piece: Piece, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the places of the words that the piece touches, and by how many characters."""
    from bisect import bisect_right

    place = max(0, bisect_right(spans, (piece.start, 1 << 60)) - 1)
    out = []
    while place < len(spans) and spans[place][0] < piece.end:
        size = min(piece.end, spans[place][1]) - max(piece.start, spans[place][0])
        if size > 0:
            out.append((place, size))
        place += 1
    return out
