"""Dyads by a trained model: it tells of each candidate whether and as whom it acts or is meant, and the likeliest pairs are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from haltung.actors.finder import Mention
from haltung.events.dyads.dataset import SIDES
from haltung.events.dyads.features import ITSELF, MOST, NONE, Candidate, candidates, marked
from haltung.events.dyads.rules import NEUTRAL
from haltung.events.dyads.thresholds import Choice
from haltung.events.pipeline import Classify
from haltung.events.records import ScoredDyad, Span
from haltung.records import Prediction, Segment

# A sentence that is neutral by this probability is not asked about.
_SURE = 0.95

# Who is a side by less than this is left out; all ways to be one would make hundreds of pairs.
_LEAST = 0.01


@dataclass(frozen=True)
class Side:
    """Who may be one side of a dyad: ``code`` ("" for nobody), how probable, and the words, where they stand in the sentence."""

    code: str
    probability: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Trained:
    """Dyads by a model of the corpus view ``dyads``.

    ``predict`` labels marked candidates (see ``candidates.marked``). The stance is the sentence's, which 96 to 99 % of gold dyads have: by
    the sentence model. A pair's probability is the product of its sides'; that of nobody is what all candidates leave.
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
        asked = self.asked(segments, mentions, predictions, headline)
        answers = iter(self.predict([row for _, rows in asked for row in rows]) if any(rows for _, rows in asked) else [])
        return [
            self.chosen(found, [next(answers) for _ in rows], prediction.probabilities["stance"])
            for (found, rows), prediction in zip(asked, predictions, strict=True)
        ]

    def asked(
        self,
        segments: Sequence[Segment],
        mentions: Sequence[Sequence[Mention]],
        predictions: Sequence[Prediction],
        headline: Sequence[Mention] = (),
    ) -> list[tuple[tuple[Candidate, ...], list[Segment]]]:
        """Return the candidates of each segment and the questions about them; none where the segment is surely neutral."""
        # As in training: what stands before the first segment, a headline, is read as a sentence before it.
        first = 1 if segments and segments[0].context else 0
        texts = [segment.context for segment in segments[:first]] + [segment.text for segment in segments]
        whole = [headline, *mentions] if first else mentions
        out: list[tuple[tuple[Candidate, ...], list[Segment]]] = []
        for place, (segment, prediction) in enumerate(zip(segments, predictions, strict=True)):
            stances = prediction.probabilities["stance"]
            if stances.get(NEUTRAL, 0.0) >= _SURE:
                out.append(((), []))
                continue
            likely = max((label for label in stances if label != NEUTRAL), key=stances.__getitem__)
            found = candidates(texts, whole, place + first, self.most)
            out.append((found, [marked(segment, one, likely) for one in found]))
        return out

    def chosen(self, found: Sequence[Candidate], answers: Sequence[Prediction], stances: Mapping[str, float]) -> list[ScoredDyad]:
        """Return the dyads of one segment, the likeliest first.

        Args:
            found: its candidates.
            answers: of the model, in their order.
            stances: the probability of each stance by the sentence model.
        """
        weighed = {label: value * (self.choice.neutral if label == NEUTRAL else 1.0) for label, value in stances.items()}
        stance = max(weighed, key=weighed.__getitem__)
        if stance == NEUTRAL:
            return []
        sure = weighed[stance] / sum(weighed.values())
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
                spans = candidate.spans if label == ITSELF else ()
                best[code] = Side(code, probability, spans)
    return [*best.values(), Side("", nobody)]


def _first(spans: Sequence[Span]) -> Span | None:
    return spans[0] if spans else None
