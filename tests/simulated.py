"""Simulated articles with known gold labels, some of them rare, and systems that make errors; the
sentences of an article resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from haltung.evaluation.metrics.classification import Counts
from haltung.evaluation.predictions import Floats

# Frequency of each of eleven labels, and the rate at which it is recognised in an article of median
# difficulty.
SHARES = np.array([0.22, 0.16, 0.13, 0.11, 0.1, 0.08, 0.07, 0.05, 0.04, 0.025, 0.015])
RECALL = np.linspace(0.8, 0.45, len(SHARES))
SENTENCES = 12


def sample(
    rng: np.random.Generator, articles: int, systems: Sequence[Sequence[Floats]] = ((np.zeros(11),),), alike: float = 4.0, hard: float = 0.7
) -> list[list[Counts]]:
    """Draw articles, and predictions of systems for them; return the runs of each system.

    All runs are on the same articles.

    Args:
        rng: source of randomness.
        articles: number of articles; each has about a dozen sentences.
        systems: for each system and seed, what is added to the log odds of recognising each label.
        alike: concentration of a Dirichlet distribution; the smaller, the fewer labels per article.
        hard: standard deviation of articles' difficulty in log odds, which all systems share.
    """
    size = len(SHARES)
    lengths = 1 + rng.poisson(SENTENCES - 1, articles)
    which = np.repeat(np.arange(articles), lengths)
    mix = rng.gamma(alike * SHARES, size=(articles, size)) + 1e-12
    mix /= mix.sum(axis=1, keepdims=True)
    gold = (mix[which].cumsum(axis=1) < rng.random(len(which))[:, None]).sum(axis=1).clip(0, size - 1)
    ease = rng.normal(0, hard, articles)[which]
    out = []
    for seeds in systems:
        runs = []
        for shift in seeds:
            chance = 1 / (1 + np.exp(-(np.log(RECALL / (1 - RECALL)) + shift)[gold] - ease))
            predicted = np.where(rng.random(len(which)) < chance, gold, rng.choice(size, len(which), p=SHARES))
            runs.append(_summed(articles, which, gold, predicted))
        out.append(runs)
    return out


def _summed(articles: int, which: np.ndarray, gold: np.ndarray, predicted: np.ndarray) -> Counts:
    size = len(SHARES)
    matrix = np.zeros((articles, 3 * size + 3))
    for labels, start in ((gold[gold == predicted], 0), (predicted, size), (gold, 2 * size)):
        rows = which[gold == predicted] if start == 0 else which
        matrix[:, start : start + size] = np.bincount(rows * size + labels, minlength=articles * size).reshape(articles, size)
    matrix[:, 3 * size] = matrix[:, :size].sum(axis=1)
    matrix[:, 3 * size + 1] = np.bincount(which, minlength=articles)
    return Counts(matrix, size, all_labels=False)


def articles(rights: list[list[int]]) -> Counts:
    """Return the counts of a task with two labels, for articles with two segments of each label.
    ``rights`` has the number of right segments by article and label.
    """
    rows = []
    for a, b in rights:
        correct, support = np.array([a, b]), np.array([2, 2])
        predicted = correct + (support - correct)[::-1]
        rows.append([*correct, *predicted, *support, a + b, 4, 0.0])
    return Counts(np.array(rows, dtype=float), 2, all_labels=False)
