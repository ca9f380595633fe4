"""Metrics of topic and stance; counts may have leading axes, so the bootstrap needs no loop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean, stdev
from typing import Self

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.metrics.results import HEADLINE, Baseline, EvaluationResult, LabelMetrics, Resampling, Spread, Summary, TaskMetrics
from haltung.evaluation.predictions import Floats, Ints, ScoredSplit
from haltung.evaluation.statistics import bootstrap, significance
from haltung.evaluation.statistics.bootstrap import DRAWS, SEED, Interval, ratio
from haltung.labels import Task

_PER_LABEL = ("precision", "recall", "f1")


@dataclass(frozen=True, eq=False)
class Counts:
    """The counts from which the metrics of one task are computed; they are additive over segments.

    ``sums`` is ``[..., 3 * labels + 3]``: correct, predicted and support of each label, segments
    with all labels correct, segments, and the log loss. ``all_labels``: macro-F1 averages over all
    labels, not only those that occur (see ``TaskMetrics``).
    """

    sums: Floats
    labels: int
    all_labels: bool

    def of(self, sums: Floats) -> Self:
        """Return counts with other ``sums`` of the same columns."""
        return replace(self, sums=sums)

    def total(self) -> Self:
        """Return the counts summed over the first axis."""
        return self.of(self.sums.sum(axis=0))

    def by_label(self) -> tuple[Floats, Floats, Floats]:
        """Return correct, predicted and support, each ``[..., labels]``."""
        size = self.labels
        return self.sums[..., :size], self.sums[..., size : 2 * size], self.sums[..., 2 * size : 3 * size]

    def accuracy(self) -> Floats:
        """Return the share of segments with all labels correct, ``[...]``."""
        return ratio(self.sums[..., -3], self.sums[..., -2])

    def macro_f1(self) -> Floats:
        """Return the mean F1 of the averaged labels, ``[...]``."""
        correct, predicted, support = self.by_label()
        # A label that is not averaged has an F1 of 0.
        return ratio(ratio(2 * correct, predicted + support).sum(axis=-1), self.averaged().sum(axis=-1))

    def averaged(self) -> Floats:
        """Return the weight of each label in macro-F1, 0 or 1, ``[..., labels]``."""
        _, predicted, support = self.by_label()
        return np.ones(support.shape) if self.all_labels else (predicted + support > 0).astype(np.float64)

    def metrics(self) -> Floats:
        """Return headline metrics, then labels' precision, recall, F1, ``[..., 5 + 3 * labels]``.

        If the denominator is 0, log loss and the metrics of labels are nan, the others 0.
        """
        correct, predicted, support = self.by_label()
        micro = ratio(2 * correct.sum(axis=-1), (predicted + support).sum(axis=-1))
        weighted = ratio((ratio(2 * correct, predicted + support) * support).sum(axis=-1), support.sum(axis=-1))
        heads = [self.macro_f1(), self.accuracy(), micro, weighted, ratio(self.sums[..., -1], self.sums[..., -2], np.nan)]
        pairs = ((correct, predicted), (correct, support), (2 * correct, predicted + support))
        return np.concatenate([np.stack(heads, axis=-1), *(ratio(*pair, np.nan) for pair in pairs)], axis=-1)

    def intervals(self, draws: int = DRAWS, seed: int = SEED) -> list[Interval | None]:
        """Return an interval or None for each of ``metrics``, from counts by article.

        If all draws equal 0 or 1, shares (accuracy, precision, recall) get Wilson's, others None.
        """
        ends = bootstrap.bca_intervals(self.sums, lambda sums: self.of(sums).metrics(), draws, seed)
        if len(self.sums) < bootstrap.MIN_ARTICLES:
            return ends
        # n: all articles for accuracy (which single-label micro-F1 equals), else those concerned.
        _, predicted, support = ((part > 0).sum(axis=0) for part in self.by_label())
        every = len(self.sums)
        articles = [0, every, 0 if self.all_labels else every, 0, 0, *predicted, *support]
        for index, (n, value) in enumerate(zip(articles, self.total().metrics(), strict=False)):
            if ends[index] is None and n and value in (0, 1):
                ends[index] = bootstrap.wilson(float(value), int(n))
        return ends


@dataclass(frozen=True, eq=False)
class TaskMean:
    """The counts of several tasks by article, concatenated in ``sums``, ``[articles, columns]``."""

    sums: Floats
    tasks: tuple[Counts, ...]

    def macro_f1(self, sums: Floats) -> Floats:
        """Return the mean of the tasks' macro-F1, ``[...]``, from ``sums``, ``[..., columns]``."""
        parts = np.split(sums, np.cumsum([task.sums.shape[1] for task in self.tasks])[:-1], axis=-1)
        return np.asarray(np.mean([task.of(part).macro_f1() for task, part in zip(self.tasks, parts, strict=True)], axis=0))


