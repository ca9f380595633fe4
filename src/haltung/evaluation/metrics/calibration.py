"""Calibration of probabilities, and abstention: answering only if the model is confident.

``classification.outcomes`` defines the probabilities that are assessed (Guo et al. 2017, "On
Calibration of Modern Neural Networks"). Intervals are percentiles of a bootstrap over articles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from haltung.evaluation.metrics.classification import losses, outcomes
from haltung.evaluation.metrics.results import Stored
from haltung.evaluation.predictions import Floats, Ints, ScoredSplit
from haltung.evaluation.statistics import bootstrap
from haltung.evaluation.statistics.bootstrap import DRAWS, Interval, ratio
from haltung.labels import Task

BINS = 15
PRECISIONS = (0.8, 0.9, 0.95)  # targets of the thresholds
MIN_ANSWERED = 20  # with fewer answers, precision is unreliable: one mistake in 20 is 5 %
# With fewer, a temperature may well make a model worse: experiments/2026-12-01-small-samples.md.
MIN_SEGMENTS = 75


@dataclass(frozen=True)
class Bin:
    """Probabilities from ``low`` to ``high``, their mean, and how often they came true."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: Interval | None


@dataclass(frozen=True)
class TaskCalibration:
    """The calibration of one task on ``n`` labelled segments in ``groups`` articles.

    ``confidence`` is the mean probability, ``accuracy`` the share that came true; a model with
    confidence above accuracy is overconfident. ``ece`` is the expected calibration error, and
    ``ece_by_chance`` that of a perfectly calibrated model on as many independent segments (absolute
    differences are never 0 in a sample). Intervals are None if there are too few articles.
    """

    task: str
    kind: str
    n: int
    groups: int
    confidence: float
    accuracy: float
    ece: float
    ece_interval: Interval | None
    ece_by_chance: float
    brier: float
    brier_interval: Interval | None
    log_loss: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Operating:
    """The effect of a threshold: ``kept`` segments are answered.

    ``precision`` is the share of correct answers, None if there are none. ``wished`` is the target
    precision on dev; if it was not reached there, ``threshold`` is None and nothing is answered.
    """

    wished: float
    threshold: float | None
    kept: int
    coverage: float
    coverage_interval: Interval | None
    precision: float | None
    precision_interval: Interval | None


