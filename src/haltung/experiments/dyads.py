"""Dyads by a model and by word order, scored against gold; the model's thresholds, tuned on dev."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haltung.actors.finder import Actors
from haltung.corpus.store import Prepared
from haltung.errors import UserError, one_of
from haltung.evaluation.metrics import dyads as metrics
from haltung.evaluation.report import plots, style
from haltung.events.dyads import model as dyad_model
from haltung.events.dyads import scoring
from haltung.events.pipeline import dyad_finder, load_predictor
from haltung.events.records import DyadFinder, ScoredDyad
from haltung.files import atomic_file, write_text
from haltung.records import Prediction, Segment

# What word order finds, and what a model does, in tables and files.
_RULES, _MODEL = "rules", "model"
# The dyads of each segment, by system.
_Found = Mapping[str, Sequence[Sequence[ScoredDyad]]]


@dataclass(frozen=True)
class DyadScores:
    """Dyads of ``rules`` and perhaps ``model`` on a split, and their metrics.

    ``settings`` has the metrics by what is given, ``found`` each system's dyads end to end,
    ``swaps`` how consistent these are on role swaps, ``precisions`` the model's by probability.
    """

    segments: Sequence[Segment]
    found: _Found
    settings: Mapping[str, metrics.SystemsCompared]
    swaps: Mapping[str, Mapping[str, Any] | None]
    precisions: tuple[metrics.Precision, ...]


def tune(bundle: Path, corpus: Prepared, split: str, command: str, actors: Path | None = None) -> tuple[dyad_model.Thresholds, float]:
    """Write the thresholds that are best on a split into a bundle; return them and their mean F1.
    Raises ``UserError`` as ``score``, if the split is test, or the bundle's model finds no dyads.
    """
    if split == "test":
        raise UserError("tune=true needs split=dev: nothing is ever tuned on the test split")
    segments, predictor = _segments(corpus, split), load_predictor(bundle)
    if not predictor.finds_dyads:
        raise UserError(f"the model in {bundle} finds no dyads, and word order has no thresholds to tune; name a bundle of model=article")
    predictor.actors = known = Actors.load(extra=actors)
    gold = scoring.read(segments, predictor, known)
    best, f1 = scoring.tune(gold.dyads, gold.predictions)
    dyad_model.write_thresholds(bundle, best, {"corpus": corpus.name, "split": split, "command": command, "f1": f1})
    return best, f1


def score(bundle: Path, corpus: Prepared, split: str, actors: Path | None = None) -> DyadScores:
    """Score the dyads that word order and, if it finds any, the model of a bundle find.

    Stances are those of the model, or given. ``split`` is ``dev`` or ``test``, ``actors`` a folder
    with further tables of actors. Raises ``UserError`` if the split is unknown, empty or without
    gold dyads, or the bundle has no stances.
    """
    segments, predictor = _segments(corpus, split), load_predictor(bundle)
    known = Actors.load(extra=actors)
    finders: dict[str, DyadFinder] = {_MODEL: dyad_finder(predictor, bundle, known)} if predictor.finds_dyads else {}
    finders[_RULES] = dyad_model.WordOrder()
    gold, given = (scoring.read(segments, predictor, known, stances_given) for stances_given in (False, True))
    found = {name: gold.found_by(one) for name, one in finders.items()}
    settings = {
        metrics.END_TO_END: _compared(gold, found),
        metrics.STANCES_GIVEN: _compared(given, {name: given.found_by(one) for name, one in finders.items()}),
        metrics.ACTORS_GIVEN: _compared(given, {name: given.found_by(scoring.AmongGold(one)) for name, one in finders.items()}),
    }
    swaps = {name: scoring.role_swaps(segments, rows) for name, rows in found.items()}
    scored = [[(one.probability, one.dyad) for one in row] for row in found.get(_MODEL, ())]
    return DyadScores(segments, found, settings, swaps, metrics.precisions(gold.dyads, scored) if scored else ())


def tune_trained(
    bundle: Path, segments: Sequence[Segment], predictions: Sequence[Prediction], tuned_on: Mapping[str, Any]
) -> metrics.DyadMetrics | None:
    """Tune the thresholds of a new bundle on dev and write them; return its metrics on dev.

    ``predictions`` are its calibrated ones for the segments of dev. None is returned, and nothing
    written, where dev has no gold dyads.
    """
    if not any(segment.dyads for segment in segments):
        return None
    best, f1 = scoring.tune([segment.dyads for segment in segments], predictions)
    dyad_model.write_thresholds(bundle, best, {**tuned_on, "f1": f1})
    return end_to_end(segments, predictions, list(map(dyad_model.DyadModel(best).dyads, predictions)))


def end_to_end(segments: Sequence[Segment], predictions: Sequence[Prediction], found: metrics.DyadSets) -> metrics.DyadMetrics:
    """Return how well the dyads ``found`` by a model agree with gold, which some segment has."""
    names = [segment.article or segment.id for segment in segments]
    return metrics.evaluate_dyads([segment.dyads for segment in segments], found, names, list(map(scoring.codes, predictions)))


def write(scores: DyadScores, folder: Path, title: str, source: Mapping[str, Any], language: str = "en") -> None:
    """Write metrics (``dyads.json``), plot (``dyads.png``) and dyads (``found.jsonl``).

    ``title`` stands under the plot; ``dyads.json`` begins with ``source``, such as the command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    style.save(plots.dyads(scores.settings, title, language), folder / "dyads.png")
    data = {
        **source, "settings": {name: asdict(compared) for name, compared in scores.settings.items()}, "role_swaps": scores.swaps,
        "precisions": [asdict(one) for one in scores.precisions],
    }  # fmt: skip
    write_text(folder / "dyads.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    with atomic_file(folder / "found.jsonl") as scratch, scratch.open("w", encoding="utf-8") as file:
        for number, segment in enumerate(scores.segments):
            row = {"id": segment.id, "article": segment.article, "gold": [asdict(one) for one in segment.dyads]}
            row |= {system: [one.to_dict() for one in rows[number]] for system, rows in scores.found.items()}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _segments(corpus: Prepared, split: str) -> Sequence[Segment]:
    segments = corpus.segments(one_of("split", split, ("dev", "test")))
    if not segments:
        raise UserError(f"the {split} split of the corpus '{corpus.name}' is empty, so there is nothing to score dyads against")
    return segments


def _compared(gold: scoring.GoldArticles, found: _Found) -> metrics.SystemsCompared:
    names = [segment.article or segment.id for segment in gold.segments]
    candidates = list(map(scoring.codes, gold.predictions))
    systems = {
        name: metrics.evaluate_dyads(gold.dyads, rows, names, candidates if name == _MODEL else None) for name, rows in found.items()
    }
    parts = metrics.PARTS if _MODEL in found else ()
    differences = {part: metrics.f1_difference(gold.dyads, found[_MODEL], found[_RULES], names, part) for part in parts}
    return metrics.SystemsCompared(systems, differences)
