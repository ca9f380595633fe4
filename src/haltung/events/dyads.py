"""Dyads by a trained model: it tells of each candidate whether and as whom it acts or is meant, and the likeliest pairs are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from haltung.errors import UserError
from haltung.events.actors import Mention
from haltung.events.article import Classify
from haltung.events.candidates import ITSELF, MOST, NONE, Candidate, candidates, marked
from haltung.events.records import ScoredDyad, Span
from haltung.events.rules import NEUTRAL
from haltung.events.view import SIDES, STANCE
from haltung.records import Prediction, Segment

# A sentence that is neutral by this probability is not asked about; a probability of 0 has no logarithm.
_SURE, _TINY = 0.95, 1e-9

# Who is a side by less than this is left out; all ways to be one would make hundreds of pairs.
_LEAST = 0.01


@dataclass(frozen=True)
class Side:
    """Who may be one side of a dyad: ``code`` ("" for nobody), how probable, and the words, where they stand in the sentence."""

    code: str
    probability: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Choice:
    """How dyads are chosen from what the two models say; ``haltung dyads tune=true`` finds these numbers on dev.

    ``least``: of a segment that is not neutral the likeliest pair is kept, as the label standard asks for, and any other from this
    probability on. ``alike``: one actor on both sides is so many times as likely. ``neutral`` multiplies the probability of no stance.
    ``second`` is the power of the dyad model's own stance beside the sentence model's, 0 to ignore it. ``nobody`` multiplies the
    probability that a side is nobody.
    """

    least: float = 0.4
    alike: float = 0.3
    neutral: float = 1.0
    second: float = 0.5
    nobody: float = 1.0

    def __post_init__(self) -> None:
        """Raise ``UserError`` where a number is out of its range."""
        for name, value in asdict(self).items():
            if not 0 <= value < float("inf"):
                raise UserError(f"the choice of dyads has {name} {value}; expected a number of at least 0")


@dataclass(frozen=True)
class Trained:
    """Dyads by a model of the corpus view ``dyads``.

    ``predict`` labels marked candidates (see ``candidates.marked``). The stance is the sentence's, which 96 to 99 % of gold dyads have: by
    the sentence model, with the dyad model's as a second opinion. A pair's probability is the product of its sides'; that of nobody is
    what all candidates leave.
    """

    predict: Classify
    choice: Choice = field(default_factory=Choice)
    most: int = MOST

    def pairs(
        self,
        segments: Sequence[Segment],
        mentions: Sequence[Sequence[Mention]],
        predictions: Sequence[Prediction],
        headline: Sequence[Mention] = (),
    ) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment of an article, in its order; none where its stance is neutral."""
        found = self.asked(mentions, predictions, headline)
        rows = [marked(segment, one) for segment, own in zip(segments, found, strict=True) for one in own]
        answers = iter(self.predict(rows) if rows else [])
        return [
            self.chosen(own, [next(answers) for _ in own], prediction.probabilities["stance"])
            for prediction, own in zip(predictions, found, strict=True)
        ]

    def asked(
        self, mentions: Sequence[Sequence[Mention]], predictions: Sequence[Prediction], headline: Sequence[Mention] = ()
    ) -> list[tuple[Candidate, ...]]:
        """Return the candidates that the model is asked about in each segment of an article; none where it is surely neutral."""
        whole, first = ([headline, *mentions], 1) if headline else (mentions, 0)
        return [
            candidates(whole, place + first, self.most) if prediction.probabilities["stance"].get(NEUTRAL, 0.0) < _SURE else ()
            for place, prediction in enumerate(predictions)
        ]

    def chosen(self, found: Sequence[Candidate], answers: Sequence[Prediction], stances: Mapping[str, float]) -> list[ScoredDyad]:
        """Return the dyads of one segment, the likeliest first.

        Args:
            found: its candidates.
            answers: of the model, in their order.
            stances: the probability of each stance by the sentence model.
        """
        weighed = self._stances(answers, stances)
        stance = max(weighed, key=weighed.__getitem__)
        if stance == NEUTRAL:
            return []
        sure = weighed[stance]
        sources, targets = (sides(found, [answer.probabilities[side] for answer in answers], self.choice.nobody) for side in SIDES)
        scored = [
            (source.probability * target.probability * (self.choice.alike if source.code == target.code else 1.0), source, target)
            for source in sources
            for target in targets
            if source.code or target.code
        ]
        if not scored:
            return [ScoredDyad("", "", stance, sure)]
        scored.sort(key=lambda one: -one[0])
        kept: list[ScoredDyad] = []
        for score, source, target in scored:
            if kept and score < self.choice.least:
                break
            # One code on both sides: its first words act, the others are acted on.
            ends = target.spans[1:] if source.code == target.code and len(target.spans) > 1 else target.spans
            kept.append(ScoredDyad(source.code, target.code, stance, min(1.0, score) * sure, _first(source.spans), _first(ends)))
        return kept

    def _stances(self, answers: Sequence[Prediction], stances: Mapping[str, float]) -> dict[str, float]:
        """Return the probability of each stance by both models: a product of powers, as of experts (Hinton 2002), scaled to sum to 1."""
        weighed = {}
        for label, probability in stances.items():
            second = [math.log(answer.probabilities[STANCE].get(label, 0.0) + _TINY) for answer in answers if STANCE in answer.probabilities]
            own = math.log(probability + _TINY) + (self.choice.second * sum(second) / len(second) if second else 0.0)
            weighed[label] = math.exp(own) * (self.choice.neutral if label == NEUTRAL else 1.0)
        total = sum(weighed.values())
        return {label: value / total for label, value in weighed.items()}


def sides(found: Sequence[Candidate], answers: Sequence[Mapping[str, float]], nobody: float = 1.0) -> list[Side]:
    """Return who may be one side, with nobody last; of several ways to say one code the likeliest counts.

    Args:
        found: the candidates.
        answers: of each, the probability of each label.
        nobody: what the probability of nobody is multiplied by.
    """
    best: dict[str, Side] = {}
    for candidate, answer in zip(found, answers, strict=True):
        nobody *= answer[NONE]
        for label, probability in answer.items():
            code = candidate.code_as(label)
            if code and probability >= _LEAST and (code not in best or probability > best[code].probability):
                # Somebody inside a state has no words that are known.
                spans = tuple((span.start, span.end) for span in candidate.spans) if label == ITSELF else ()
                best[code] = Side(code, probability, spans)
    return [*best.values(), Side("", nobody)]


def _first(spans: Sequence[Span]) -> Span | None:
    return spans[0] if spans else None
