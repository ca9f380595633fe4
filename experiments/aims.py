"""Print what `news_de` reaches of the aims that no command counts by itself: `python experiments/aims.py experiments/reports`.

It reads the predictions that `haltung evaluate bundle=news_de corpus=NAME` has left there for each test of real news: the mean
macro-F1 of 10kGNAD and Wikinews, and that of the labels that the speeches have ten times or more. Intervals resample articles.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from haltung.evaluation.metrics.classification import Counts, TaskMean, article_counts
from haltung.evaluation.predictions import read_predictions
from haltung.evaluation.statistics.bootstrap import bca_intervals, ratio

NEWS = ("gnad10_stance", "wikinews_stance")
SPEECHES = "bundestag_stance"
FEWEST = 10  # rows of a label


def counts(corpus: str, task: str) -> Counts:
    """Return the counts of a task by article of a test."""
    split = read_predictions(Path(sys.argv[1], f"news_de-{corpus}-test", "predictions.parquet"))
    return article_counts(split, split.scheme[task])


def news(task: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the counts of both news tests, an article's in the columns of its own, and the mean of their macro-F1."""
    one, other = (counts(corpus, task) for corpus in NEWS)
    sums = np.block([[one.sums, np.zeros_like(one.sums)], [np.zeros_like(other.sums), other.sums]])
    return sums, TaskMean(sums, (one, other)).macro_f1


def speeches(task: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the counts of the speeches, and the mean F1 of the labels that they have often."""
    found = counts(SPEECHES, task)
    often = found.total().by_label()[2] >= FEWEST

    def mean(sums: np.ndarray) -> np.ndarray:
        correct, predicted, support = found.of(sums).by_label()
        return ratio(2 * correct, predicted + support)[..., often].mean(axis=-1)

    return found.sums, mean


for task in ("stance", "topic"):
    for what, (sums, statistic) in (
        (f"mean of {' and '.join(NEWS)}", news(task)),
        (f"{SPEECHES}, labels with {FEWEST} rows or more", speeches(task)),
    ):
        (interval,) = bca_intervals(sums, lambda drawn, statistic=statistic: np.asarray(statistic(drawn))[..., None])
        print(f"{task}, {what}: {statistic(sums.sum(axis=0)):.3f} [{interval.low:.3f}, {interval.high:.3f}]")
