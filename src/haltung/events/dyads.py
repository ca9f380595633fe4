"""Dyads by a trained model: each ordered pair of a sentence's actors is read with its marks, and the likeliest pairs are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from haltung.events.actors import Mention
from haltung.events.article import Classify
from haltung.events.pairs import MOST, Actor, Pair, actors_of, marked, pairs_of
from haltung.events.records import ScoredDyad, Span
from haltung.events.rules import NEUTRAL
from haltung.events.view import NONE
from haltung.records import Prediction, Segment

# A probability of 0 has no logarithm.
_TINY = 1e-9


@dataclass(frozen=True)
class Trained:
    """Dyads by a model of the corpus view ``dyads``.

    ``predict`` labels marked pairs (see ``pairs.marked``). Of a segment that is not neutral the likeliest pair is always kept, as the label
    standard asks for, and any other from the probability ``least`` on that some stance holds. Which stance it is, pair and sentence
    decide together: the product of the pair's probability, given that there is one, and of the sentence's, to the power ``sentence``.
    """

    predict: Classify
    least: float = 0.5
    sentence: float = 1.0
    most: int = MOST

    def pairs(
        self, segments: Sequence[Segment], mentions: Sequence[Sequence[Mention]], predictions: Sequence[Prediction]
    ) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment of an article, in its order; none where its stance is neutral or no actor is known."""
        offered = [
            self._offered(number, mentions) if prediction.labels["stance"] != NEUTRAL else []
            for number, prediction in enumerate(predictions)
        ]
        rows = [marked(segment, pair) for segment, pairs in zip(segments, offered, strict=True) for pair in pairs]
        answers = iter(self.predict(rows) if rows else [])
        out = []
        for prediction, pairs in zip(predictions, offered, strict=True):
            out.append(self.chosen(pairs, [next(answers) for _ in pairs], prediction))
        return out

    def chosen(self, pairs: Sequence[Pair], answers: Sequence[Prediction], prediction: Prediction) -> list[ScoredDyad]:
        """Return the dyads of one segment, the likeliest first.

        Args:
            pairs: that its actors make.
            answers: of the model, in their order.
            prediction: of the segment itself.
        """
        scored = sorted(
            ((1 - answer.probabilities["stance"][NONE], place) for place, answer in enumerate(answers)), key=lambda one: (-one[0], one[1])
        )
        kept: list[ScoredDyad] = []
        for score, place in scored:
            if kept and score < self.least:
                break
            pair = pairs[place]
            stance = self._stance(answers[place], prediction)
            if not any(_says(one, pair, stance) for one in kept):
                kept.append(ScoredDyad(*pair.codes, stance, score, _first(pair.source), _last(pair)))
        return kept

    def _offered(self, number: int, mentions: Sequence[Sequence[Mention]]) -> list[Pair]:
        """Return the pairs of a segment; before it stand the article's first segment and the one before, as in the model's context."""
        before = [*mentions[0], *mentions[number - 1]] if number else []
        return pairs_of(actors_of(mentions[number], before, self.most))

    def _stance(self, answer: Prediction, prediction: Prediction) -> str:
        own, whole = answer.probabilities["stance"], prediction.probabilities["stance"]

        def likely(label: str) -> float:
            return math.log(own[label] + _TINY) + self.sentence * math.log(whole.get(label, 0.0) + _TINY)

        return max((label for label in own if label != NONE), key=likely)


def _says(kept: ScoredDyad, pair: Pair, stance: str) -> bool:
    """Tell whether a kept dyad says more than this pair would: the same stance of or towards the same, with both sides named."""
    source, target = pair.codes
    if stance != kept.stance or (source and target):
        return False
    return kept.source == source if source else kept.target == target


def _first(actor: Actor | None) -> Span | None:
    return (actor.spans[0].start, actor.spans[0].end) if actor and actor.spans else None


def _last(pair: Pair) -> Span | None:
    """Return the words of the target; where one code is on both sides, those that are marked as the target."""
    spans = pair.target.spans if pair.target else ()
    spans = spans[1:] if pair.target is pair.source and len(spans) > 1 else spans
    return (spans[0].start, spans[0].end) if spans else None
