"""Word attributions: what each word of a segment adds to the logit of a label."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

PARTS = ("text", "target", "context")
# The part of headlines and neighbours: ``Attribution.surroundings``.
SURROUNDINGS = "surroundings"

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

    Of a model of articles these are the segment's own words, its neighbours staying as they are.
    ``sentences`` says what the logit loses without its context, or without each other sentence of
    the article ``surroundings``, which the headline begins.
    """

    task: str
    label: str
    words: tuple[SpanShare, ...]
    rest: float
    logit: float
    baseline: float
    sentences: tuple[SpanShare, ...] = ()
    surroundings: str = ""

    @property
    def gap(self) -> float:
        """The difference between logit and baseline that no share accounts for."""
        return self.logit - self.baseline - self.rest - sum(word.value for word in self.words)

    def normalised(self) -> tuple[SpanShare, ...]:
        """Return words and sentences with values from -1 to 1, divided by the largest of them."""
        every = (*self.words, *self.sentences)
        largest = max((abs(share.value) for share in every), default=0.0) or 1.0
        return tuple(replace(share, value=share.value / largest) for share in every)


def pooled(attributions: Sequence[Attribution], weights: Sequence[float]) -> Attribution:
    """Return the weighted sum, word by word, of several models' attributions for one segment."""

    def summed(name: str) -> tuple[SpanShare, ...]:
        shares = defaultdict[tuple[str, int, int], float](float)
        for attribution, weight in zip(attributions, weights, strict=True):
            for share in getattr(attribution, name):
                shares[share.part, share.start, share.end] += weight * share.value
        order = (*PARTS, SURROUNDINGS)
        return tuple(SpanShare(*span, shares[span]) for span in sorted(shares, key=lambda span: (order.index(span[0]), *span[1:])))

    def total(name: str) -> float:
        return float(sum(weight * getattr(attribution, name) for attribution, weight in zip(attributions, weights, strict=True)))

    first, read = attributions[0], max(attribution.surroundings for attribution in attributions)
    return Attribution(
        first.task, first.label, summed("words"), total("rest"), total("logit"), total("baseline"), summed("sentences"), read
    )  # fmt: skip


def by_word(pieces: Iterable[SpanShare], texts: Mapping[str, str]) -> tuple[tuple[SpanShare, ...], float]:
    """Sum the shares of spans by word; return the words in order, and the share outside of words.

    A span over several words is divided among them in proportion to the characters it covers.
    """
    words = [(part, *match.span()) for part, text in texts.items() for match in _WORD.finditer(text)]
    word_at = {(part, place): (part, start, end) for part, start, end in words for place in range(start, end)}
    totals, rest = defaultdict[tuple[str, int, int], float](float), 0.0
    for piece in pieces:
        places = ((piece.part, place) for place in range(piece.start, piece.end))
        sizes = Counter(word_at[place] for place in places if place in word_at)
        if not sizes:
            rest += piece.value
        for word, size in sizes.items():
            totals[word] += piece.value * size / sizes.total()
    return tuple(SpanShare(*word, totals[word]) for word in words if word in totals), rest
