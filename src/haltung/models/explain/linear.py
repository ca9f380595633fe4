"""Which words a linear model's answer rests on: exactly, since its log odds are a sum over features."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from haltung.models.explain.words import Attribution, Piece, WordShare, summed
from haltung.records import Segment

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

    from haltung.models.linear import Features, LinearModel

_TOKEN = re.compile(r"(?u)\b\w+\b")
_CHUNK = re.compile(r"\S+")


def contributions(model: LinearModel, segments: Sequence[Segment], task: str, labels: Sequence[str]) -> list[Attribution]:
    """Return what each word adds to the label's log odds (one label against the rest), which have the intercept for their baseline.

    A feature's share is its TF-IDF value times its coefficient, divided evenly among the places where it occurs, and there among the
    words that it spans.

    Raises:
        UserError: the scheme has no such task or label.
    """
    features, weights = model.features[model.spec.reads_of(task)], model.weights[task]
    out = []
    for segment, label in zip(segments, labels, strict=True):
        place = model.scheme[task].index(label)
        row = np.asarray(features.transform([segment]).todense())[0]
        values = row * weights.coefficients[place] * weights.scale[place]
        baseline = float(weights.scale[place] * weights.intercept[place] + weights.shift[place])
        shares, rest = _shares(features, segment, values)
        out.append(Attribution(task, label, shares, rest, float(baseline + values.sum(dtype=np.float64)), baseline))
    return out


def _shares(features: Features, segment: Segment, values: np.ndarray) -> tuple[tuple[WordShare, ...], float]:
    """Return the words' shares of ``values``, ``[features]``, and what falls on no word."""
    texts = {"text": segment.text, **{part: getattr(segment, part) for part in ("target", "context") if part in features.reads}}
    # As the model joins them.
    before = [(part, text) for part, text in texts.items() if part != "text" and text]
    pieces: list[Piece] = []
    start = 0
    for name, vectorizer in features.parts.items():
        size = len(vectorizer.idf_)
        own = values[start : start + size]
        start += size
        parts = [("text", segment.text)] if name.startswith("text") else before
        joined, starts = _joined(parts)
        found = list(_occurrences(vectorizer, joined, is_words=name.endswith("words")))
        counts = np.bincount([feature for feature, _, _ in found], minlength=size)
        for feature, low, high in found:
            if own[feature]:
                pieces += _split(low, high, float(own[feature]) / int(counts[feature]), starts)
    return summed(pieces, texts)


def _joined(parts: Sequence[tuple[str, str]]) -> tuple[str, list[tuple[str, int, int]]]:
    """Return the parts with a space between them, and where each begins and ends in it."""
    starts, at = [], 0
    for part, text in parts:
        starts.append((part, at, at + len(text)))
        at += len(text) + 1
    return " ".join(text for _, text in parts), starts


def _occurrences(vectorizer: TfidfVectorizer, text: str, is_words: bool) -> Iterator[tuple[int, int, int]]:
    """Return each occurrence of a known feature with the characters that it spans."""
    known = getattr(vectorizer, "vocabulary_", None) or vectorizer.vocabulary
    if not is_words:
        analyse = vectorizer.build_analyzer()
        for chunk in _CHUNK.finditer(text):
            # An n-gram of characters never leaves its word, to which its whole share goes.
            yield from ((known[gram], *chunk.span()) for gram in analyse(chunk[0]) if gram in known)
        return
    lowered = text.lower()
    # A letter may become two when it is lowered (İ); the places then shift, so such a text is searched as it stands.
    tokens = list(_TOKEN.finditer(lowered if len(lowered) == len(text) else text))
    shortest, longest = vectorizer.ngram_range
    for size in range(shortest, longest + 1):
        for first in range(len(tokens) - size + 1):
            gram = " ".join(token[0].lower() for token in tokens[first : first + size])
            if gram in known:
                yield known[gram], tokens[first].start(), tokens[first + size - 1].end()


def _split(low: int, high: int, value: float, starts: Sequence[tuple[str, int, int]]) -> Iterator[Piece]:
    """Return the piece, divided by length where it spans two parts."""
    touched = [(part, max(low, start) - start, min(high, end) - start) for part, start, end in starts if low < end and start < high]
    total = sum(end - start for _, start, end in touched)
    for part, start, end in touched:
        yield Piece(part, start, end, value * (end - start) / total)
