"""Explain an answer of any model by occlusion: what its label loses without each word."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from haltung.evaluation.error_analysis.analysis import Mistake, Word
from haltung.models.predictor import Predictor
from haltung.records import Segment, by_group

# The part of headline and neighbours (``Mistake.surroundings``), and the text's placeholder.
SURROUNDINGS, _ITSELF = "surroundings", "[…]"
_NEIGHBOURS = 3  # per side are read with a sentence, and omitted one by one, which takes time
_WORD = re.compile(r"\w+(?:[-’'.]\w+)*")  # punctuation is not omitted: that would take a sixth longer
_LEAST = 1e-7  # probabilities are clipped to this distance from 0 and 1, about the precision of float32


def explained(model: Predictor, segments: Sequence[Segment], mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Return mistakes with the weight of each word for their label, and with their surroundings.

    Each word is omitted and the rest is read again (occlusion; Li, Monroe and Jurafsky 2016,
    "Understanding Neural Networks through Representation Erasure"). Its weight is the decrease of
    the label's log odds, divided by the largest absolute change over all words. For a model that
    reads articles, headline and neighbours count as one word each, and three neighbours on each
    side are read. ``segments`` are those of the mistakes, and their neighbours.
    """
    if not mistakes:
        return []
    own_of, near_of = {one.id: one for one in segments}, dict[str, Sequence[Segment]]()
    for article in by_group(one for one in segments if model.reads_articles and one.article and one.position is not None).values():
        article.sort(key=lambda one: one.position or 0)
        near_of |= {one.id: article[max(0, at - _NEIGHBOURS) : at + _NEIGHBOURS + 1] for at, one in enumerate(article)}
    asked = [_variants(own_of[mistake.id], near_of.get(mistake.id, ())) for mistake in mistakes]
    every = [variant for variants, _, _ in asked for variant in variants]
    read = [replace(one, id=f"{n}/{one.id}", article=one.article and str(n)) for n, variant in enumerate(every) for one in variant]
    answers, firsts = model.probabilities(read, precision="fp32"), accumulate(map(len, every), initial=0)
    out = []
    for mistake, (variants, words, surroundings) in zip(mistakes, asked, strict=True):
        rows, label = [next(firsts) for _ in variants], model.scheme[mistake.task].index(mistake.label)
        likely = answers[mistake.task][rows, label].clip(_LEAST, 1 - _LEAST)
        odds = np.log(likely) - np.log1p(-likely)
        lost = odds[0] - odds[1:]
        # Three digits are finer than a shade of colour can show, and keep the report small.
        weights = (lost / (np.abs(lost).max(initial=0) or 1)).round(3).tolist()
        weighed = tuple(replace(word, weight=weight) for word, weight in zip(words, weights, strict=True))
        out.append(replace(mistake, words=weighed, surroundings=surroundings))
    return out


def _variants(own: Segment, near: Sequence[Segment]) -> tuple[list[list[Segment]], list[Word], str]:
    """Return a segment complete and without each word, the words, and the surroundings.

    Each variant begins with the segment, followed by the others of ``near`` that are read with it:
    itself and its neighbours in order, or empty if it is read alone, after its context.
    """
    others = [one for one in near if one is not own]
    variants, words, place = [[own, *others]], list[Word](), 0
    for part in ("text", "target") if near else ("text", "target", "context"):
        text = getattr(own, part)
        for start, end in (found.span() for found in _WORD.finditer(text)):
            without: dict[str, Any] = {part: text[:start] + text[end:]}
            words.append(Word(part, start, end, 0.0))
            variants.append([replace(own, **without), *others])
    sentences = [own.headline, *(_ITSELF if one is own else one.text for one in near)] if near else []
    for number, text in enumerate(sentences):
        if text and text != _ITSELF:
            kept = [one for one in others if number == 0 or one is not near[number - 1]]
            # A member of an ensemble may read the same words as the context.
            headline, context = own.headline if number else "", own.context.replace(text, " ")
            words.append(Word(SURROUNDINGS, place, place + len(text), 0.0))
            variants.append([replace(one, headline=headline, context=context) for one in (own, *kept)])
        place += len(text) + 1 if text else 0
    surroundings = " ".join(filter(None, sentences))
    return variants, words, "" if surroundings == _ITSELF else surroundings
