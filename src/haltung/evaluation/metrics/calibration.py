"""How far probabilities can be trusted, and answering only where the model is sure.

``classification.outcomes`` says which probabilities are judged (Guo et al. 2017, "On Calibration of
Modern Neural Networks"). Intervals are percentiles of the bootstrap over articles.
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
PRECISIONS = (0.8, 0.9, 0.95)  # that thresholds are chosen for
MIN_ANSWERED = 20  # with fewer answers a precision is luck: of 20, one mistake is 5 %
# On fewer a temperature may well make a model worse: experiments/2026-12-01-small-samples.md.
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

    ``confidence`` is the mean probability, ``accuracy`` how often they came true; a model whose
    confidence is higher is too sure. ``ece`` is the expected calibration error, ``ece_by_chance``
    that of a perfectly calibrated model on as many independent segments, since absolute differences
    are never 0 in a sample. ``brier`` is Brier's score. Intervals are None for too few articles.
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
    """What a threshold does: of all segments ``kept`` are answered.

    ``precision`` is the share of those that is right, None without any. ``wished`` is the one that
    the threshold was chosen for on dev; a threshold of None (never reached there) answers nothing.
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

    ``temperatures`` are those that the logits were divided by; ``before`` is without them.
    """

    corpus: str
    split: str
    temperatures: Mapping[str, float]
    tasks: Mapping[str, TaskCalibration]
    abstention: Mapping[str, tuple[Operating, ...]]
    before: Mapping[str, TaskCalibration] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return the metrics flat, for a tracker: ``stance_ece``, ``stance_brier``, and so on."""
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
    """Return the calibration and abstention of a split, its temperatures applied.

    ``thresholds`` are those of the single-label tasks for each wanted precision, as chosen on dev;
    ``before`` is the same split without temperatures, to compare with.
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
    Using Bayesian Binning") has bins of equal mass (Nguyen and O'Connor 2015, "Posterior
    calibration and exploratory analysis for natural language processing models"; Nixon et al. 2019,
    "Measuring Calibration in Deep Learning"), which have the same edges in every draw. Without
    ``draws`` there are no intervals.
    """
    split = split.subset(split.labelled(task.name))
    gold, probabilities, articles = split.gold[task.name], split.probabilities[task.name], bootstrap.numbered(split.groups)
    confidence, right = outcomes(gold, probabilities)
    squares = brier_parts(gold, probabilities)
    # From 0 without gaps, and of about one size; but ties share a bin.
    edges = np.percentile(confidence, np.linspace(0, 1, bins + 1) * 100)[1:-1]
    bin_of = np.unique(np.searchsorted(edges, confidence), return_inverse=True)[1].astype(np.int64)
    each = np.repeat(articles, len(confidence) // len(gold))
    shape = int(each.max()) + 1, int(bin_of.max()) + 1
    cells = each * shape[1] + bin_of
    counts, sure, true = (np.bincount(cells, part, shape[0] * shape[1]).reshape(shape) for part in (np.ones(len(right)), confidence, right))
    sums = np.stack([counts, sure - true, true], axis=1)
    n, off, hits = sums.sum(axis=0)
    gaps = off / len(right)
    # By normal approximation of each bin.
    by_chance = np.sqrt(2 / np.pi * np.maximum(np.bincount(bin_of, confidence * (1 - confidence)), 0)).sum() / len(right)
    ece_interval = brier_interval = None
    ends: list[Interval | None] = [None] * len(n)
    if draws and len(counts) >= bootstrap.MIN_ARTICLES:
        totals = bootstrap.per_article(np.column_stack([squares, np.ones(len(gold))]), articles)
        drawn = bootstrap.resampled(np.hstack([sums.reshape(len(sums), -1), totals]), draws)
        brier_interval = bootstrap.percentile_interval(drawn[:, -2] / drawn[:, -1])
        many, drawn_off, drawn_hits = np.moveaxis(drawn[:, :-2].reshape(draws, 3, -1), 1, 0)
        ece_interval = _ece_interval(drawn_off / many.sum(axis=1, keepdims=True), gaps)
        # An empty bin of a draw says nothing about its accuracy; the percentiles leave it out.
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
    """Return each segment's part of the Brier score, ``[n]``; the score is their mean.

    It is the sum of squared differences over the labels of a single-label task, 0 to 2 (Brier 1950,
    "Verification of forecasts expressed in terms of probability"), else their mean, 0 to 1.
    """
    if gold.ndim == 1:
        return np.asarray(((np.eye(probabilities.shape[1])[gold] - probabilities) ** 2).sum(axis=1))
    return np.asarray(((gold - probabilities) ** 2).mean(axis=1))


def _ece_interval(drawn: Floats, gaps: Floats) -> Interval:
    """Return the interval of the sum of absolute gaps, by inverting a bootstrap test.

    Carpenter 1999, "Test inversion bootstrap confidence intervals". Absolute values make the ECE
    too high in a sample, and higher still in a sample of it, so that its percentiles never reach
    the 0 of a perfectly calibrated model. The interval has instead those true gaps, a multiple of
    the observed ones, for which the observed ECE is among the middle 95 %, when the noise is that
    of the draws around the observed gaps. ``drawn`` is confidence minus accuracy of each bin, times
    its share, ``[draws, bins]``; ``gaps`` the same in the sample, ``[bins]``.
    """
    noise, observed = drawn - gaps, float(np.abs(gaps).sum())
    scales = np.linspace(0, 2, 41)
    bounds = np.percentile(np.abs(scales[:, None, None] * gaps + noise).sum(axis=2), bootstrap.PERCENTILES, axis=1)
    most, least = (float(np.interp(observed, np.maximum.accumulate(bound), scales)) for bound in bounds)
    # A sample better than 97.5 % of those of a perfectly calibrated model says no more than itself.
    return Interval(least * observed, min(1.0, max(most, 1.0) * observed))


def abstention(split: ScoredSplit, task: Task, thresholds: Mapping[float, float | None]) -> tuple[Operating, ...]:
    """Return what each threshold does in a single-label task, on the segments labelled for it.

    Intervals take thresholds, chosen on dev by wanted precision (there too high), as they are.
    """
    split = split.subset(split.labelled(task.name))
    confidence, right = outcomes(split.gold[task.name], split.probabilities[task.name])
    articles, levels = bootstrap.numbered(split.groups), sorted(thresholds)
    cuts = np.array([np.inf if thresholds[level] is None else thresholds[level] for level in levels], dtype=np.float64)
    answered = (confidence[:, None] >= cuts).astype(np.float64)
    # What each threshold answers, and how much of it is right, by article.
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
    """Return the probability from which on a single-label task is as often right as wanted.

    Of several it is the one with the largest coverage, and with at least ``min_answered`` segments
    answered (all of them in a smaller split); segments of the same probability are answered or not
    together. None where there is none. Its precision on dev, which chose it, is too high.
    """
    rows = split.labelled(task.name)
    confidence, right = outcomes(split.gold[task.name][rows], split.probabilities[task.name][rows])
    order = np.argsort(-confidence, kind="stable")
    confidence, answered = confidence[order], np.arange(1, len(order) + 1)
    last = np.append(confidence[1:] < confidence[:-1], True)
    # Whole numbers, so that 9 of 10 are 0.9 whatever the rounding.
    enough = (np.cumsum(right[order]) >= precision * answered - 1e-9) & last & (answered >= min(min_answered, len(order)))
    return float(confidence[np.flatnonzero(enough)[-1]]) if enough.any() else None


def thresholds(split: ScoredSplit, precisions: Sequence[float] = PRECISIONS) -> dict[str, dict[float, float | None]]:
    """Return the thresholds of every single-label task that the split is labelled for."""
    tasks = (task for task in split.tasks if task.kind == "single")
    return {task.name: {precision: threshold(split, task, precision) for precision in precisions} for task in tasks}
