"""Metrics of topic and stance. The arithmetic works on arrays with any leading axes, so a bootstrap needs no loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.metrics.results import HEADLINE, Baseline, EvaluationResult, LabelMetrics, Resampling, Spread, Summary, TaskMetrics
from haltung.evaluation.predictions import Floats, Ints, ScoredSplit
from haltung.evaluation.statistics.bootstrap import (
    DRAWS,
    LEVEL,
    MIN_ARTICLES,
    SEED,
    Interval,
    bca_intervals,
    numbered,
    per_article,
    wilson,
)
from haltung.evaluation.statistics.significance import MIN_ARTICLES_COMPARED
from haltung.labels import Task

_PER_LABEL = ("precision", "recall", "f1")


@dataclass(frozen=True, eq=False)
class Counts:
    """What all metrics but log loss are made of; counts add up over segments.

    ``correct``, ``predicted``, ``support`` are ``[..., labels]``, ``exact`` (all labels of the segment
    right) and ``n`` are ``[...]``. ``all_labels``: macro-F1 averages over every label, not only over
    those that occur (see ``TaskMetrics``). Counts that a bootstrap has weighted are floats.
    """

    correct: Ints | Floats
    predicted: Ints | Floats
    support: Ints | Floats
    exact: Ints | Floats
    n: Ints | Floats
    all_labels: bool

    def total(self) -> Counts:
        """Return the counts summed over the first axis."""
        parts = (self.correct, self.predicted, self.support, self.exact, self.n)
        correct, predicted, support, exact, n = (part.sum(axis=0) for part in parts)
        return Counts(correct, predicted, support, exact, n, self.all_labels)

    def averaged(self) -> Floats:
        """Return the weight of each label in macro-F1, 0 or 1, ``[..., labels]``."""
        return np.ones(self.support.shape) if self.all_labels else ((self.predicted + self.support) > 0).astype(np.float64)

    def precision(self) -> Floats:
        """Return each label's precision, ``[..., labels]``, 0 where it is never predicted."""
        return _ratio(self.correct, self.predicted)

    def recall(self) -> Floats:
        """Return each label's recall, ``[..., labels]``, 0 where it never occurs."""
        return _ratio(self.correct, self.support)

    def f1(self) -> Floats:
        """Return each label's F1, ``[..., labels]``."""
        return _ratio(2 * self.correct, self.predicted + self.support)

    def accuracy(self) -> Floats:
        """Return the share of segments that are wholly right, ``[...]``."""
        return _ratio(self.exact, self.n)

    def macro_f1(self) -> Floats:
        """Return the mean F1 of the labels that count, ``[...]``."""
        weights = self.averaged()
        return _ratio((self.f1() * weights).sum(axis=-1), weights.sum(axis=-1))

    def micro_f1(self) -> Floats:
        """Return the F1 of the pooled counts, ``[...]``."""
        return _ratio(2 * self.correct.sum(axis=-1), (self.predicted + self.support).sum(axis=-1))

    def weighted_f1(self) -> Floats:
        """Return the mean F1 weighted by support, ``[...]``."""
        return _ratio((self.f1() * self.support).sum(axis=-1), self.support.sum(axis=-1))


def tally(gold: Ints, decided: Ints, labels: int) -> Counts:
    """Return the counts of each row by itself, ``[n, labels]`` and ``[n]``.

    Args:
        gold: ``[n]`` label indices, or ``[n, labels]`` of 0 and 1; no row unlabelled.
        decided: the same for the predictions.
        labels: how many labels the task has.
    """
    single = gold.ndim == 1
    has, given = (np.eye(labels, dtype=np.int64)[part] if single else part for part in (gold, decided))
    return Counts(has * given, given, has, (has == given).all(axis=1).astype(np.int64), np.ones(len(has), dtype=np.int64), not single)