def tally(gold: Ints, decided: Ints, labels: int, loss: Floats | None = None) -> Counts:
    """Return the counts of each segment, ``[n, columns]``.

    ``gold`` and ``decided`` are label indices, ``[n]``, or 0 and 1, ``[n, labels]``, without
    unlabelled rows; ``loss`` is the log loss of each segment, ``[n]``, 0 if not given.
    """
    single = gold.ndim == 1
    has, given = (np.eye(labels, dtype=np.int64)[part] if single else part for part in (gold, decided))
    one = np.ones(len(has))
    sums = np.column_stack([has * given, given, has, (has == given).all(axis=1), one, 0 * one if loss is None else loss])
    return Counts(sums, labels, not single)


def segment_counts(split: ScoredSplit, task: Task) -> Counts:
    """Return a task's counts by segment, for the segments labelled for it."""
    rows = split.labelled(task.name)
    gold = split.gold[task.name][rows]
    return tally(gold, split.decided(task.name)[rows], len(task), losses(gold, split.probabilities[task.name][rows]))


def article_counts(split: ScoredSplit, task: Task) -> Counts:
    """Return a task's counts by article, in the split's order, over its labelled segments."""
    counts = segment_counts(split, task)
    groups = [split.groups[row] for row in np.flatnonzero(split.labelled(task.name))]
    return counts.of(bootstrap.per_article(counts.sums, bootstrap.numbered(groups)))


def sample_metrics(runs: Sequence[Counts], draws: int = DRAWS, seed: int = SEED) -> significance.Sampled:
    """Return a system's metrics and draws; a ``seed`` draws the same articles for all systems."""
    every = runs[0].of(np.stack([run.sums for run in runs], axis=1))
    drawn = every.of(bootstrap.resampled(every.sums, draws, seed)).metrics().mean(axis=1)
    return significance.Sampled(every.total().metrics(), drawn, len(every.sums))


def mean_over_tasks(split: ScoredSplit, tasks: Sequence[str]) -> TaskMean:
    """Return several tasks' counts by article; ``UserError`` if there are too few articles."""
    numbers = bootstrap.numbered(split.groups)
    if (articles := int(numbers.max(initial=-1)) + 1) < significance.MIN_ARTICLES:
        raise UserError(f"{split.split} has {articles} articles; at least {significance.MIN_ARTICLES} are needed to compare trials")
    segments = [(segment_counts(split, split.scheme[task]), numbers[split.labelled(task)]) for task in tasks]
    counts = tuple(one.of(bootstrap.per_article(one.sums, rows, articles)) for one, rows in segments)
    return TaskMean(np.hstack([part.sums for part in counts]), counts)


def evaluate(split: ScoredSplit, required: bool = True) -> EvaluationResult:
    """Return metrics by task; ``UserError`` without segments or, if ``required``, gold labels."""
    scheme = split.scheme
    tasks = {task.name: _task_metrics(split, task) for task in split.tasks}
    if not tasks and (required or not len(split)):
        why = f"none of its {len(split)} segments is labelled for {' or '.join(scheme.names)}" if len(split) else "it has no segments"
        raise UserError(f"{f'the split {split.split}'.rstrip()} can't be evaluated: {why}")
    lone = sum(group.startswith("\0") for group in split.groups)
    return EvaluationResult(split.corpus, split.split, len(split), len(set(split.groups)), scheme.name, scheme.digest(), tasks, lone=lone)


def with_intervals(result: EvaluationResult, split: ScoredSplit) -> EvaluationResult:
    """Return the result of ``evaluate(split)`` with 95 % intervals for all metrics."""
    tasks = {}
    for name, metrics in result.tasks.items():
        ends = article_counts(split, split.scheme[name]).intervals()
        heads, rates, size = ends[: len(HEADLINE)], ends[len(HEADLINE) :], len(metrics.labels)
        labels = (replace(label, intervals=_named(_PER_LABEL, rates[index::size])) for index, label in enumerate(metrics.labels))
        tasks[name] = replace(metrics, labels=tuple(labels), intervals=_named(HEADLINE, heads))
    return replace(result, tasks=tasks, resampling=Resampling("BCa bootstrap by article", bootstrap.LEVEL, DRAWS, SEED))


