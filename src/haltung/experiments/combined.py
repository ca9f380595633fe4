"""Several trainings as one tracked run: of folds, of growing parts of train, or as an ensemble.

Cross-validation joins the predictions of its folds, a learning curve has a point for each part, and
an ensemble is one model of trained ones, with weights fitted on dev.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from haltung import tracking
from haltung.corpus.store import Prepared, split_digest
from haltung.corpus.stratify import subsample
from haltung.errors import UserError
from haltung.evaluation.metrics import classification
from haltung.evaluation.metrics.results import EvaluationResult, Spread, Summary
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report import page, plots, style
from haltung.evaluation.report.i18n import count, word
from haltung.evaluation.report.tables import Grid, spread
from haltung.experiments.compare import FOLDS
from haltung.experiments.evaluate import TrainedModel, evaluate_model
from haltung.experiments.train import Plan, TrainingOutcome, directory_of, save, tags_of, tracked, train
from haltung.files import sha256
from haltung.models import bundle
from haltung.models.ensemble import Member, pool
from haltung.tracking import Run, Store


def cross_validate(
    plans: Sequence[Plan], store: Store, callback: Callable[[EvaluationResult], None]
) -> tuple[Run, Path, EvaluationResult, Summary]:
    """Train each fold, score it on its held-out part, and join the predictions.

    There is a plan for each fold, all of one name; the test splits of their corpora are disjoint,
    and together they are the whole corpus. ``callback`` gets the result of each fold on its
    held-out part. Return the run, the folder of report and predictions, the result over the
    out-of-fold predictions, and the summary of the folds. Raises ``UserError`` as ``train``, or if
    two folds hold out the same segment.
    """
    first, name = plans[0], f"{plans[0].name}-folds"
    plans = [replace(plan, name=f"{plan.name}-fold-{fold}") for fold, plan in enumerate(plans, start=1)]
    directory = directory_of(f"{name}-{first.seed}", plans)
    held_out = [plan.corpus.segments("test") for plan in plans]
    ids = [segment.id for part in held_out for segment in part]
    if len(set(ids)) < len(ids):
        raise UserError("two folds hold out the same segment; all folds need the same splits@corpus.split=kfold, with one seed")
    scheme, whole = first.corpus.scheme, [plan.corpus.whole() for plan in plans]
    tags = {
        "haltung.kind": FOLDS, "haltung.corpus": first.corpus.name, "haltung.scheme": scheme.name, "haltung.scheme_digest": scheme.digest(),
        # Over all tasks of the corpus, so that models of some of them can be compared.
        f"haltung.digest.{FOLDS}": split_digest([row for corpus in whole for row in corpus.segments("test")], whole[0].scheme),
        **tracking.provenance(first.command),
    }  # fmt: skip
    with tracked(directory, f"{name}-{first.seed}", store, tags, {**first.config, "seed": first.seed}, resume=first.resume) as parent:
        folds = []
        for plan, segments in zip(plans, held_out, strict=True):
            trained = train(plan, store, parent)
            model = TrainedModel(plan.title, trained.bundle, tracking.find(store, trained.run))
            folder = trained.bundle.parent / "test"
            folds.append(evaluate_model(model, segments, plan.corpus, "test", folder, plan.command, plan.language))
            callback(folds[-1].result)
        scored = joined([fold.scored for fold in folds])
        result = classification.with_intervals(classification.evaluate(scored), scored)
        summary = over_folds([fold.result for fold in folds])
        details = {"run": parent.id, "command": tags["haltung.command"], "folds": str(len(plans))}
        page.write(directory / FOLDS, result, scored, language=first.language, title=name, details=details)
        parent.metrics({FOLDS: {**result.headline(), **summary.metrics()}})
        parent.artifact(directory / FOLDS, f"evaluation/{FOLDS}")
    return parent, directory / FOLDS, result, summary


def joined(parts: Sequence[ScoredSplit]) -> ScoredSplit:
    """Join the predictions of the held-out parts, sorted by id, so that runs match row by row."""
    ids = [id for part in parts for id in part.ids]
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    # A segment without an article is numbered within its part; numbers of two parts must differ.
    groups = [f"{group}/{number}" if group.startswith("\0") else group for number, part in enumerate(parts) for group in part.groups]
    first = parts[0]
    probabilities = {task: np.concatenate([part.probabilities[task] for part in parts]) for task in first.probabilities}
    gold = {task: np.concatenate([part.gold[task] for part in parts]) for task in first.gold}
    return ScoredSplit(tuple(ids), tuple(groups), first.scheme, probabilities, gold, first.corpus, FOLDS).subset(order)


def over_folds(folds: Sequence[EvaluationResult]) -> Summary:
    """Return mean and deviation (n-1) of the headline metrics, of the tasks that each fold has.

    The deviation is no standard error, since the folds' training parts overlap (Bengio and
    Grandvalet 2004, "No unbiased estimator of the variance of k-fold cross-validation").
    """
    return Summary(folds[0].corpus, FOLDS, sum(fold.n for fold in folds), len(folds), classification.spreads(folds))


@dataclass(frozen=True)
class CurvePoint:
    """A share of train: its mean number of segments, and macro-F1 on dev over seeds, by task."""

    share: float
    segments: float
    macro_f1: Mapping[str, Spread]


def learning_curve(
    plans: Sequence[Plan], shares: Sequence[float], store: Store, callback: Callable[[CurvePoint], None]
) -> tuple[Run, Path, list[CurvePoint]]:
    """Train on each share of train with each seed; return run, plot, and points by share.

    There is a plan for each seed, all of one name. The smallest share comes first: it is done
    soonest, and shows mistakes. Test is not opened. Each seed draws its own order of articles
    (``corpus.stratify.subsample``), so the spread over seeds contains the luck of the draw; at the
    full size it is that of the training alone. Raises ``UserError`` as ``train``.
    """
    first, name = plans[0], f"{plans[0].name}-curve"
    rows = [[replace(plan, name=f"{plan.name}-{share:g}", share=share) for plan in plans] for share in sorted(set(shares))]
    directory = directory_of(name, [plan for row in rows for plan in row])
    tags = {"haltung.kind": "curve", "haltung.corpus": first.corpus.name, **tracking.provenance(first.command)}
    config = {**first.config, "seed": ",".join(str(plan.seed) for plan in plans)}
    train_split, scheme = first.corpus.segments("train"), first.corpus.scheme
    with tracked(directory, name, store, tags, config, resume=first.resume) as parent:
        points = []
        for row in rows:
            done = classification.summary([train(plan, store, parent).evaluation for plan in row])
            sizes = [len(subsample(train_split, plan.share, plan.seed)) for plan in row]
            macro_f1 = {task: metrics["macro_f1"] for task, metrics in done.tasks.items()}
            points.append(CurvePoint(row[0].share, sum(sizes) / len(sizes), macro_f1))
            step = round(points[-1].segments)
            parent.history([{"step": step, **{f"curve/{task}_macro_f1": value.mean for task, value in macro_f1.items()}}])
            callback(points[-1])
        parent.metrics({"dev": {task: {"macro_f1": metrics["macro_f1"]} for task, metrics in done.metrics().items()}})
        by_task = {
            scheme[task].title(first.language): [(one.segments, one.macro_f1[task].mean, one.macro_f1[task].deviation) for one in points]
            for task in done.tasks
        }
        figure = plots.learning_curve(by_task, f"{first.corpus.name} · dev", first.language)
        plot = style.save(figure, directory / "learning_curve.png")
        parent.artifact(plot, "curve")
        parent.text(json.dumps([asdict(point) for point in points], indent=2) + "\n", "curve/points.json")
    return parent, plot, points


def table(points: Sequence[CurvePoint], corpus: Prepared, language: str = "en") -> Grid:
    """Return a table with one row for each share."""
    tasks = list(points[-1].macro_f1)
    titles = [f"{corpus.scheme[task].title(language)}, {word('macro_f1', language)}" for task in tasks]
    rows = tuple(
        (f"{point.share:g}", count(round(point.segments), language), *(spread(point.macro_f1[task], language) for task in tasks))
        for point in points
    )
    return Grid(f"{corpus.name} · dev", (word("share_of_train", language), word("segments", language), *titles), rows)


def combine(
    members: Sequence[TrainedModel], corpus: Prepared, store: Store, name: str, folder: Path, config: Mapping[str, Any],
    command: Sequence[str], language: str = "en",
) -> tuple[TrainingOutcome, Mapping[str, Sequence[float]]]:  # fmt: skip
    """Make one model of several, calibrate it, evaluate it on dev, track it; return weights too.

    All members were trained on this corpus, as it is split now; the weights are fitted on its dev
    split. ``folder`` is the parent of all run directories. Raises ``UserError`` if a member is
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
                "and may have learned what the weights are to be fitted on; take members that were trained on one corpus"
            )
        digests.append(sha256(member.bundle / bundle.DESCRIPTION))
    directory = folder / f"{name}-{hashlib.sha256('/'.join([name, *digests]).encode()).hexdigest()[:8]}"
    train_split, dev_split = corpus.segments("train"), corpus.segments("dev")
    # What can't be pooled fails before there is a run.
    model, predictions = pool([Member(member.name, bundle.load_trained(member.bundle)) for member in members], dev_split, progress=True)
    tags = {**tags_of(corpus, "ensemble", command), "haltung.members": ", ".join(names)}
    with tracked(directory, name, store, tags, config) as run:
        run.artifact(corpus.folder / "manifest.json", "corpus")
        outcome = save(
            model, run, corpus, train_split, dev_split, directory, title=name, command=tags["haltung.command"],
            provenance={"members": names}, language=language, predictions=predictions, made_of=[member.bundle for member in members],
        )  # fmt: skip
        # By number, as in the tag: a member may be a folder, whose path is no name of a metric.
        run.metrics({"weight": {task: {str(number): weight for number, weight in enumerate(row)} for task, row in model.weights.items()}})
    return outcome, model.weights