@dataclass(frozen=True, eq=False)
class ArticleCounts:
    """One task's counts and log losses summed within each article: what a bootstrap weighs and adds up.

    The columns of ``sums``, ``[articles, 3 * labels + 3]``, are those of ``Counts`` (correct,
    predicted, support of each label; exact; n) and the log loss.
    """

    sums: Floats
    labels: int
    all_labels: bool

    def __len__(self) -> int:
        """Return the number of articles."""
        return len(self.sums)

    def counts(self, sums: Floats) -> Counts:
        """Return sums over articles, ``[..., columns]``, as counts."""
        size = self.labels
        correct, predicted, support = (sums[..., size * part : size * (part + 1)] for part in range(3))
        return Counts(correct, predicted, support, sums[..., 3 * size], sums[..., 3 * size + 1], self.all_labels)

    def macro_f1(self, sums: Floats) -> Floats:
        """Return macro-F1, ``[...]``, of sums over articles."""
        return self.counts(sums).macro_f1()

    def metrics(self, sums: Floats) -> Floats:
        """Return the headline metrics, then each label's precision, recall and F1.

        The shape is ``[..., 5 + 3 * labels]``; nan stands where nothing can be divided by.
        """
        counts = self.counts(sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            heads = [counts.macro_f1(), counts.accuracy(), counts.micro_f1(), counts.weighted_f1(), sums[..., -1] / counts.n]
            either = counts.predicted + counts.support
            parts = [counts.correct / counts.predicted, counts.correct / counts.support, 2 * counts.correct / either]
        out: Floats = np.concatenate([np.stack(heads, axis=-1), *parts], axis=-1)
        return out

    def intervals(self, draws: int = DRAWS, seed: int = SEED) -> list[Interval | None]:
        """Return an interval for each of ``metrics``, None where none can be given (see ``bca_intervals``).

        A share of 0 or 1, of which all draws agree, has Wilson's; F1 and a loss have none then.
        """
        ends = bca_intervals(self.sums, self.metrics, draws, seed)
        # Accuracy is a share of all articles, precision of those where the label is predicted,
        # recall of those where it is gold.
        counts = self.counts(self.sums)
        micro = 0 if self.all_labels else len(self)
        articles = [0, len(self), micro, 0, 0, *(counts.predicted > 0).sum(axis=0), *(counts.support > 0).sum(axis=0)]
        values = self.metrics(self.sums.sum(axis=0))
        if len(self) >= MIN_ARTICLES:
            for index, n in enumerate(articles):
                if ends[index] is None and n and values[index] in (0, 1):
                    ends[index] = wilson(float(values[index]), int(n))
        return ends


def article_counts(split: ScoredSplit, task: Task) -> ArticleCounts:
    """Return a task's sums by article, over the segments labelled for it.

    Articles stand in their order in the split.
    """
    rows = np.flatnonzero(split.labelled(task.name))
    gold, decided = split.gold[task.name][rows], split.decided(task.name)[rows]
    counts = tally(gold, decided, len(task))
    loss = losses(gold, split.probabilities[task.name][rows])
    segments: Floats = np.column_stack([counts.correct, counts.predicted, counts.support, counts.exact, counts.n, loss])
    return ArticleCounts(per_article(segments, numbered([split.groups[row] for row in rows])), len(task), counts.all_labels)


@dataclass(frozen=True, eq=False)
class TaskMean:
    """Several tasks on the same articles: ``sums`` are those of each task side by side, ``[articles, columns]``."""

    sums: Floats
    tasks: tuple[ArticleCounts, ...]

    def macro_f1(self, sums: Floats) -> Floats:
        """Return the mean of the tasks' macro-F1, ``[...]``, of sums over articles."""
        parts = np.split(sums, np.cumsum([task.sums.shape[1] for task in self.tasks])[:-1], axis=-1)
        out: Floats = np.mean([task.macro_f1(part) for task, part in zip(self.tasks, parts, strict=True)], axis=0)
        return out


def mean_over_tasks(split: ScoredSplit, tasks: Sequence[str]) -> TaskMean:
    """Return the counts of several tasks over all articles of the split, zeros where one has no label.

    Raises:
        UserError: there are too few articles to compare trials.
    """
    numbers = numbered(split.groups)
    articles = int(numbers.max(initial=-1)) + 1
    if articles < MIN_ARTICLES_COMPARED:
        raise UserError(
            f"{split.split or 'the split'} has {articles} articles; at least {MIN_ARTICLES_COMPARED} are needed to tell whether a trial "
            "is better than another"
        )
    counts = []
    for task in tasks:
        labelled = article_counts(split, split.scheme[task])
        sums = np.zeros((articles, labelled.sums.shape[1]))
        sums[list(dict.fromkeys(numbers[split.labelled(task)].tolist()))] = labelled.sums
        counts.append(replace(labelled, sums=sums))
    return TaskMean(np.hstack([part.sums for part in counts]), tuple(counts))


def evaluate(split: ScoredSplit) -> EvaluationResult:
    """Return the metrics of every task that has at least one gold label.

    Raises:
        UserError: the split is empty, or none of its segments is labelled for any task.
    """
    scheme = split.scheme
    tasks = {task.name: _task_metrics(split, task) for task in scheme if split.labelled(task.name).any()}
    if not tasks:
        unlabelled = f"none of its {len(split)} segments is labelled for {' or '.join(scheme.names)}"
        raise UserError(f"{f'the split {split.split}'.rstrip()} can't be evaluated: {unlabelled if len(split) else 'it has no segments'}")
    return EvaluationResult(split.corpus, split.split, len(split), len(set(split.groups)), scheme.name, scheme.digest(), tasks)


def with_intervals(result: EvaluationResult, split: ScoredSplit, draws: int = DRAWS, seed: int = SEED) -> EvaluationResult:
    """Return the result of ``evaluate(split)`` with 95 % intervals for the headline and each label's metrics."""
    tasks = {}
    for name, metrics in result.tasks.items():
        ends = article_counts(split, split.scheme[name]).intervals(draws, seed)
        size, first = len(metrics.labels), len(HEADLINE)
        labels = tuple(
            replace(label, intervals=_named(_PER_LABEL, ends[first + index :: size])) for index, label in enumerate(metrics.labels)
        )
        tasks[name] = replace(metrics, labels=labels, intervals=_named(HEADLINE, ends[:first]))
    return replace(result, tasks=tasks, resampling=Resampling("BCa bootstrap by article", LEVEL, draws, seed))


def confusion(gold: Ints, decided: Ints, labels: int) -> Ints:
    """Return how many segments of gold label i are predicted j, ``[labels, labels]``."""
    return np.bincount(gold * labels + decided, minlength=labels * labels).reshape(labels, labels).astype(np.int64)


def outcomes(gold: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities that are judged, and whether each came true (0 or 1).

    ``[n]`` for a single-label task: each segment's highest probability and whether that label is
    right. ``[n * labels]`` for a multi-label task: each label's probability and whether the segment
    has the label.
    """
    if gold.ndim == 1:
        return probabilities.max(axis=1), (probabilities.argmax(axis=1) == gold).astype(np.float64)
    return probabilities.ravel(), gold.ravel().astype(np.float64)


def log_loss(gold: Ints, probabilities: Floats) -> float:
    """Return the mean negative log-likelihood in nats; of a multi-label task over segments and labels.

    Probabilities are clipped to the smallest step of a double, as scikit-learn does, so that one
    sure mistake costs 36 and not infinity.
    """
    return float(losses(gold, probabilities).mean())


def losses(gold: Ints, probabilities: Floats) -> Floats:
    """Return each segment's part of the log loss, ``[n]``; ``log_loss`` is their mean."""
    step = np.finfo(np.float64).eps
    values = np.clip(probabilities, step, 1 - step)
    if gold.ndim == 1:
        single: Floats = -np.log(values[np.arange(len(gold)), gold])
        return single
    multi: Floats = -(gold * np.log(values) + (1 - gold) * np.log1p(-values)).mean(axis=1)
    return multi


def summary(results: Sequence[EvaluationResult]) -> Summary:
    """Return mean and standard deviation (n-1) of each headline metric over runs that differ in their seed.

    Raises:
        UserError: there are none, or they are not of the same split, scheme and tasks.
    """
    if not results:
        raise UserError("no evaluations to summarise; expected one for each seed")
    first = results[0]
    for other in results[1:]:
        for name in ("corpus", "split", "n", "groups", "scheme", "scheme_digest"):
            if getattr(other, name) != getattr(first, name):
                raise UserError(
                    f"evaluations of different {name.replace('_', ' ')} can't be averaged: {getattr(first, name)!r} and "
                    f"{getattr(other, name)!r}; evaluate all runs on the same split with the same scheme"
                )
        if {name: task.n for name, task in other.tasks.items()} != {name: task.n for name, task in first.tasks.items()}:
            raise UserError(
                "evaluations can't be averaged: their segments are labelled for different tasks; evaluate all runs on the same split"
            )
    tasks = {name: {metric: _spread([run.tasks[name].value(metric) for run in results]) for metric in HEADLINE} for name in first.tasks}
    return Summary(first.corpus, first.split, first.n, len(results), tasks)


def _task_metrics(split: ScoredSplit, task: Task) -> TaskMetrics:
    """Return the metrics of one task, on the segments that are labelled for it (at least one)."""
    rows = split.labelled(task.name)
    gold, decided = split.gold[task.name][rows], split.decided(task.name)[rows]
    counts = tally(gold, decided, len(task)).total()
    columns = (counts.precision(), counts.recall(), counts.f1(), counts.support, counts.predicted, counts.correct)
    return TaskMetrics(
        task=task.name,
        kind=task.kind,
        n=int(counts.n),
        accuracy=float(counts.accuracy()),
        macro_f1=float(counts.macro_f1()),
        micro_f1=float(counts.micro_f1()),
        weighted_f1=float(counts.weighted_f1()),
        log_loss=log_loss(gold, split.probabilities[task.name][rows]),
        labels=tuple(LabelMetrics(label, *(column[index].item() for column in columns)) for index, label in enumerate(task.ids)),
        labels_averaged=tuple(label for label, weight in zip(task.ids, counts.averaged(), strict=True) if weight),
        confusion=tuple(tuple(row) for row in confusion(gold, decided, len(task)).tolist()) if task.kind == "single" else (),
        majority=_majority(gold, task),
        # One segment, or segments that are all alike, are rightly all predicted the same.
        collapsed=bool((decided == decided[0]).all() and not (gold == gold[0]).all()),
    )


def _majority(gold: Ints, task: Task) -> Baseline:
    if gold.ndim == 1:
        # bincount before argmax: of equals, the first in the scheme's order.
        most = int(np.bincount(gold, minlength=len(task)).argmax())
        always = np.full_like(gold, most)
        labels: tuple[str, ...] = (task.ids[most],)
    else:
        often = (2 * gold.sum(axis=0) > len(gold)).astype(np.int64)
        always = np.broadcast_to(often, gold.shape)
        labels = tuple(label for label, usual in zip(task.ids, often, strict=True) if usual)
    counts = tally(gold, always, len(task)).total()
    return Baseline(labels, float(counts.accuracy()), float(counts.macro_f1()))


def _spread(values: list[float]) -> Spread:
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, tuple(values))


def _named(names: Sequence[str], ends: Sequence[Interval | None]) -> dict[str, Interval]:
    return {name: interval for name, interval in zip(names, ends, strict=True) if interval is not None}


def _ratio(above: Floats | Ints, below: Floats | Ints) -> Floats:
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64))
    out: Floats = np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
    return out
