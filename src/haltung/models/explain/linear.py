"""Word attributions of a linear model, exact since its log odds are a sum over features."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from haltung.models.explain import Attribution, SpanShare, by_word
from haltung.models.linear import Features, LinearModel
from haltung.records import Segment


def contributions(model: LinearModel, segments: Sequence[Segment], task: str, labels: Sequence[str]) -> list[Attribution]:
    """Return what each word adds to the log odds of the given label (one against the rest).

    The baseline is the intercept. A feature's share is its TF-IDF value times its coefficient,
    divided evenly among its occurrences, and there among the words that it spans. ``UserError`` is
    raised if the scheme has no such task or label.
    """
    features, weights = model.features[model.spec.reads_of(task)], model.weights[task]
    out = []
    for segment, label in zip(segments, labels, strict=True):
        number = model.scheme[task].index(label)
        row = np.asarray(features.transform([segment]).todense())[0]
        values = row * weights.coefficients[number] * weights.scale[number]
        baseline = float(weights.scale[number] * weights.intercept[number] + weights.shift[number])
        words, rest = _words(features, segment, values)
        out.append(Attribution(task, label, words, rest, float(baseline + values.sum(dtype=np.float64)), baseline))
    return out


def _words(features: Features, segment: Segment, values: np.ndarray) -> tuple[tuple[SpanShare, ...], float]:
    """Divide ``values``, ``[features]``, among words; return also the share outside of words."""
    texts = {"text": segment.text, **{part: getattr(segment, part) for part in ("target", "context") if part in features.view}}
    before = [(part, text) for part, text in texts.items() if part != "text" and text]
    pieces: list[SpanShare] = []
    ends_of_parts = np.cumsum([len(vectorizer.idf_) for vectorizer in features.parts.values()])
    for (name, vectorizer), shares in zip(features.parts.items(), np.split(values, ends_of_parts[:-1]), strict=True):
        # The model joins the parts with spaces: here with where each begins and ends
        parts = [("text", segment.text)] if name.startswith("text") else before
        ends = list(accumulate((len(text) + 1 for _, text in parts), initial=0))
        starts = [(part, first, first + len(text)) for (part, text), first in zip(parts, ends, strict=False)]
        joined = " ".join(text for _, text in parts)
        occurrences = list(_occurrences(vectorizer, joined, is_words=name.endswith("words")))
        counts = np.bincount([feature for feature, _, _ in occurrences], minlength=len(shares))
        for feature, low, high in occurrences:
            if shares[feature]:
                pieces += _split(low, high, float(shares[feature]) / int(counts[feature]), starts)
    return by_word(pieces, texts)


def _occurrences(vectorizer: TfidfVectorizer, text: str, is_words: bool) -> Iterator[tuple[int, int, int]]:
    """Yield each occurrence of a known feature: its number, start and end."""
    known: dict[str, int] = vectorizer.vocabulary_
    if not is_words:
        analyse = vectorizer.build_analyzer()
        for chunk in re.finditer(r"\S+", text):
            # A character n-gram stays within a word, which gets its whole share.
            yield from ((known[gram], *chunk.span()) for gram in analyse(chunk[0]) if gram in known)
        return
    lowered = text.lower()
    # Some letters become two in lower case (İ), which would shift positions.
    tokens = list(re.finditer(r"\b\w+\b", lowered if len(lowered) == len(text) else text))
    shortest, longest = vectorizer.ngram_range
    for size in range(shortest, longest + 1):
        for first in range(len(tokens) - size + 1):
            gram = " ".join(token[0].lower() for token in tokens[first : first + size])
            if gram in known:
                yield known[gram], tokens[first].start(), tokens[first + size - 1].end()


def _split(low: int, high: int, value: float, starts: Sequence[tuple[str, int, int]]) -> Iterator[SpanShare]:
    """Divide a value by length among the parts that its span touches."""
    touched = [(part, max(low, start) - start, min(high, end) - start) for part, start, end in starts if low < end and start < high]
    total = sum(end - start for _, start, end in touched)
    for part, start, end in touched:
        yield SpanShare(part, start, end, value * (end - start) / total)
