"""Score dyads of a model and of word order against gold; tune the model's thresholds on dev."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from haltung.actors.candidates import ROLES, code_as
from haltung.actors.finder import Actors
from haltung.corpus.store import Prepared
from haltung.errors import UserError, one_of
from haltung.evaluation.metrics import dyads as metrics
from haltung.evaluation.metrics import minimal_pairs
from haltung.evaluation.report import plots, style
from haltung.events import dyads as dyad_model
from haltung.events.pipeline import dyad_finder, load_predictor
from haltung.events.records import DyadFinder, LabelledArticle, ScoredDyad
from haltung.files import atomic_file, write_text
from haltung.labels import NEUTRAL, STANCE
from haltung.models.predictor import Predictor
from haltung.records import Dyad, Prediction, Segment, by_group

# The values tried for each threshold: a coordinate-wise grid search in several rounds.
GRID: Mapping[str, tuple[float, ...]] = {
    "neutral": (0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0),
    "nobody": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0),
    "same_actor": (0.03, 0.1, 0.3, 0.6, 1.0),
    "pair": (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8),
}
_ROUNDS = 2
AIMS = (metrics.WHOLE, "source, stance")  # the metrics whose mean is maximised
_RULES, _MODEL = "rules", "model"  # the names of word order and of the model in tables and files
_Found = Mapping[str, Sequence[Sequence[ScoredDyad]]]  # the dyads of each segment, by system


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
        """Return the dyads that a finder finds in each segment."""
        found = {segment.id: row for article in self.articles for segment, row in zip(article.segments, finder(article), strict=True)}
        return [found[segment.id] for segment in self.segments]


def gold_articles(segments: Sequence[Segment], predictor: Predictor, actors: Actors, stances_given: bool = False) -> GoldArticles:
    """Label the segments and find their actors, article by article (minimal pairs one by one).

    With ``stances_given``, predictions have the gold stances, which the model is given before it
    predicts source and target. Raises ``UserError`` if no segment has dyads.
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


def best_thresholds(gold: Sequence[Collection[Dyad]], predictions: Sequence[Prediction]) -> tuple[dyad_model.Thresholds, float]:
    """Return the thresholds with the highest mean F1 over ``AIMS``, and that F1.

    The segments must be from a split that is used neither for training nor for final metrics. The
    search starts at the defaults and varies one threshold at a time over ``GRID``.
    """
    questions = [dyad_model.Question.of(one) for one in predictions]
    best = dyad_model.Thresholds()
    high = _aim(gold, questions, best)
    for name, value in [(name, value) for _ in range(_ROUNDS) for name, values in GRID.items() for value in values]:
        # Each value is tried with the best thresholds found so far.
        trial = replace(best, **{name: value})
        aim = _aim(gold, questions, trial) if trial != best else high
        if aim > high:
            best, high = trial, aim
    return best, high


@dataclass(frozen=True)
class DyadScores:
    """Dyads ``found`` end to end by each system, and metrics by what is given (``settings``)."""

    segments: Sequence[Segment]
    found: _Found
    settings: Mapping[str, metrics.SystemsCompared]


def score(bundle: Path, corpus: Prepared, split: str, actors: Path | None = None) -> DyadScores:
    """Score the dyads found by word order and, if it finds dyads, by the model of a bundle.

    Stances are predicted by the model, or given. ``split`` is ``dev`` or ``test``, ``actors`` a
    folder with further tables of actors. Raises ``UserError`` if the split is unknown, empty or
    without gold dyads, or the bundle does not predict stances.
    """
    if not (segments := corpus.segments(one_of("split", split, ("dev", "test")))):
        raise UserError(f"the {split} split of the corpus '{corpus.name}' is empty, so there is nothing to score dyads against")
    predictor, known = load_predictor(bundle), Actors.load(extra=actors)
    finders: dict[str, DyadFinder] = {_MODEL: dyad_finder(predictor, bundle, known)} if predictor.finds_dyads else {}
    finders[_RULES] = dyad_model.word_order
    gold, given = (gold_articles(segments, predictor, known, stances_given) for stances_given in (False, True))
    found = {name: gold.found_by(one) for name, one in finders.items()}
    settings = {
        metrics.END_TO_END: _compared(gold, found),
        metrics.STANCES_GIVEN: _compared(given, {name: given.found_by(one) for name, one in finders.items()}),
    }
    return DyadScores(segments, found, settings)