def losses(gold: Ints, probabilities: Floats) -> Floats:
    """Return each segment's log loss in nats, ``[n]``; for a multi-label task the mean over labels.

    Probabilities are clipped at the machine epsilon of a double, as in scikit-learn, so that one
    fully confident mistake costs 36, not infinity.
    """
    step = np.finfo(np.float64).eps
    values = np.clip(probabilities, step, 1 - step)
    if gold.ndim == 1:
        return np.asarray(-np.log(values[np.arange(len(gold)), gold]))
    return np.asarray(-(gold * np.log(values) + (1 - gold) * np.log1p(-values)).mean(axis=1))


def outcomes(gold: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities to assess, and whether each came true (0 or 1).

    ``[n]`` for a single-label task: each segment's highest probability and whether that label is
    correct. ``[n * labels]`` for a multi-label task: each label's probability and gold value.
    """
    if gold.ndim == 1:
        return probabilities.max(axis=1), (probabilities.argmax(axis=1) == gold).astype(np.float64)
    return probabilities.ravel(), gold.ravel().astype(np.float64)


def summary(results: Sequence[EvaluationResult]) -> Summary:
    """Return mean and deviation (n-1) over runs; ``UserError`` for unequal splits or schemes."""
    if not results:
        raise UserError("no evaluations to summarise; expected one for each seed")
    first = results[0]
    for other in results[1:]:
        for name in ("corpus", "split", "n", "groups", "scheme", "scheme_digest"):
            if getattr(other, name) != getattr(first, name):
                found = f"{getattr(first, name)!r} and {getattr(other, name)!r}; evaluate all runs on the same split with the same scheme"
                raise UserError(f"evaluations of different {name.replace('_', ' ')} can't be averaged: {found}")
        if {name: task.n for name, task in other.tasks.items()} != {name: task.n for name, task in first.tasks.items()}:
            why = "their segments are labelled for different tasks; evaluate all runs on the same split"
            raise UserError(f"evaluations can't be averaged: {why}")
    return Summary(first.corpus, first.split, first.n, len(results), spreads(results))


def spreads(results: Sequence[EvaluationResult]) -> dict[str, dict[str, Spread]]:
    """Return mean and deviation (n-1) of the headline metrics of tasks common to all results."""
    tasks: dict[str, dict[str, Spread]] = {name: {} for name in results[0].tasks if all(name in one.tasks for one in results)}
    for name, metric in product(tasks, HEADLINE):
        values = tuple(getattr(run.tasks[name], metric) for run in results)
        tasks[name][metric] = Spread(fmean(values), stdev(values) if len(values) > 1 else None, values)
    return tasks


def _task_metrics(split: ScoredSplit, task: Task) -> TaskMetrics:
    rows = split.labelled(task.name)
    gold, decided = split.gold[task.name][rows], split.decided(task.name)[rows]
    total = segment_counts(split, task).total()
    values = total.metrics()
    macro_f1, accuracy, micro_f1, weighted_f1, log_loss = values[: len(HEADLINE)].tolist()
    correct, predicted, support = (part.astype(np.int64).tolist() for part in total.by_label())
    # Rates with a denominator of 0 are reported as 0.
    rates = np.nan_to_num(values[len(HEADLINE) :]).reshape(3, -1).tolist()
    labels = (LabelMetrics(*column) for column in zip(task.ids, *rates, support, predicted, correct, strict=True))
    size = len(task)
    confusion = np.bincount(gold * size + decided, minlength=size**2).reshape(size, size).tolist() if task.kind == "single" else []
    return TaskMetrics(
        task.name, task.kind, len(gold), accuracy, macro_f1, micro_f1, weighted_f1, log_loss, tuple(labels),
        labels_averaged=tuple(label for label, weight in zip(task.ids, total.averaged(), strict=True) if weight),
        confusion=tuple(tuple(row) for row in confusion),
        majority=_majority(gold, task),
        # If all gold labels are equal, predicting all segments the same is correct.
        collapsed=bool((decided == decided[0]).all() and not (gold == gold[0]).all()),
    )  # fmt: skip


def _majority(gold: Ints, task: Task) -> Baseline:
    single = gold.ndim == 1
    # Ties go to the first label in the scheme's order (argmax).
    always = np.bincount(gold, minlength=len(task)).argmax() if single else (2 * gold.sum(axis=0) > len(gold)).astype(np.int64)
    labels = (task.ids[int(always)],) if single else tuple(task.ids[index] for index in np.flatnonzero(always))
    counts = tally(gold, np.broadcast_to(always, gold.shape), len(task)).total()
    return Baseline(labels, float(counts.accuracy()), float(counts.macro_f1()))


def _named(names: Sequence[str], ends: Sequence[Interval | None]) -> dict[str, Interval]:
    return {name: interval for name, interval in zip(names, ends, strict=True) if interval is not None}
