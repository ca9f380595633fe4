"""Dyads by a trained model: who is source and who is target, of each sentence's stance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haltung.actors.candidates import ITSELF, code_as
from haltung.errors import UserError
from haltung.events.dyads import thresholds
from haltung.events.dyads.thresholds import Thresholds
from haltung.events.records import LabelledArticle, ScoredDyad
from haltung.labels import NEUTRAL
from haltung.records import ActorAnswer, Span

# Less probable sides are left out; all ways to be a side would make hundreds of pairs.
_LEAST_SIDE = 0.01


@dataclass(frozen=True)
class Side:
    """Who may be one side of a dyad, with the spans of its words in the sentence; "" for nobody."""

    code: str
    probability: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class DyadModel:
    """Dyads from what a model says of the actors of each segment (``Prediction.actors``).

    The stance is the segment's; 96 to 99 % of gold dyads have it. A pair's probability is the
    product of its sides'.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)

    def find(self, article: LabelledArticle) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment of an article; none where its stance is neutral."""
        return [choose(one.actors, one.probabilities["stance"], self.thresholds) for one in article.predictions]


def load(folder: Path) -> DyadModel:
    """Return what chooses dyads as a bundle's thresholds say.

    Raises:
        UserError: the file of thresholds is broken.
    """
    return DyadModel(thresholds.read(folder))


def choose(actors: Sequence[ActorAnswer], stances: Mapping[str, float], chosen_by: Thresholds) -> list[ScoredDyad]:
    """Return the dyads of one segment, the likeliest first.

    ``actors`` are the model's answers about those who are named, ``stances`` has the probability of
    each stance.
    """
    weighted = {label: value * (chosen_by.neutral if label == NEUTRAL else 1.0) for label, value in stances.items()}
    stance = max(weighted, key=weighted.__getitem__)
    if stance == NEUTRAL:
        return []
    of_stance = weighted[stance] / sum(weighted.values())
    sources, targets = (sides(actors, side, chosen_by.nobody) for side in ("source", "target"))
    pairs = [
        (source.probability * target.probability * (chosen_by.same_actor if source.code == target.code else 1.0), source, target)
        for source in sources
        for target in targets
        if source.code or target.code
    ]
    if not pairs:
        return [ScoredDyad("", "", stance, of_stance)]
    pairs.sort(key=lambda pair: -pair[0])
    out: list[ScoredDyad] = []
    for probability, source, target in pairs:
        if out and probability < chosen_by.pair:
            break
        # One code on both sides: its first words act, the others are acted on.
        acted_on = target.spans[1:] if source.code == target.code and len(target.spans) > 1 else target.spans
        spans = [next(iter(spans), None) for spans in (source.spans, acted_on)]
        out.append(ScoredDyad(source.code, target.code, stance, min(1.0, probability) * of_stance, *spans))
    return out


def sides(actors: Sequence[ActorAnswer], side: str, nobody: float = 1.0) -> list[Side]:
    """Return who may be one side (``source``, ``target``); of several ways to be one code the likeliest.

    ``nobody`` is the factor of nobody's probability.
    """
    best: dict[str, Side] = {"": Side("", nobody)} if not actors else {}
    for actor in actors:
        for role, probability in getattr(actor, side).items():
            code = code_as(actor.code, role) if actor.code else ""
            probability *= 1.0 if code else nobody
            if (probability >= _LEAST_SIDE or not code) and (code not in best or probability > best[code].probability):
                # The words of somebody inside a state are not known.
                best[code] = Side(code, probability, actor.spans if role == ITSELF else ())
    return list(best.values())