def tune_trained(
    bundle: Path, segments: Sequence[Segment], predictions: Sequence[Prediction], tuned_on: Mapping[str, Any]
) -> metrics.DyadMetrics | None:
    """Tune the thresholds of a new bundle on dev and write them; return its metrics on dev.

    ``predictions`` are calibrated, for dev. Without gold dyads, return None and write nothing.
    """
    if not any(segment.dyads for segment in segments):
        return None
    best, f1 = best_thresholds([segment.dyads for segment in segments], predictions)
    dyad_model.write_thresholds(bundle, best, {**tuned_on, "f1": f1})
    return end_to_end(segments, predictions, list(map(dyad_model.DyadModel(best).dyads, predictions)))


def end_to_end(segments: Sequence[Segment], predictions: Sequence[Prediction], found: metrics.DyadSets) -> metrics.DyadMetrics:
    """Score the dyads ``found`` by a model against gold; some segment must have gold dyads."""
    names = [segment.article or segment.id for segment in segments]
    return metrics.evaluate_dyads([segment.dyads for segment in segments], found, names, list(map(codes, predictions)))


def write(scores: DyadScores, folder: Path, title: str, source: Mapping[str, Any], language: str = "en") -> None:
    """Write metrics (``dyads.json``), plot (``dyads.png``) and dyads (``found.jsonl``).

    ``title`` is the plot's subtitle; ``dyads.json`` begins with ``source``, such as the command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    style.save(plots.dyads(scores.settings, title, language), folder / "dyads.png")
    settings = {name: asdict(compared) for name, compared in scores.settings.items()}
    write_text(folder / "dyads.json", json.dumps({**source, "settings": settings}, indent=2, ensure_ascii=False) + "\n")
    with atomic_file(folder / "found.jsonl") as scratch, scratch.open("w", encoding="utf-8") as file:
        for number, segment in enumerate(scores.segments):
            row = {"id": segment.id, "article": segment.article, "gold": [asdict(one) for one in segment.dyads]}
            row |= {system: [one.to_dict() for one in rows[number]] for system, rows in scores.found.items()}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _compared(gold: GoldArticles, found: _Found) -> metrics.SystemsCompared:
    names = [segment.article or segment.id for segment in gold.segments]
    candidates = {_MODEL: list(map(codes, gold.predictions))}  # word order has no candidates
    systems = {name: metrics.evaluate_dyads(gold.dyads, rows, names, candidates.get(name)) for name, rows in found.items()}
    parts = metrics.PARTS if _MODEL in found else ()
    differences = {part: metrics.f1_difference(gold.dyads, found[_MODEL], found[_RULES], names, part) for part in parts}
    return metrics.SystemsCompared(systems, differences)


def _with_true_stances(segments: Sequence[Segment], predictor: Predictor) -> list[Prediction]:
    # An unlabelled segment has the stance of its first dyad, or is neutral.
    true = [str(one.labels.get(STANCE) or next((dyad.stance for dyad in one.dyads), NEUTRAL)) for one in segments]
    return [
        replace(
            one, labels={**one.labels, STANCE: stance},
            probabilities={**one.probabilities, STANCE: {label: float(label == stance) for label in one.probabilities[STANCE]}},
        )
        for one, stance in zip(predictor.predict(segments, progress=True, stances=true), true, strict=True)
    ]  # fmt: skip


def _aim(gold: Sequence[Collection[Dyad]], questions: Sequence[dyad_model.Question], thresholds: dyad_model.Thresholds) -> float:
    found = [dyad_model.choose(one, thresholds) for one in questions]
    return fmean(metrics.match(gold, found, part).f1 for part in AIMS)
