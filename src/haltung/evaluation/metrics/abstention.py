"""Answering only where the model is sure: coverage against risk, and the probability from which on it is as often right as wished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from haltung.evaluation.metrics.calibration import by_cluster, interval, outcomes, resampled, share_interval
from haltung.evaluation.metrics.results import Interval
from haltung.evaluation.predictions import Floats, Ints, ScoredSplit
from haltung.evaluation.statistics.bootstrap import numbered
from haltung.evaluation.statistics.intervals import DRAWS
from haltung.labels import Task

# The precisions that thresholds are chosen for.
PRECISIONS = (0.8, 0.9, 0.95)

# With fewer answers a precision is luck: of 20, one mistake is 5 %.
LEAST_KEPT = 20

# How many points of the curve are kept; a plot shows no more.
_POINTS = 200

# How many parts the curve has in the draws of the bootstrap.
_PARTS = 100


@dataclass(frozen=True)
class Operating:
    """What a threshold does: of all segments ``kept`` are answered.

    ``precision`` is the share of those that is right, None where none is kept. ``wished`` is the precision that the threshold was chosen
    for on dev; a threshold of None (dev never reaches it) answers nothing.
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

    ``risk[i]`` is the share of mistakes among the surest ``coverage[i]`` of the segments. ``aurc`` is the area under that curve, the
    mean risk over all coverages; an order by chance would have ``error`` (the risk at full coverage), one that puts every mistake last
    ``aurc_best``.
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


def abstention(scored: ScoredSplit, task: Task, thresholds: Mapping[float, float | None], draws: int = DRAWS) -> TaskAbstention:
    """Return what a single-label task gains by abstaining, on the segments that are labelled for it (at least one).

    The area under the curve of risk against coverage: Geifman, Uziel and El-Yaniv (2019), "Bias-Reduced Uncertainty Estimation for Deep
    Neural Classifiers". Intervals are percentiles of the bootstrap over articles, with the thresholds as they are.

    Args:
        scored: the split; dev itself shows the precision that its thresholds were chosen by, which is too high.
        task: which one.
        thresholds: for each wished-for precision, as chosen on dev (see ``threshold``).
        draws: of the bootstrap.
    """
    rows = scored.labelled(task.name)
    confidence, right = outcomes(scored.gold[task.name][rows], scored.probabilities[task.name][rows])
    clusters = numbered([group for group, labelled in zip(scored.groups, rows, strict=True) if labelled])
    order = np.argsort(-confidence, kind="stable")
    confidence, right, clusters = confidence[order], right[order], clusters[order]
    wrong = _expected(1 - right, confidence)
    n = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(wrong) / n
    shown = np.unique(np.linspace(0, len(risk) - 1, min(_POINTS, len(risk))).round().astype(np.int64))
    wished = sorted(thresholds)
    kept = [_kept(confidence, thresholds[precision]) for precision in wished]
    # Sums by article: of parts of the curve, and of what each threshold keeps.
    part = (n - 1) * min(_PARTS, len(n)) // len(n)
    sums = np.hstack([by_cluster(np.ones(len(n)), clusters, part), by_cluster(wrong, clusters, part)])
    answers = np.hstack([by_cluster(values, clusters) for keep in kept for values in (keep, keep * right)] or [sums[:, :0]])

    def drawn(weights: Floats) -> Floats:
        many, mistakes = np.split(weights @ sums, 2, axis=1)
        total = many.sum(axis=1, keepdims=True)
        area = (_ratio(np.cumsum(mistakes, axis=1), np.cumsum(many, axis=1), 0.0) * many).sum(axis=1, keepdims=True) / total
        answered, hits = (weights @ answers[:, first::2] for first in (0, 1))
        return np.hstack([area, answered / total, _ratio(hits, answered, np.nan)])

    sample = resampled(drawn, len(sums), draws)
    mistakes = np.sort(1 - right)
    return TaskAbstention(
        task=task.name,
        n=len(right),
        error=float(1 - right.mean()),
        aurc=float(risk.mean()),
        # The draws know the curve in parts only; what that makes of the sample itself is taken off again.
        aurc_interval=None if sample is None else interval(sample[:, 0] - drawn(np.ones((1, len(sums))))[0, 0] + risk.mean()),
        aurc_best=float((np.cumsum(mistakes) / n).mean()),
        coverage=tuple(((shown + 1) / len(risk)).tolist()),
        risk=tuple(risk[shown].tolist()),
        points=tuple(
            _operating(
                precision,
                thresholds[precision],
                keep,
                right,
                clusters,
                None if sample is None else sample[:, [1 + place, 1 + len(kept) + place]],
            )
            for place, (precision, keep) in enumerate(zip(wished, kept, strict=True))
        ),
    )


def _operating(wished: float, threshold: float | None, keep: Floats, right: Floats, clusters: Ints, draws: Floats | None) -> Operating:
    """Return what a threshold keeps (``keep``, 0 or 1) and how often that is right; ``draws`` of coverage and precision, ``[draws, 2]``."""
    answered = keep == 1
    coverage, precision = float(keep.mean()), float(right[answered].mean()) if answered.any() else None
    ends: list[Interval | None] = [None, None]
    if draws is not None and precision is not None:
        articles = len(np.unique(clusters)), len(np.unique(clusters[answered]))
        ends = [share_interval(draws[:, 0], coverage, articles[0]), share_interval(draws[:, 1], precision, articles[1])]
    return Operating(wished, threshold, int(keep.sum()), coverage, ends[0], precision, ends[1])


def threshold(scored: ScoredSplit, task: Task, precision: float, least_kept: int = LEAST_KEPT) -> float | None:
    """Return the least highest probability from which on the predictions of a single-label task are as often right as wished.

    It is the one with the largest coverage, and with at least ``least_kept`` predictions kept (all of them in a smaller split); segments
    of the same probability are kept or dropped together. None where there is none. Chosen on dev, its precision there is too high:
    look at the one that it has on another split.
    """
    rows = scored.labelled(task.name)
    if not rows.any():
        return None
    confidence, right = outcomes(scored.gold[task.name][rows], scored.probabilities[task.name][rows])
    order = np.argsort(-confidence, kind="stable")
    confidence, kept = confidence[order], np.arange(1, len(order) + 1)
    last = np.append(confidence[1:] < confidence[:-1], True)
    # Whole numbers, so that 9 of 10 are 0.9 whatever the rounding.
    enough = (np.cumsum(right[order]) >= precision * kept - 1e-9) & last & (kept >= min(least_kept, len(kept)))
    return float(confidence[np.flatnonzero(enough)[-1]]) if enough.any() else None


def thresholds(scored: ScoredSplit, precisions: Sequence[float] = PRECISIONS) -> dict[str, dict[float, float | None]]:
    """Return the thresholds of every single-label task that the split is labelled for."""
    tasks = [task for task in scored.scheme if task.kind == "single" and scored.labelled(task.name).any()]
    return {task.name: {precision: threshold(scored, task, precision) for precision in precisions} for task in tasks}


def _kept(confidence: Floats, least: float | None) -> Floats:
    return np.zeros(len(confidence)) if least is None else (confidence >= least).astype(np.float64)


def _ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    out: Floats = np.divide(above, below, out=np.full(above.shape, otherwise), where=below > 0)
    return out


def _expected(wrong: Floats, confidence: Floats) -> Floats:
    """Return each mistake as the mean over the segments of the same probability: the order among those is chance."""
    places = np.append(0, np.cumsum(confidence[1:] < confidence[:-1]))
    return np.asarray((np.bincount(places, wrong) / np.bincount(places))[places])
