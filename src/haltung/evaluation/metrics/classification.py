"""From ``ScoredSplit`` to figures. The arithmetic works on arrays with any leading axes, so that a bootstrap needs no loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.metrics.results import HEADLINE, Baseline, EvaluationResult, LabelMetrics, Spread, Summary, TaskMetrics
from haltung.evaluation.metrics.warnings import cautions
from haltung.evaluation.predictions import Floats, Ints, ScoredSplit
from haltung.labels import Task


@dataclass(frozen=True, eq=False)
class Counts:
    """What all figures but log loss are made of; counts add up over segments, so ``sum`` over any grouping of rows is again counts.

    ``correct``, ``predicted``, ``support`` are ``[..., labels]``, ``exact`` (all labels of the segment right) and ``n`` are ``[...]``.
    ``every``: macro-F1 averages over every label, not only over those that occur (see ``TaskMetrics``). A bootstrap weighs segments, and
    its sums come out of the matrix product as floats.
    """

    correct: Ints | Floats
    predicted: Ints | Floats
    support: Ints | Floats
    exact: Ints | Floats
    n: Ints | Floats
    every: bool

    def total(self) -> Counts:
        """Return the counts summed over the first axis."""
        return Counts(
            self.correct.sum(axis=0),
            self.predicted.sum(axis=0),
            self.support.sum(axis=0),
            self.exact.sum(axis=0),
            self.n.sum(axis=0),
            self.every,
        )

    def averaged(self) -> Floats:
        """Return the weight of each label in macro-F1, 0 or 1, ``[..., labels]``."""
        return np.ones(self.support.shape) if self.every else ((self.predicted + self.support) > 0).astype(np.float64)

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
    return Counts(has * given, given, has, (has == given).all(axis=1).astype(np.int64), np.ones(len(has), dtype=np.int64), every=not single)


def evaluate(scored: ScoredSplit) -> EvaluationResult:
    """Return the figures of every task that has at least one gold label.

    Raises:
        UserError: the split is empty, or none of its segments is labelled for any task.
    """
    tasks = {task.name: task_metrics(scored, task) for task in scored.scheme if scored.labelled(task.name).any()}
    if not tasks:
        what = f"the split {scored.split}" if scored.split else "the split"
        why = (
            f"none of its {len(scored)} segments is labelled for {' or '.join(scored.scheme.names)}"
            if len(scored)
            else "it has no segments"
        )
        raise UserError(f"{what} can't be evaluated: {why}")
    scheme = scored.scheme
    return EvaluationResult(scored.corpus, scored.split, len(scored), len(set(scored.groups)), scheme.name, scheme.digest(), tasks)


def task_metrics(scored: ScoredSplit, task: Task) -> TaskMetrics:
    """Return the figures of one task, on the segments that are labelled for it (at least one)."""
    rows = scored.labelled(task.name)
    gold, decided = scored.gold[task.name][rows], scored.decided(task.name)[rows]
    counts = tally(gold, decided, len(task)).total()
    columns = (counts.precision(), counts.recall(), counts.f1(), counts.support, counts.predicted, counts.correct)
    figures = TaskMetrics(
        task=task.name,
        kind=task.kind,
        n=int(counts.n),
        accuracy=float(counts.accuracy()),
        macro_f1=float(counts.macro_f1()),
        micro_f1=float(counts.micro_f1()),
        weighted_f1=float(counts.weighted_f1()),
        log_loss=log_loss(gold, scored.probabilities[task.name][rows]),
        labels=tuple(LabelMetrics(label, *(column[place].item() for column in columns)) for place, label in enumerate(task.ids)),
        labels_averaged=tuple(label for label, weight in zip(task.ids, counts.averaged(), strict=True) if weight),
        confusion=tuple(tuple(row) for row in confusion(gold, decided, len(task)).tolist()) if task.kind == "single" else (),
        majority=_majority(gold, task),
        # One segment, or segments that are all alike, are rightly all predicted the same.
        collapsed=bool((decided == decided[0]).all() and not (gold == gold[0]).all()),
        warnings=(),
    )
    return dataclasses.replace(figures, warnings=cautions(figures, task))


def confusion(gold: Ints, decided: Ints, labels: int) -> Ints:
    """Return how many segments of gold label i are predicted j, ``[labels, labels]``."""
    return np.bincount(gold * labels + decided, minlength=labels * labels).reshape(labels, labels).astype(np.int64)


def log_loss(gold: Ints, probabilities: Floats) -> float:
    """Return the mean negative log-likelihood in nats; for 0 and 1 per label, the mean binary one over segments and labels.

    Probabilities are clipped to the smallest step of a double, as scikit-learn does, so that one sure mistake costs 36 and not infinity.
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


def summary(evaluations: Sequence[EvaluationResult]) -> Summary:
    """Return mean and standard deviation (n-1) of each headline figure over runs that differ in their seed.

    Raises:
        UserError: there are none, or they are not of the same split, scheme and tasks.
    """
    if not evaluations:
        raise UserError("no evaluations to summarise; expected one for each seed")
    first = evaluations[0]
    for other in evaluations[1:]:
        for what in ("corpus", "split", "n", "groups", "scheme", "scheme_digest"):
            if getattr(other, what) != getattr(first, what):
                told = what.replace("_", " ")
                raise UserError(
                    f"evaluations of different {told} can't be averaged: {getattr(first, what)!r} and {getattr(other, what)!r}; "
                    "evaluate all runs on the same split with the same scheme"
                )
        if {name: task.n for name, task in other.tasks.items()} != {name: task.n for name, task in first.tasks.items()}:
            raise UserError(
                "evaluations can't be averaged: their segments are labelled for different tasks; evaluate all runs on the same split"
            )
    tasks = {
        name: {figure: _spread([float(getattr(run.tasks[name], figure)) for run in evaluations]) for figure in HEADLINE}
        for name in first.tasks
    }
    return Summary(first.corpus, first.split, first.n, len(evaluations), tasks)


def _spread(values: list[float]) -> Spread:
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, tuple(values))


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


def _ratio(above: Floats | Ints, below: Floats | Ints) -> Floats:
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64))
    out: Floats = np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
    return out
