"""Combine trainings in one run: cross-validation with joined predictions, or an ensemble."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from haltung import tracking
from haltung.corpus.store import Prepared, split_digest
from haltung.errors import UserError
from haltung.evaluation.metrics import classification
from haltung.evaluation.metrics.calibration import measure
from haltung.evaluation.metrics.results import EvaluationResult, Summary
from haltung.evaluation.predictions import ScoredSplit, write_predictions
from haltung.evaluation.report import page
from haltung.evaluation.report.i18n import word
from haltung.experiments.compare import FOLDS
from haltung.experiments.evaluate import TrainedModel, evaluate_model
from haltung.experiments.train import Plan, TrainingOutcome, directory_of, save, tags_of, train
from haltung.files import sha256
from haltung.models import bundle
from haltung.models.ensemble import Member, pool
from haltung.models.predictor import Calibration
from haltung.tracking import Run, Store
from haltung.tracking.directory import tracked
from haltung.training.calibration import OutOfFold, calibration_for, recalibrated

MIN_ARTICLES = 100  # a split of a tenth of fewer has no interval: experiments/2026-12-01-small-samples.md


@dataclass(frozen=True)
class CrossValidation:
    """A cross-validation: its run, its report folder, the result over the out-of-fold predictions,
    the summary over folds, and the model trained on all rows, if any.
    """

    run: Run
    folder: Path
    evaluation: EvaluationResult
    summary: Summary
    final: TrainingOutcome | None = None


def folds_for(corpus: Prepared, most: int = 5) -> int:
    """Return the number of folds to cross-validate a corpus with; 1 if it is large enough for one
    dev and one test split, these are given, or a task has too few labels to score.
    """
    articles = sum(corpus.manifest.articles.values())
    drawn = corpus.manifest.split["kind"] in ("ByGroup", "Stratified")
    counts = [[count for part in task.values() for label, count in part.items() if label] for task in corpus.manifest.labels.values()]
    return max(1, min(most, articles // 2)) if drawn and articles < MIN_ARTICLES and min(map(sum, counts)) >= most else 1


def cross_validate(
    plans: Sequence[Plan], store: Store, callback: Callable[[EvaluationResult], None], final: Plan | None = None
) -> CrossValidation:
    """Train each fold, score it on its held-out part, and join the predictions.

    There is one plan per fold, all with one name. The test splits of their corpora are disjoint and
    together cover the corpus. ``callback`` gets the result of each fold on its held-out part.
    Temperatures and thresholds are fitted on the out-of-fold predictions; metrics use temperatures
    fitted for each fold on the others. The plan ``final``, whose corpus is all train, gets the
    temperatures of all folds and these metrics. ``UserError`` as ``train``, or if folds overlap.
    """
    first, name = plans[0], f"{plans[0].name}-folds"
    plans = [replace(plan, name=f"{plan.name}-fold-{fold}") for fold, plan in enumerate(plans, start=1)]
    directory = directory_of(f"{name}-{first.seed}", plans)
    held_out = [plan.corpus.segments("test") for plan in plans]
    rows = sorted((segment for part in held_out for segment in part), key=lambda segment: segment.id)  # the order of ``joined``
    if len({segment.id for segment in rows}) < len(rows):
        raise UserError("two folds hold out the same segment; all folds need the same splits@corpus.split=kfold, with one seed")
    scheme, whole = first.corpus.scheme, [plan.corpus.whole() for plan in plans]
    tags = {
        "haltung.kind": FOLDS, "haltung.corpus": first.corpus.name, "haltung.scheme": scheme.name, "haltung.scheme_digest": scheme.digest(),
        # Over all tasks of the corpus, so that models of only some tasks can be compared.
        f"haltung.digest.{FOLDS}": split_digest([row for corpus in whole for row in corpus.segments("test")], whole[0].scheme),
        **tracking.provenance(first.command),
    }  # fmt: skip
    with tracked(directory, f"{name}-{first.seed}", store, tags, {**first.config, "seed": first.seed}, resume=first.resume) as parent:
        folds, bare, costs = [], [], []
        for plan, segments in zip(plans, held_out, strict=True):
            trained = train(plan, store, parent)
            model = TrainedModel(plan.title, trained.bundle, tracking.find(store, trained.run))
            folds.append(evaluate_model(model, segments, plan.corpus, "test", trained.bundle.parent / "test", plan.command, plan.language))
            callback(folds[-1].result)
            bare.append(recalibrated(folds[-1].scored, bundle.load(trained.bundle).calibration, Calibration()))
            costs.append({key: value for key, value in tracking.find(store, trained.run).metrics.items() if key.startswith("cost/")})
        whole_corpus = joined(bare)
        calibration = calibration_for(whole_corpus)
        others = [calibration_for(joined([part for part in bare if part is not one]), tasks=calibration.temperatures) for one in bare]
        scored = joined([recalibrated(part, Calibration(), other) for part, other in zip(bare, others, strict=True)])
        report = measure(scored, calibration.temperatures, {}, whole_corpus)  # thresholds would be scored on the rows they were chosen on
        result = classification.with_intervals(classification.evaluate(scored), scored)
        summary = over_folds([fold.result for fold in folds])
        details = {"run": parent.id, "command": tags["haltung.command"], "folds": word("folds_explained", first.language, folds=len(plans))}
        page.write(directory / FOLDS, result, scored, language=first.language, title=name, details=details, calibration=report)
        parent.metrics({FOLDS: {**result.headline(), **summary.metrics(), **report.metrics()}})
        parent.artifact(directory / FOLDS, f"evaluation/{FOLDS}")
        write_predictions(directory / FOLDS / page.PREDICTIONS, scored, rows)  # after the run's copy is made, as in ``evaluate_model``
        outcome = None
        if final:
            means = {key: float(np.mean([cost[key] for cost in costs])) for key in costs[0] if all(key in cost for cost in costs)}
            undone = "cost/logit_adjustment_"
            shares = {key.removeprefix(undone): mean for key, mean in means.items() if key.startswith(undone)}
            # There is no dev split: train for the mean best epoch of the folds.
            training = replace(final.training, epochs=max(1, round(means.get("cost/best_epoch", final.training.epochs))))
            whole_result = OutOfFold(len(plans), scored, calibration, report, str(tags[f"haltung.digest.{FOLDS}"]), shares)
            outcome = train(replace(final, training=training, held_out=whole_result, share=1.0), store, parent)
            parent.tags({tracking.MEMBERS: outcome.run})
    return CrossValidation(parent, directory / FOLDS, result, summary, outcome)


def joined(parts: Sequence[ScoredSplit]) -> ScoredSplit:
    """Join the predictions of the held-out parts, sorted by id so that runs match row by row."""
    ids = [id for part in parts for id in part.ids]
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    # Segments without an article are numbered within their part; add the part's number.
    groups = [f"{group}/{number}" if group.startswith("\0") else group for number, part in enumerate(parts) for group in part.groups]
    first = parts[0]
    probabilities = {task: np.concatenate([part.probabilities[task] for part in parts]) for task in first.probabilities}
    gold = {task: np.concatenate([part.gold[task] for part in parts]) for task in first.gold}
    return ScoredSplit(tuple(ids), tuple(groups), first.scheme, probabilities, gold, first.corpus, FOLDS).subset(order)


def over_folds(folds: Sequence[EvaluationResult]) -> Summary:
    """Return mean and standard deviation (n-1) of the headline metrics of tasks in all folds.

    The deviation is not a standard error, because the folds' training parts overlap (Bengio and
    Grandvalet 2004, "No unbiased estimator of the variance of k-fold cross-validation").
    """
    return Summary(folds[0].corpus, FOLDS, sum(fold.n for fold in folds), len(folds), classification.spreads(folds))


def combine(
    members: Sequence[TrainedModel], corpus: Prepared, store: Store, name: str, folder: Path, config: Mapping[str, Any],
    command: Sequence[str], language: str = "en",
) -> tuple[TrainingOutcome, Mapping[str, Sequence[float]]]:  # fmt: skip
    """Combine models into an ensemble, calibrate it, evaluate it on dev, and track it.

    Return the weights too, fitted on dev. All members must have been trained on this corpus with
    its current split. ``folder`` is the parent of all run directories. ``UserError`` if a member is
    named twice, or was trained on another corpus, split or scheme, so that it may have seen dev.
    """
    manifest = corpus.manifest
    names = [member.name for member in members]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{twice[0]} is named twice; an ensemble is made of different models")
    digests = []
    for member in members:
        trained = bundle.describe(member.bundle).get("provenance", {}).get("corpus_digest")
        if trained != manifest.digest:
            found = f"on another one (digest {trained[:12]})" if trained else "on a corpus that its bundle does not name"
            raise UserError(
                f"{member.name} was not trained on {manifest.name} as it is split now (digest {manifest.digest[:12]}), but {found}, "
                "and may have learned from what the weights would be fitted on; use members that were trained on the same corpus"
            )
        digests.append(sha256(member.bundle / bundle.DESCRIPTION))
    directory = folder / f"{name}-{hashlib.sha256('/'.join([name, *digests]).encode()).hexdigest()[:8]}"
    train_split, dev_split = corpus.segments("train"), corpus.segments("dev")
    if not dev_split:
        raise UserError(f"{names[0]} was trained on all rows, so no dev split is left to fit weights on; use members with the same split")
    # Members that can't be pooled fail before a run is created.
    model, predictions = pool([Member(member.name, bundle.load_trained(member.bundle)) for member in members], dev_split, progress=True)
    tags = {**tags_of(corpus, "ensemble", command), "haltung.members": ", ".join(names)}
    with tracked(directory, name, store, tags, config) as run:
        run.artifact(corpus.folder / "manifest.json", "corpus")
        outcome = save(
            model, run, corpus, train_split, dev_split, directory, title=name, command=tags["haltung.command"],
            provenance={"members": names}, language=language, predictions=predictions, made_of=[member.bundle for member in members],
        )  # fmt: skip
        # By number, as in the tag: a member may be a folder, whose path is not a valid metric name.
        run.metrics({"weight": {task: {str(number): weight for number, weight in enumerate(row)} for task, row in model.weights.items()}})
    return outcome, model.weights
