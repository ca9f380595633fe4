"""How far probabilities can be believed: expected calibration error, reliability by bin, Brier score, with intervals by article.

A segment counts once for a single-label task, by its highest probability and whether that label is right (Guo et al. 2017, "On Calibration
of Modern Neural Networks"); for a multi-label task once for each label, by its probability and whether the segment has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from haltung.evaluation.metrics.classification import log_loss
from haltung.evaluation.metrics.results import Interval
from haltung.evaluation.predictions import Floats, Ints, ScoredSplit
from haltung.evaluation.statistics.bootstrap import numbered, weights, wilson
from haltung.evaluation.statistics.intervals import DRAWS, FEWEST, SEED
from haltung.labels import Task

BINS = 15

# What of the draws an interval leaves out on each side, in percent.
_OUTSIDE = (2.5, 97.5)


@dataclass(frozen=True)
class Bin:
    """A row of the reliability table: ``n`` probabilities from ``low`` to ``high``, their mean, and how often what they speak of is so."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: Interval | None


@dataclass(frozen=True)
class TaskCalibration:
    """The calibration of one task on ``n`` labelled segments in ``groups`` articles; intervals are None for too few of them.

    ``confidence`` is the mean probability and ``accuracy`` how often what it speaks of is so: a model with more confidence than accuracy
    is too sure. ``ece`` is the expected calibration error; ``ece_by_chance`` what a perfectly calibrated model would show on as many
    independent segments, since an absolute difference is never 0 in a sample. ``brier`` is Brier's score.
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


def calibration(scored: ScoredSplit, task: Task, bins: int = BINS, draws: int = DRAWS) -> TaskCalibration:
    """Return the calibration of one task, on the segments that are labelled for it (at least one).

    The expected calibration error (Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning") has bins of equal
    mass (Nguyen and O'Connor 2015, "Posterior calibration and exploratory analysis for natural language processing models"; Nixon et al.
    2019, "Measuring Calibration in Deep Learning"). Intervals are of the bootstrap over articles (Field and Welsh 2007, "Bootstrapping
    clustered data"), by percentiles; for that of the ECE see ``_ece_interval``. Bins keep their edges in the draws.
    """
    rows = scored.labelled(task.name)
    gold, probabilities = scored.gold[task.name][rows], scored.probabilities[task.name][rows]
    confidence, right = outcomes(gold, probabilities)
    clusters = numbered([group for group, labelled in zip(scored.groups, rows, strict=True) if labelled])
    squares = brier_parts(gold, probabilities)
    place = binned(confidence, bins)
    each = len(confidence) // len(gold)
    # Sums by article; whatever is drawn is a sum of them, so that 2,000 draws are one product of matrices.
    counts, sure, true = (by_cluster(values, np.repeat(clusters, each), place) for values in (np.ones(len(right)), confidence, right))
    totals = np.stack([by_cluster(values, clusters)[:, 0] for values in (squares, np.ones(len(squares)))], axis=1)

    def drawn(block: Floats) -> Floats:
        n, gaps, hits = block @ counts, block @ (sure - true), block @ true
        parts = block @ totals
        # An empty bin of a draw says nothing of its accuracy; the percentiles leave it out.
        accuracy = np.divide(hits, n, out=np.full(n.shape, np.nan), where=n > 0)
        return np.column_stack([parts[:, 0] / parts[:, 1], gaps / n.sum(axis=1, keepdims=True), accuracy])

    gaps = (sure - true).sum(axis=0) / len(right)
    size = len(gaps)
    sample = resampled(drawn, len(counts), draws)
    return TaskCalibration(
        task=task.name,
        kind=task.kind,
        n=len(gold),
        groups=len(counts),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        ece=float(np.abs(gaps).sum()),
        ece_interval=None if sample is None else _ece_interval(sample[:, 1 : 1 + size], gaps),
        ece_by_chance=_by_chance(confidence, place),
        brier=float(squares.mean()),
        brier_interval=None if sample is None else interval(sample[:, 0]),
        log_loss=log_loss(gold, probabilities),
        bins=tuple(
            Bin(
                float(confidence[place == number].min()),
                float(confidence[place == number].max()),
                int(counts[:, number].sum()),
                float(confidence[place == number].mean()),
                float(right[place == number].mean()),
                None
                if sample is None
                else share_interval(sample[:, 1 + size + number], float(right[place == number].mean()), int((counts[:, number] > 0).sum())),
            )
            for number in range(size)
        ),
    )


def outcomes(gold: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities that are judged and whether what they speak of is so (0 or 1): ``[n]``, multi-label ``[n · labels]``."""
    if gold.ndim == 1:
        return probabilities.max(axis=1), (probabilities.argmax(axis=1) == gold).astype(np.float64)
    return probabilities.ravel(), gold.ravel().astype(np.float64)


def brier_parts(gold: Ints, probabilities: Floats) -> Floats:
    """Return each segment's part of the Brier score, ``[n]``; the score is their mean.

    For a single-label task the squared differences are summed over labels, 0 to 2 (Brier 1950, "Verification of forecasts expressed in
    terms of probability"); for a multi-label task the mean over labels is taken, 0 to 1.
    """
    if gold.ndim == 1:
        return np.asarray(((np.eye(probabilities.shape[1])[gold] - probabilities) ** 2).sum(axis=1))
    return np.asarray(((gold - probabilities) ** 2).mean(axis=1))


def binned(confidence: Floats, bins: int = BINS) -> Ints:
    """Return each probability's bin, from 0 without gaps: about as many segments in each, equal probabilities in the same."""
    edges = np.percentile(confidence, np.linspace(0, 1, bins + 1) * 100)[1:-1]
    return np.unique(np.searchsorted(edges, confidence), return_inverse=True)[1].astype(np.int64)


def by_cluster(values: Floats, clusters: Ints, place: Ints | None = None) -> Floats:
    """Return the sums of values ``[n]``, ``[clusters, bins]``; without ``place`` there is one bin."""
    place = np.zeros_like(clusters) if place is None else place
    shape = (int(clusters.max()) + 1, int(place.max()) + 1)
    sums = np.bincount(clusters * shape[1] + place, values, minlength=shape[0] * shape[1])
    return sums.astype(np.float64).reshape(shape)


def resampled(statistic: Callable[[Floats], Floats], clusters: int, draws: int = DRAWS, seed: int = SEED) -> Floats | None:
    """Return a statistic's values over draws of as many articles, with replacement: ``[draws, …]``; None for too few articles.

    Args:
        statistic: takes weights ``[part, clusters]``, how often each article is in each draw, and returns ``[part, …]``.
        clusters: how many articles there are.
        draws: how often to draw.
        seed: the same one gives the same draws.
    """
    if clusters < FEWEST or not draws:
        return None
    return np.concatenate([statistic(block) for block in weights(clusters, draws, seed)])


def interval(values: Floats) -> Interval | None:
    """Return the middle 95 % of draws ``[draws]``; None where every draw is undefined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.percentile(defined, _OUTSIDE)
    return Interval(float(low), float(high))


def share_interval(values: Floats, share: float, clusters: int) -> Interval | None:
    """Return the interval of a share: ``interval`` of its draws, or Wilson's where it is 0 or 1 and all draws agree (see ``draws.wilson``).

    Args:
        values: of the draws, ``[draws]``.
        share: as it was found.
        clusters: the articles that it is of.
    """
    return Interval(*wilson(share, clusters)) if share in (0.0, 1.0) else interval(values)


def _ece_interval(drawn: Floats, gaps: Floats) -> Interval:
    """Return the interval of the sum of absolute gaps, by inverting a bootstrap test (Carpenter 1999, "Test inversion bootstrap
    confidence intervals").

    Absolute values make the ECE too high in a sample, and higher still in a sample of it, so that percentiles of it never reach the 0 of
    a perfectly calibrated model. Asked is instead for which true gaps, ``s`` times those found, the ECE found is among the middle 95 %,
    when the noise is that of the draws around the gaps found.

    Args:
        drawn: the gap between confidence and accuracy in each draw and bin, as parts of all segments, ``[draws, bins]``.
        gaps: the same in the sample, ``[bins]``.
    """
    noise, found = drawn - gaps, float(np.abs(gaps).sum())
    scales = np.linspace(0, 2, 41)
    bounds = np.array([np.percentile(np.abs(scale * gaps + noise).sum(axis=1), _OUTSIDE) for scale in scales]).T
    most, least = (float(np.interp(found, np.maximum.accumulate(bound), scales)) for bound in bounds)
    # A sample that is better than 97.5 % of those of a perfectly calibrated model says no more than itself.
    return Interval(least * found, min(1.0, max(most, 1.0) * found))


def _by_chance(confidence: Floats, place: Ints) -> float:
    """Return the mean ECE of a perfectly calibrated model: that of normal differences with the binomial variance of each bin."""
    variance = np.bincount(place, confidence * (1 - confidence))
    return float(np.sqrt(2 / np.pi * np.maximum(variance, 0)).sum() / len(confidence))
