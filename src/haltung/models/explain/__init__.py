"""Word attributions: what each word of a segment adds to the logit of a label."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

PARTS = ("text", "target", "context")

_WORD = re.compile(r"\w+(?:[-’'.]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class SpanShare:
    """What a span ``[start, end)`` of a part, such as a word or a token, adds to a logit."""

    part: str
    start: int
    end: int
    value: float


@dataclass(frozen=True)
class Attribution:
    """What the words of one segment add to the logit of ``label``.

    The shares of ``words`` (those that the model reads) and ``rest`` (special tokens, a prefix) add
    up to ``logit`` minus ``baseline``, the logit of an input without words, up to ``gap``.
    """

    task: str
    label: str
    words: tuple[SpanShare, ...]
    rest: float
    logit: float
    baseline: float

    @property
    def gap(self) -> float:
        """The difference between logit and baseline that no share accounts for."""
        return self.logit - self.baseline - self.rest - sum(word.value for word in self.words)

    def normalised(self) -> tuple[SpanShare, ...]:
        """Return the words with values from -1 to 1, divided by the largest absolute value."""
        largest = max((abs(word.value) for word in self.words), default=0.0) or 1.0
        return tuple(replace(word, value=word.value / largest) for word in self.words)


def pooled(attributions: Sequence[Attribution], weights: Sequence[float]) -> Attribution:
    """Return the weighted sum, word by word, of several models' attributions for one segment."""
    shares: dict[tuple[str, int, int], float] = {}
    for attribution, weight in zip(attributions, weights, strict=True):
        for word in attribution.words:
            span = (word.part, word.start, word.end)
            shares[span] = shares.get(span, 0.0) + weight * word.value
    words = [SpanShare(*span, shares[span]) for span in sorted(shares, key=lambda span: (PARTS.index(span[0]), *span[1:]))]

    def total(name: str) -> float:
        return float(sum(weight * getattr(attribution, name) for attribution, weight in zip(attributions, weights, strict=True)))

    first = attributions[0]
    return Attribution(first.task, first.label, tuple(words), total("rest"), total("logit"), total("baseline"))


def by_word(pieces: Iterable[SpanShare], texts: Mapping[str, str]) -> tuple[tuple[SpanShare, ...], float]:
    """Sum the shares of spans by word; return the words in order, and the share outside of words.

    A span over several words is divided among them in proportion to the characters it covers.
    """
    spans = {part: [match.span() for match in _WORD.finditer(text)] for part, text in texts.items()}
    totals: dict[tuple[str, int], float] = {}
    rest = 0.0
    for piece in pieces:
        words = spans.get(piece.part, [])
        overlaps = []
        for word in range(max(0, bisect_right(words, (piece.start, 1 << 60)) - 1), len(words)):
            start, end = words[word]
            if start >= piece.end:
                break
            if (size := min(piece.end, end) - max(piece.start, start)) > 0:
                overlaps.append((word, size))
        reach = sum(size for _, size in overlaps)
        if not reach:
            rest += piece.value
        for word, size in overlaps:
            totals[piece.part, word] = totals.get((piece.part, word), 0.0) + piece.value * size / reach
    shares = (
        SpanShare(part, *span, totals[part, word]) for part in texts for word, span in enumerate(spans[part]) if (part, word) in totals
    )
    return tuple(shares), rest
