"""Print the figures of `news_de` for aims that no command computes: `python experiments/aims.py experiments/reports`.

It reads the predictions that `haltung evaluate bundle=news_de corpus=NAME` has written there for each test of real news. It prints
the mean macro-F1 of 10kGNAD and Wikinews, macro-F1 on the speeches over labels with ten rows or more, and macro-F1 and accuracy
on all three tests together. Intervals resample articles.
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
FEWEST = 10  # minimum number of rows of a label


def counts(corpus: str, task: str) -> Counts:
    """Return the counts of a task on a test, by article."""
    split = read_predictions(Path(sys.argv[1], f"news_de-{corpus}-test", "predictions.parquet"))
    return article_counts(split, split.scheme[task])


def news(task: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the counts of both news tests, in separate columns, and the mean of their macro-F1."""
    one, other = (counts(corpus, task) for corpus in NEWS)
    sums = np.block([[one.sums, np.zeros_like(one.sums)], [np.zeros_like(other.sums), other.sums]])
    return sums, TaskMean(sums, (one, other)).macro_f1


def speeches(task: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the counts of the speeches, and the mean F1 of labels with at least FEWEST rows."""
    found = counts(SPEECHES, task)
    often = found.total().by_label()[2] >= FEWEST

    def mean(sums: np.ndarray) -> np.ndarray:
        correct, predicted, support = found.of(sums).by_label()
        return ratio(2 * correct, predicted + support)[..., often].mean(axis=-1)

    return found.sums, mean


def together(task: str, metric: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the counts of all three tests, and a metric of the pooled counts."""
    parts = [counts(corpus, task) for corpus in (*NEWS, SPEECHES)]
    return np.concatenate([part.sums for part in parts]), lambda sums: getattr(parts[0].of(sums), metric)()


for task in ("stance", "topic"):
    for what, (sums, statistic) in (
        (f"mean of {' and '.join(NEWS)}", news(task)),
        (f"{SPEECHES}, labels with {FEWEST} rows or more", speeches(task)),
        ("three tests together, macro-F1", together(task, "macro_f1")),
        ("three tests together, accuracy", together(task, "accuracy")),
    ):
        (interval,) = bca_intervals(sums, lambda drawn, statistic=statistic: np.asarray(statistic(drawn))[..., None])
        print(f"{task}, {what}: {statistic(sums.sum(axis=0)):.3f} [{interval.low:.3f}, {interval.high:.3f}]")
