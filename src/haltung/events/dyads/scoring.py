"""Dyads against gold: what is found in the segments of whole articles, and thresholds for dev."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from haltung.actors.candidates import ROLES, code_as
from haltung.actors.finder import Actors
from haltung.errors import UserError
from haltung.evaluation.metrics import minimal_pairs
from haltung.evaluation.metrics.dyads import WHOLE, match
from haltung.events.dyads.model import Question, Thresholds, choose
from haltung.events.records import DyadFinder, LabelledArticle, ScoredDyad
from haltung.labels import NEUTRAL, STANCE
from haltung.models.predictor import Predictor
from haltung.records import ActorAnswer, Dyad, Prediction, Segment, by_group

# The values tried for each of the thresholds, one threshold after the other, in several rounds.
GRID: Mapping[str, tuple[float, ...]] = {
    "neutral": (0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0),
    "nobody": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0),
    "same_actor": (0.03, 0.1, 0.3, 0.6, 1.0),
    "pair": (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8),
}
_ROUNDS = 2
# The metrics whose mean is maximised.
AIMS = (WHOLE, "source, stance")


@dataclass(frozen=True)
class GoldArticles:
    """Segments with gold dyads, their predictions in the same order, and their articles."""

    segments: Sequence[Segment]
    predictions: Sequence[Prediction]
    articles: Sequence[LabelledArticle]

    @property
    def dyads(self) -> list[tuple[Dyad, ...]]:
        """The gold dyads of each segment."""
        return [segment.dyads for segment in self.segments]

    def found_by(self, finder: DyadFinder) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment that anything finds."""
        found = {segment.id: row for article in self.articles for segment, row in zip(article.segments, finder.find(article), strict=True)}
        return [found[segment.id] for segment in self.segments]


@dataclass(frozen=True)
class AmongGold:
    """A finder that is told who is in the gold dyads of each segment: nobody else can be a side.

    A model's probabilities of those who remain are made to add up to 1.
    """

    finder: DyadFinder

    def find(self, article: LabelledArticle) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment of an article whose segments have gold dyads."""
        known = [{""} | {code for dyad in segment.dyads for code in (dyad.source, dyad.target)} for segment in article.segments]
        mentions = [[one for one in row if one.code in codes] for row, codes in zip(article.mentions, known, strict=True)]
        predictions = [replace(one, actors=_among(one.actors, codes)) for one, codes in zip(article.predictions, known, strict=True)]
        found = self.finder.find(replace(article, mentions=mentions, predictions=predictions))
        # Word order takes the source of the sentence before, who may not be known here.
        return [[one if one.source in codes else replace(one, source="") for one in row] for row, codes in zip(found, known, strict=True)]


def read(segments: Sequence[Segment], predictor: Predictor, actors: Actors, stances_given: bool = False) -> GoldArticles:
    """Label the segments and find their actors, article by article (minimal pairs one by one).

    With ``stances_given`` the stances are the true ones, and the model is told them before it looks
    for source and target. Raises ``UserError`` if no segment has dyads.
    """
    if not any(segment.dyads for segment in segments):
        raise UserError(f"none of the {len(segments)} segments has a gold dyad, so there is nothing to compare with; choose another corpus")
    predictions = _with_true_stances(segments, predictor) if stances_given else predictor.predict(segments, progress=True)
    predicted = {segment.id: prediction for segment, prediction in zip(segments, predictions, strict=True)}
    groups = [[segment] for segment in segments] if minimal_pairs.are_minimal_pairs(segments) else by_group(segments).values()
    articles = []
    for members in groups:
        mentions = actors.article([segment.text for segment in members], members[0].date, members[0].headline)
        articles.append(LabelledArticle(members, mentions, [predicted[segment.id] for segment in members]))
    return GoldArticles(segments, predictions, articles)


def codes(prediction: Prediction) -> set[str]:
    """Return all codes that a side of the segment's dyads could have."""
    return {code_as(actor.code, role) for actor in prediction.actors if actor.code for role in ROLES}


def tune(gold: Sequence[Collection[Dyad]], predictions: Sequence[Prediction]) -> tuple[Thresholds, float]:
    """Return the thresholds with the highest mean F1 over ``AIMS``, and that F1.

    The segments are of a split that is neither trained on nor reported. The search begins at the
    defaults and goes number by number over ``GRID``.
    """
    questions = [Question.of(one) for one in predictions]
    best = Thresholds()
    high = _aim(gold, questions, best)
    for name, value in [(name, value) for _ in range(_ROUNDS) for name, values in GRID.items() for value in values]:
        # Each number is tried on the best of those before it.
        trial = replace(best, **{name: value})
        aim = _aim(gold, questions, trial) if trial != best else high
        if aim > high:
            best, high = trial, aim
    return best, high


def role_swaps(segments: Sequence[Segment], found: Sequence[Collection[Dyad]]) -> dict[str, Any] | None:
    """Return how consistent a system is on minimal pairs that exchange source and target, if any.

    Of these ``pairs``, ``apart`` is the share in which the dyads found in one are those of the
    other, exchanged, and ``both`` the share with (source, target) right in both.
    """
    if not minimal_pairs.are_minimal_pairs(segments):
        return None
    gold, given = ([{(dyad.source, dyad.target) for dyad in row} for row in rows] for rows in ([one.dyads for one in segments], found))
    gold_swapped, given_swapped = ([{(target, source) for source, target in row} for row in rows] for rows in (gold, given))
    pairs = [(a, b) for a, b in minimal_pairs.pair_rows(segments)[0].tolist() if gold[a] and gold[a] != gold[b] == gold_swapped[a]]
    apart = sum(bool(given[a]) and given_swapped[a] == given[b] for a, b in pairs)
    both = sum(given[a] == gold[a] and given[b] == gold[b] for a, b in pairs)
    return {"pairs": len(pairs), "apart": apart / len(pairs), "both": both / len(pairs)} if pairs else None


def _with_true_stances(segments: Sequence[Segment], predictor: Predictor) -> list[Prediction]:
    # A segment that is not labelled has the stance of its dyads.
    true = [str(one.labels.get(STANCE) or next((dyad.stance for dyad in one.dyads), NEUTRAL)) for one in segments]
    return [
        replace(
            one, labels={**one.labels, STANCE: stance},
            probabilities={**one.probabilities, STANCE: {label: float(label == stance) for label in one.probabilities[STANCE]}},
        )
        for one, stance in zip(predictor.predict(segments, progress=True, stances=true), true, strict=True)
    ]  # fmt: skip


def _among(actors: Sequence[ActorAnswer], codes: Collection[str]) -> tuple[ActorAnswer, ...]:
    def shares(side: str) -> list[dict[str, float]]:
        known = [{role: value for role, value in getattr(one, side).items() if code_as(one.code, role) in codes} for one in actors]
        total = sum(sum(one.values()) for one in known) or 1.0
        return [{role: value / total for role, value in one.items()} for one in known]

    rows = zip(actors, shares("source"), shares("target"), strict=True)
    return tuple(replace(one, source=source, target=target) for one, source, target in rows)


def _aim(gold: Sequence[Collection[Dyad]], questions: Sequence[Question], thresholds: Thresholds) -> float:
    found = [choose(one, thresholds) for one in questions]
    return fmean(match(gold, found, part).f1 for part in AIMS)
