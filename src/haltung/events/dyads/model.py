"""Dyads by a trained model: who is source and who is target, of each sentence's stance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haltung.actors.candidates import ITSELF, code_as
from haltung.events.dyads import thresholds
from haltung.events.dyads.thresholds import Thresholds
from haltung.events.records import LabelledArticle, ScoredDyad
from haltung.labels import NEUTRAL, STANCE
from haltung.records import ActorAnswer, Prediction, Span

# Less probable sides are left out; all ways to be a side would make hundreds of pairs. No sentence
# has as many ways as would make all of them less probable.
_LEAST_SIDE = 0.01


@dataclass(frozen=True)
class Side:
    """Who may be one side of a dyad, with the spans of its words in the sentence; "" for nobody."""

    code: str
    probability: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Question:
    """All that the dyads of one segment are chosen from: its stances, and who may be a side."""

    stances: Mapping[str, float]
    sources: tuple[Side, ...]
    targets: tuple[Side, ...]

    @classmethod
    def of(cls, prediction: Prediction) -> Question:
        """Return what a model's prediction for a segment says."""
        return cls(prediction.probabilities[STANCE], sides(prediction.actors, "source"), sides(prediction.actors, "target"))


@dataclass(frozen=True)
class DyadModel:
    """Dyads from what a model says of the actors of each segment (``Prediction.actors``).

    The stance is the segment's; 96 to 99 % of gold dyads have it. A pair's probability is the
    product of its sides'.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)

    def find(self, article: LabelledArticle) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment of an article; none where its stance is neutral."""
        return [self.dyads(prediction) for prediction in article.predictions]

    def dyads(self, prediction: Prediction) -> list[ScoredDyad]:
        """Return the dyads of one segment, the likeliest first."""
        return choose(Question.of(prediction), self.thresholds)


def load(folder: Path) -> DyadModel:
    """Return what chooses dyads by a bundle's thresholds; ``UserError`` if these are broken."""
    return DyadModel(thresholds.read(folder))


def choose(question: Question, chosen_by: Thresholds) -> list[ScoredDyad]:
    """Return the dyads of one segment, the likeliest first."""
    weighted = {label: value * (chosen_by.neutral if label == NEUTRAL else 1.0) for label, value in question.stances.items()}
    stance = max(weighted, key=weighted.__getitem__)
    if stance == NEUTRAL:
        return []
    of_stance = weighted[stance] / sum(weighted.values())
    sources, targets = (
        [(one.probability * (1.0 if one.code else chosen_by.nobody), one) for one in side] for side in (question.sources, question.targets)
    )
    pairs = [
        (likely * other * (chosen_by.same_actor if source.code == target.code else 1.0), source, target)
        for likely, source in sources
        for other, target in targets
        if source.code or target.code
    ]
    if not pairs:
        return [ScoredDyad("", "", stance, of_stance)]
    best = max(pairs, key=lambda pair: pair[0])
    others = [pair for pair in pairs if pair is not best and pair[0] >= chosen_by.pair]
    out: list[ScoredDyad] = []
    for probability, source, target in [best, *sorted(others, key=lambda pair: -pair[0])]:
        # One code on both sides: its first words act, the others are acted on.
        acted_on = target.spans[1:] if source.code == target.code and len(target.spans) > 1 else target.spans
        spans = [next(iter(spans), None) for spans in (source.spans, acted_on)]
        out.append(ScoredDyad(source.code, target.code, stance, min(1.0, probability) * of_stance, *spans))
    return out


def sides(actors: Sequence[ActorAnswer], side: str) -> tuple[Side, ...]:
    """Return who may be a side, ``source`` or ``target``, each code in its likeliest way."""
    best = {} if actors else {"": Side("", 1.0)}
    for actor in actors:
        for role, probability in getattr(actor, side).items():
            code = code_as(actor.code, role)
            if (probability >= _LEAST_SIDE or not code) and (code not in best or probability > best[code].probability):
                # The words of somebody inside a state are not known.
                best[code] = Side(code, probability, actor.spans if role == ITSELF else ())
    return tuple(best.values())
