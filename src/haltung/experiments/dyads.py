"""Dyads by a model and by word order, scored against gold; the model's thresholds, tuned on dev."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haltung.actors.finder import Actors
from haltung.corpus.store import Prepared
from haltung.errors import UserError, one_of
from haltung.evaluation.metrics import dyads as metrics
from haltung.evaluation.report import dyads as report
from haltung.evaluation.report import style
from haltung.events.dyads import model as dyad_model
from haltung.events.dyads import scoring, thresholds
from haltung.events.dyads.rules import WordOrder
from haltung.events.dyads.scoring import AIMS, GoldArticles
from haltung.events.dyads.thresholds import Thresholds
from haltung.events.pipeline import load_predictor
from haltung.records import Dyad


@dataclass(frozen=True)
class DyadScores:
    """Dyads of one or two systems (``model`` and ``rules``) on a split, and their metrics.

    ``found`` holds each system's dyads of each segment, ``differences`` those of the model to the
    rules by part, ``swaps`` how consistent role swaps are, ``precisions`` the model's metrics.
    """

    labelled: GoldArticles
    found: Mapping[str, Sequence[Sequence[Dyad]]]
    systems: Mapping[str, metrics.DyadMetrics]
    differences: Mapping[str, metrics.Difference]
    swaps: Mapping[str, Mapping[str, Any] | None]
    precisions: tuple[metrics.Precision, ...]


@dataclass(frozen=True)
class Tuned:
    """The best thresholds on dev, their mean F1 over ``aims``, and their file."""

    thresholds: Thresholds
    f1: float
    path: Path
    aims: tuple[str, ...] = AIMS


def label_split(bundle: Path, corpus: Prepared, split: str, actors: Path | None = None) -> GoldArticles:
    """Label a split with a model of stances (trained or exported), and find its actors.

    The corpus has gold dyads, ``split`` is ``dev`` or ``test``, ``actors`` a folder with further
    tables of actors. Raises ``UserError`` if the split is unknown, empty or without gold dyads, or
    the bundle has no stances.
    """
    segments = corpus.segments(one_of("split", split, ("dev", "test")))
    if not segments:
        raise UserError(f"the {split} split of the corpus '{corpus.name}' is empty, so there is nothing to score dyads against")
    return scoring.read(segments, load_predictor(bundle), Actors.load(extra=actors))


def tune(labelled: GoldArticles, dyads: Path, tuned_on: Mapping[str, Any]) -> Tuned:
    """Find the thresholds of a dyad model that are best on dev, and write them beside it.

    The model in ``dyads`` was not trained on the labelled split. The file records ``corpus``,
    ``split`` and ``command`` of ``tuned_on`` too. Raises ``UserError`` if the bundle is no dyad
    model.
    """
    best, f1 = scoring.tune(labelled, scoring.answers(labelled, dyad_model.load(dyads)))
    thresholds.write(dyads, best, {"corpus": tuned_on["corpus"], "split": tuned_on["split"], "aim": f1, "command": tuned_on["command"]})
    return Tuned(best, f1, thresholds.path(dyads))


def score(labelled: GoldArticles, dyads: Path | None = None) -> DyadScores:
    """Score the dyads that word order and, if one is given, a dyad model find.

    Raises ``UserError`` if the bundle is no dyad model.
    """
    found = {"rules": scoring.found_by(WordOrder(), labelled)}
    codes = None
    precisions: tuple[metrics.Precision, ...] = ()
    if dyads is not None:
        model = dyad_model.load(dyads)
        answers = scoring.answers(labelled, model)
        rows = scoring.chosen(answers, model.thresholds)
        found = {"model": [[one.dyad for one in row] for row in rows], **found}
        codes = [one.codes for one in answers]
        precisions = metrics.precisions(labelled.dyads, [[(one.probability, one.dyad) for one in row] for row in rows])
    gold, names = labelled.dyads, labelled.names
    systems = {name: metrics.evaluate_dyads(gold, rows, names, codes if name == "model" else None) for name, rows in found.items()}
    parts = metrics.PARTS if dyads is not None else ()
    differences = {part: metrics.f1_difference(gold, found["model"], found["rules"], names, part) for part in parts}
    swaps = {name: scoring.role_swaps(labelled.segments, rows) for name, rows in found.items()}
    return DyadScores(labelled, found, systems, differences, swaps, precisions)


def write(scores: DyadScores, folder: Path, title: str, source: Mapping[str, Any], language: str = "en") -> None:
    """Write metrics (``dyads.json``), plot (``dyads.png``) and dyads (``found.jsonl``).

    ``title`` stands under the plot; ``dyads.json`` begins with ``source``: command, corpus, split,
    bundles.
    """
    folder.mkdir(parents=True, exist_ok=True)
    style.save(report.plot(scores.systems, title, language), folder / "dyads.png")
    data = {**source, **report.plain(scores.systems, scores.differences, scores.swaps, scores.precisions)}
    (folder / "dyads.json").write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with (folder / "found.jsonl").open("w", encoding="utf-8") as file:
        for number, segment in enumerate(scores.labelled.segments):
            row = {"id": segment.id, "article": segment.article, "gold": [asdict(one) for one in segment.dyads]}
            row |= {system: [asdict(one) for one in rows[number]] for system, rows in scores.found.items()}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
