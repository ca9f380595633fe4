"""Cross-validation as one tracked experiment: a training for each fold, and the predictions of all held-out parts put together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from haltung import tracking
from haltung.experiments import train as runs
from haltung.corpus.manifest import split_digest
from haltung.errors import UserError
from haltung.evaluation import outcome
from haltung.evaluation.report import page as report
from haltung.evaluation.metrics.results import HEADLINE, EvaluationResult, Spread, Summary
from haltung.evaluation.statistics.intervals import with_intervals
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit
from haltung.models import bundle
from haltung.experiments.train import Plan
from haltung.tracking import Store

# Under this key the parent run holds what the other commands look for under a split's name: evaluation/folds/predictions.parquet.
KEY = "folds"


@dataclass(frozen=True)
class CrossValidated:
    """A finished cross-validation.

    ``evaluation`` has the figures over the out-of-fold predictions of the whole corpus, ``spread`` mean and standard deviation of the
    folds' own figures, ``folder`` the report and the predictions. The standard deviation tells how much folds differ; it is no standard
    error, since the folds' training parts overlap (Bengio and Grandvalet 2004, "No unbiased estimator of the variance of k-fold
    cross-validation").
    """

    run: str
    where: str
    folder: Path
    evaluation: EvaluationResult
    spread: Summary


def cross_validate(name: str, plans: Sequence[Plan], store: Store, told: Callable[[int, EvaluationResult], None]) -> CrossValidated:
    """Train each fold, score it on its held-out part, and put the parts together.

    Args:
        name: of the parent run; the seed is put behind it.
        plans: one for each fold; the test splits of their corpora are disjoint and together the whole corpus.
        store: where to.
        told: is called after each fold with its number, from 1 on, and its figures on its held-out part.

    Raises:
        UserError: as ``runs.train``, or two folds hold out the same segment.
    """
    first = plans[0]
    place = first.folder / f"{name}-{first.seed}-{hashlib.sha256('/'.join(plan.place.name for plan in plans).encode()).hexdigest()[:8]}"
    held_out = [plan.corpus.segments("test") for plan in plans]
    everything = [segment for part in held_out for segment in part]
    if len({segment.id for segment in everything}) < len(everything):
        raise UserError("two folds hold out the same segment; all folds need the same splits@corpus.split=kfold, with one seed")
    scheme = first.corpus.scheme
    tags = {
        "haltung.kind": KEY,
        "haltung.corpus": first.corpus.name,
        "haltung.scheme": scheme.name,
        "haltung.scheme_digest": scheme.digest(),
        # Over all tasks of the corpus, as the digests of its splits are, so that one that learned some of them can be compared.
        f"haltung.digest.{KEY}": _digest(plans),
        **tracking.provenance(first.command),
    }
    resumed = runs.read_state(place).get("run") if first.resume else None
    with tracking.run(store, f"{name}-{first.seed}", tags=tags, resume=resumed) as parent:
        place.mkdir(parents=True, exist_ok=True)
        runs.write_state(place, {"run": parent.id, "where": parent.where, "finished": False})
        parent.params({**first.config, "seed": first.seed})
        figures, parts = [], []
        for fold, (plan, segments) in enumerate(zip(plans, held_out, strict=True), start=1):
            trained = runs.train(plan, store, parent)
            folder = trained.bundle.parent / "test"
            record = tracking.find(store, trained.run)
            figures.append(
                runs.test(bundle.load(trained.bundle), segments, plan.corpus, "test", folder, record, plan.command, plan.language)
            )
            parts.append(outcome.read(folder / report.PREDICTIONS))
            told(fold, figures[-1])
        scored = joined(parts)
        whole, spread = with_intervals(evaluate(scored), scored), over_folds(figures)
        details = {"run": parent.id, "command": tags["haltung.command"], "folds": str(len(plans))}
        report.write(place / KEY, whole, scored, language=first.language, title=name, details=details)
        parent.metrics({KEY: {**whole.headline(), **runs.mean_and_deviation(spread)}})
        parent.artifact(place / KEY, f"evaluation/{KEY}")
        runs.write_state(place, {"run": parent.id, "where": parent.where, "finished": True})
    return CrossValidated(parent.id, parent.where, place / KEY, whole, spread)


def _digest(plans: Sequence[Plan]) -> str:
    """Return the digest of all held-out parts together."""
    whole = [plan.corpus.whole() for plan in plans]
    return split_digest([segment for corpus in whole for segment in corpus.segments("test")], whole[0].scheme)


def joined(parts: Sequence[ScoredSplit]) -> ScoredSplit:
    """Return the predictions of all held-out parts as one, sorted by id, so that two cross-validations of a corpus lie row by row.

    Raises:
        UserError: there are none.
    """
    if not parts:
        raise UserError("no folds to put together; expected at least two")
    ids = [id for part in parts for id in part.ids]
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    # A segment without an article is numbered within its part; the numbers of two parts must not meet.
    groups = [f"{group}/{place}" if group.startswith("\0") else group for place, part in enumerate(parts) for group in part.groups]
    first = parts[0]
    return ScoredSplit(
        tuple(ids),
        tuple(groups),
        first.scheme,
        {task: np.concatenate([part.probabilities[task] for part in parts]) for task in first.probabilities},
        {task: np.concatenate([part.gold[task] for part in parts]) for task in first.gold},
        first.corpus,
        KEY,
    ).subset(order)


def over_folds(figures: Sequence[EvaluationResult]) -> Summary:
    """Return mean and standard deviation (n-1) of each headline figure over the folds, each fold counting the same.

    A task that some fold has no label of is left out.
    """
    first = figures[0]
    tasks = [name for name in first.tasks if all(name in fold.tasks for fold in figures)]
    values = {name: {figure: tuple(float(getattr(fold.tasks[name], figure)) for fold in figures) for figure in HEADLINE} for name in tasks}
    spreads = {
        name: {figure: Spread(fmean(row), stdev(row) if len(row) > 1 else None, row) for figure, row in rows.items()}
        for name, rows in values.items()
    }
    return Summary(first.corpus, KEY, sum(fold.n for fold in figures), len(figures), spreads)
