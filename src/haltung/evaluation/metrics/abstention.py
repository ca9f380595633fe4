"""Answering only where the model is sure: coverage, risk, and thresholds for a wanted precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from haltung.evaluation.metrics.classification import outcomes
from haltung.evaluation.predictions import Floats, Ints, ScoredSplit
from haltung.evaluation.statistics import bootstrap
from haltung.evaluation.statistics.bootstrap import DRAWS, Interval
from haltung.labels import Task

# The precisions that thresholds are chosen for.
PRECISIONS = (0.8, 0.9, 0.95)

# With fewer answers a precision is luck: of 20, one mistake is 5 %.
MIN_ANSWERED = 20

# Points of the curve that are stored, and parts of it in the draws of the bootstrap.
_POINTS, _PARTS = 200, 100


@dataclass(frozen=True)
class Operating:
    """What a threshold does: of all segments ``kept`` are answered.

    ``precision`` is the share of those that is right, None where none is answered. ``wished`` is
    the precision that the threshold was chosen for on dev; a threshold of None (dev never reaches
    the precision) answers nothing.
    """

    wished: float
    threshold: float | None
    kept: int
    coverage: float
    coverage_interval: Interval | None
    precision: float | None
    precision_interval: Interval | None


@dataclass(frozen=True)
class TaskAbstention:
    """Coverage against risk of one single-label task on ``n`` labelled segments.

    ``risk[i]`` is the share of mistakes among the surest ``coverage[i]`` of the segments. ``aurc``
    is the area under that curve, the mean risk over all coverages; a random order would have
    ``error`` (the risk at full coverage), one that puts every mistake last ``aurc_best``.
    """

    task: str
    n: int
    error: float
    aurc: float
    aurc_interval: Interval | None
    aurc_best: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    points: tuple[Operating, ...]


def abstention(split: ScoredSplit, task: Task, thresholds: Mapping[float, float | None], draws: int = DRAWS) -> TaskAbstention:
    """Return what abstaining gains in a single-label task, on the segments labelled for it.

    The area under the curve of risk against coverage: Geifman, Uziel and El-Yaniv (2019),
    "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers". Intervals are percentiles of
    the bootstrap over articles, with the thresholds as they are.

    Args:
        split: at least one labelled segment; on dev, which chose the thresholds, the precision is
            too high.
        task: which one.
        thresholds: for each wanted precision, as chosen on dev (see ``threshold``).
        draws: of the bootstrap; none: no intervals.
    """
    rows = split.labelled(task.name)
    confidence, right = outcomes(split.gold[task.name][rows], split.probabilities[task.name][rows])
    articles = bootstrap.numbered([group for group, labelled in zip(split.groups, rows, strict=True) if labelled])
    order = np.argsort(-confidence, kind="stable")
    confidence, right, articles = confidence[order], right[order], articles[order]
    wrong = _expected(1 - right, confidence)
    n = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(wrong) / n
    shown = np.unique(np.linspace(0, len(risk) - 1, min(_POINTS, len(risk))).round().astype(np.int64))
    levels = sorted(thresholds)
    cuts = np.array([np.inf if thresholds[level] is None else thresholds[level] for level in levels], dtype=np.float64)
    answered = (confidence[:, None] >= cuts).astype(np.float64)
    # Sums by article: of parts of the curve, and of what each threshold answers.
    part = (n - 1) * min(_PARTS, len(n)) // len(n)
    curve = [bootstrap.per_bin(values, articles, part) for values in (np.ones(len(n)), wrong)]
    sums = np.hstack([*curve, bootstrap.per_article(np.hstack([answered, answered * right[:, None]]), articles)])

    def statistic(sums: Floats) -> Floats:
        many, mistakes, kept, hits = np.split(sums, np.cumsum([part[-1] + 1, part[-1] + 1, len(levels)]), axis=1)
        total = many.sum(axis=1, keepdims=True)
        area = (_ratio(np.cumsum(mistakes, axis=1), np.cumsum(many, axis=1), 0.0) * many).sum(axis=1, keepdims=True) / total
        return np.hstack([area, kept / total, _ratio(hits, kept, np.nan)])

    sample = statistic(bootstrap.resampled(sums, draws)) if draws and len(sums) >= bootstrap.MIN_ARTICLES else None
    points = []
    for index, level in enumerate(levels):
        ends = None if sample is None else sample[:, [1 + index, 1 + len(levels) + index]]
        points.append(_operating(level, thresholds[level], answered[:, index], right, articles, ends))
    mistakes = np.sort(1 - right)
    # The draws have the curve in parts only; what that changes in the sample itself is taken off.
    offset = risk.mean() - statistic(sums.sum(axis=0, keepdims=True))[0, 0]
    return TaskAbstention(
        task=task.name, n=len(right), error=float(1 - right.mean()), aurc=float(risk.mean()),
        aurc_interval=None if sample is None else bootstrap.percentile_interval(sample[:, 0] + offset),
        aurc_best=float((np.cumsum(mistakes) / n).mean()),
        coverage=tuple(((shown + 1) / len(risk)).tolist()), risk=tuple(risk[shown].tolist()), points=tuple(points),
    )  # fmt: skip


def threshold(split: ScoredSplit, task: Task, precision: float, min_answered: int = MIN_ANSWERED) -> float | None:
    """Return the probability from which on a single-label task is as often right as wanted.

    Of several it is the one with the largest coverage, and with at least ``min_answered`` segments
    answered (all of them in a smaller split); segments of the same probability are answered or not
    together. None where there is none. Its precision on dev, which chose it, is too high.
    """
    rows = split.labelled(task.name)
    if not rows.any():
        return None
    confidence, right = outcomes(split.gold[task.name][rows], split.probabilities[task.name][rows])
    order = np.argsort(-confidence, kind="stable")
    confidence, answered = confidence[order], np.arange(1, len(order) + 1)
    last = np.append(confidence[1:] < confidence[:-1], True)
    # Whole numbers, so that 9 of 10 are 0.9 whatever the rounding.
    enough = (np.cumsum(right[order]) >= precision * answered - 1e-9) & last & (answered >= min(min_answered, len(order)))
    return float(confidence[np.flatnonzero(enough)[-1]]) if enough.any() else None


def thresholds(split: ScoredSplit, precisions: Sequence[float] = PRECISIONS) -> dict[str, dict[float, float | None]]:
    """Return the thresholds of every single-label task that the split is labelled for."""
    tasks = [task for task in split.scheme if task.kind == "single" and split.labelled(task.name).any()]
    return {task.name: {precision: threshold(split, task, precision) for precision in precisions} for task in tasks}


def _operating(wished: float, threshold: float | None, answered: Floats, right: Floats, articles: Ints, draws: Floats | None) -> Operating:
    """Return what a threshold does; ``draws`` are of coverage and precision, ``[draws, 2]``."""
    rows = answered == 1
    coverage, precision = float(answered.mean()), float(right[rows].mean()) if rows.any() else None
    ends: list[Interval | None] = [None, None]
    if draws is not None and precision is not None:
        sizes = len(np.unique(articles)), len(np.unique(articles[rows]))
        ends = [bootstrap.share_interval(draws[:, index], share, sizes[index]) for index, share in enumerate((coverage, precision))]
    return Operating(wished, threshold, int(answered.sum()), coverage, ends[0], precision, ends[1])


def _ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    out: Floats = np.divide(above, below, out=np.full(above.shape, otherwise), where=below > 0)
    return out


def _expected(wrong: Floats, confidence: Floats) -> Floats:
    """Return each mistake as the mean over its ties in probability, whose order is arbitrary."""
    ties = np.append(0, np.cumsum(confidence[1:] < confidence[:-1]))
    return np.asarray((np.bincount(ties, wrong) / np.bincount(ties))[ties])