@dataclass(frozen=True)
class CalibrationReport(Stored):
    """The calibration of every labelled task and the abstention of every single-label one, by task.

    The logits were divided by ``temperatures``; ``before`` is the calibration without them.
    """

    corpus: str
    split: str
    temperatures: Mapping[str, float]
    tasks: Mapping[str, TaskCalibration]
    abstention: Mapping[str, tuple[Operating, ...]]
    before: Mapping[str, TaskCalibration] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return the metrics as a flat dict for a tracker: ``{"stance_ece": …}`` and so on."""
        out = {f"{name}_ece_before": bare.ece for name, bare in self.before.items()}
        out |= {f"{name}_temperature": value for name, value in self.temperatures.items()}
        for name, task in self.tasks.items():
            out |= {f"{name}_ece": task.ece, f"{name}_brier": task.brier}
        for name, points in self.abstention.items():
            out |= {f"{name}_coverage_at_{point.wished:g}": point.coverage for point in points}
            out |= {f"{name}_precision_at_{point.wished:g}": point.precision for point in points if point.precision is not None}
        return out


def measure(
    split: ScoredSplit, temperatures: Mapping[str, float] = {}, thresholds: Mapping[str, Mapping[float, float | None]] = {},
    before: ScoredSplit | None = None,
) -> CalibrationReport:  # fmt: skip
    """Return the calibration and abstention of a split to which temperatures have been applied.

    ``thresholds`` maps each single-label task's target precisions to the thresholds chosen on dev;
    ``before`` is the same split without temperatures, for comparison.
    """
    tasks = split.tasks
    return CalibrationReport(
        split.corpus, split.split, dict(temperatures),
        tasks={task.name: calibration(split, task) for task in tasks},
        abstention={task.name: abstention(split, task, thresholds.get(task.name, {})) for task in tasks if task.kind == "single"},
        before={task.name: calibration(before, task, draws=0) for task in tasks} if before is not None else {},
    )  # fmt: skip


def calibration(split: ScoredSplit, task: Task, bins: int = BINS, draws: int = DRAWS) -> TaskCalibration:
    """Return the calibration of one task, on the segments labelled for it (at least one).

    The expected calibration error (Naeini et al. 2015, "Obtaining Well Calibrated Probabilities
    Using Bayesian Binning") uses bins of equal mass (Nguyen and O'Connor 2015, "Posterior
    calibration and exploratory analysis for natural language processing models"; Nixon et al. 2019,
    "Measuring Calibration in Deep Learning"), with the same edges in every draw. No intervals are
    computed if ``draws`` is 0.
    """
    split = split.subset(split.labelled(task.name))
    gold, probabilities, articles = split.gold[task.name], split.probabilities[task.name], bootstrap.numbered(split.groups)
    confidence, right = outcomes(gold, probabilities)
    squares = brier_parts(gold, probabilities)
    # Bins are numbered from 0 without gaps, and about equally large; but ties share a bin.
    edges = np.percentile(confidence, np.linspace(0, 1, bins + 1) * 100)[1:-1]
    bin_of = np.unique(np.searchsorted(edges, confidence), return_inverse=True)[1].astype(np.int64)
    each = np.repeat(articles, len(confidence) // len(gold))
    shape = int(each.max()) + 1, int(bin_of.max()) + 1
    cells = each * shape[1] + bin_of
    counts, sure, true = (np.bincount(cells, part, shape[0] * shape[1]).reshape(shape) for part in (np.ones(len(right)), confidence, right))
    sums = np.stack([counts, sure - true, true], axis=1)
    n, off, hits = sums.sum(axis=0)
    gaps = off / len(right)
    # The expected absolute gap, with each bin's gap approximated as normal.
    by_chance = np.sqrt(2 / np.pi * np.maximum(np.bincount(bin_of, confidence * (1 - confidence)), 0)).sum() / len(right)
    ece_interval = brier_interval = None
    ends: list[Interval | None] = [None] * len(n)
    if draws and len(counts) >= bootstrap.MIN_ARTICLES:
        totals = bootstrap.per_article(np.column_stack([squares, np.ones(len(gold))]), articles)
        drawn = bootstrap.resampled(np.hstack([sums.reshape(len(sums), -1), totals]), draws)
        brier_interval = bootstrap.percentile_interval(drawn[:, -2] / drawn[:, -1])
        many, drawn_off, drawn_hits = np.moveaxis(drawn[:, :-2].reshape(draws, 3, -1), 1, 0)
        ece_interval = _ece_interval(drawn_off / many.sum(axis=1, keepdims=True), gaps)
        # A bin that is empty in a draw has no accuracy; the percentiles omit that draw.
        shares = zip(ratio(drawn_hits, many, np.nan).T, (hits / n).tolist(), (counts > 0).sum(axis=0).tolist(), strict=True)
        ends = [bootstrap.share_interval(accuracy, share, size) for accuracy, share, size in shares]
    return TaskCalibration(
        task=task.name, kind=task.kind, n=len(gold), groups=len(counts),
        confidence=float(confidence.mean()), accuracy=float(right.mean()),
        ece=float(np.abs(gaps).sum()), ece_interval=ece_interval, ece_by_chance=float(by_chance),
        brier=float(squares.mean()), brier_interval=brier_interval, log_loss=float(losses(gold, probabilities).mean()),
        bins=tuple(
            Bin(float(one.min()), float(one.max()), len(one), float(one.mean()), float(right[bin_of == index].mean()), end)
            for index, end in enumerate(ends) for one in [confidence[bin_of == index]]
        ),
    )  # fmt: skip


def brier_parts(gold: Ints, probabilities: Floats) -> Floats:
    """Return each segment's Brier score, ``[n]``; the score of a split is their mean.

    It is the sum of squared differences over the labels of a single-label task, 0 to 2 (Brier 1950,
    "Verification of forecasts expressed in terms of probability"); multi-label: the mean, 0 to 1.
    """
    if gold.ndim == 1:
        return np.asarray(((np.eye(probabilities.shape[1])[gold] - probabilities) ** 2).sum(axis=1))
    return np.asarray(((gold - probabilities) ** 2).mean(axis=1))


def _ece_interval(drawn: Floats, gaps: Floats) -> Interval:
    """Return the interval of the sum of absolute gaps, by inverting a bootstrap test.

    Carpenter 1999, "Test inversion bootstrap confidence intervals". Absolute values bias the ECE of
    a sample upwards, and that of a resample further, so percentiles never reach the 0 of a
    perfectly calibrated model. Instead, true gaps are assumed to be a multiple of the observed
    ones, with noise as in the draws around the observed gaps. The interval has the multiples for
    which the observed ECE is in the middle 95 %. ``drawn`` is confidence minus accuracy of each
    bin, times its share, ``[draws, bins]``; ``gaps`` the same in the sample, ``[bins]``.
    """
    noise, observed = drawn - gaps, float(np.abs(gaps).sum())
    scales = np.linspace(0, 2, 41)
    bounds = np.percentile(np.abs(scales[:, None, None] * gaps + noise).sum(axis=2), bootstrap.PERCENTILES, axis=1)
    most, least = (float(np.interp(observed, np.maximum.accumulate(bound), scales)) for bound in bounds)
    # Include the observed ECE even if 97.5 % of a perfectly calibrated model's samples exceed it.
    return Interval(least * observed, min(1.0, max(most, 1.0) * observed))


def abstention(split: ScoredSplit, task: Task, thresholds: Mapping[float, float | None]) -> tuple[Operating, ...]:
    """Return the effect of each threshold on a single-label task's labelled segments.

    Intervals treat ``thresholds``, by target precision on dev (optimistic there), as fixed.
    """
    split = split.subset(split.labelled(task.name))
    confidence, right = outcomes(split.gold[task.name], split.probabilities[task.name])
    articles, levels = bootstrap.numbered(split.groups), sorted(thresholds)
    cuts = np.array([np.inf if thresholds[level] is None else thresholds[level] for level in levels], dtype=np.float64)
    answered = (confidence[:, None] >= cuts).astype(np.float64)
    # Answered segments and correct answers for each threshold, by article.
    sums = bootstrap.per_article(np.hstack([answered, answered * right[:, None], np.ones((len(right), 1))]), articles)
    sample = None
    if len(sums) >= bootstrap.MIN_ARTICLES:
        kept, hits, total = np.split(bootstrap.resampled(sums), [len(levels), 2 * len(levels)], axis=1)
        sample = np.hstack([kept / total, ratio(hits, kept, np.nan)])
    points = []
    for index, level in enumerate(levels):
        rows = answered[:, index] == 1
        covered, precision = float(rows.mean()), float(right[rows].mean()) if rows.any() else None
        of_coverage = of_precision = None
        if sample is not None and precision is not None:
            of_coverage = bootstrap.share_interval(sample[:, index], covered, len(sums))
            of_precision = bootstrap.share_interval(sample[:, len(levels) + index], precision, len(np.unique(articles[rows])))
        points.append(Operating(level, thresholds[level], int(rows.sum()), covered, of_coverage, precision, of_precision))
    return tuple(points)


def threshold(split: ScoredSplit, task: Task, precision: float, min_answered: int = MIN_ANSWERED) -> float | None:
    """Return the lowest probability from which a single-label task reaches ``precision``.

    At least ``min_answered`` segments are answered (all of them in a smaller split); segments of
    equal probability are answered or not together. Return None if there is no such probability. On
    dev, where the threshold is chosen, its precision is optimistic.
    """
    rows = split.labelled(task.name)
    confidence, right = outcomes(split.gold[task.name][rows], split.probabilities[task.name][rows])
    order = np.argsort(-confidence, kind="stable")
    confidence, answered = confidence[order], np.arange(1, len(order) + 1)
    last = np.append(confidence[1:] < confidence[:-1], True)
    # Counts are compared, with a tolerance, so that 9 of 10 reach 0.9 despite rounding.
    enough = (np.cumsum(right[order]) >= precision * answered - 1e-9) & last & (answered >= min(min_answered, len(order)))
    return float(confidence[np.flatnonzero(enough)[-1]]) if enough.any() else None


def thresholds(split: ScoredSplit, precisions: Sequence[float] = PRECISIONS) -> dict[str, dict[float, float | None]]:
    """Return the thresholds of every labelled single-label task, by target precision."""
    tasks = (task for task in split.tasks if task.kind == "single")
    return {task.name: {precision: threshold(split, task, precision) for precision in precisions} for task in tasks}
