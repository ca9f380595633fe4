"""The best of several trials against the one that they began with: a gain, or the luck of having tried many?

The largest of many figures is too large: of twenty recipes that are all the same, the best one beats the first in nearly every search. So
the gain of the best is held against what the best of as many equal trials would have gained by chance: in each draw, articles change sides
at random between the first trial and every other one at once, and the largest of the differences counts. That is the randomisation of
``significance`` (Noreen 1989) for the largest of many (Westfall and Young, "Resampling-based multiple testing", 1993; White, "A reality
check for data snooping", Econometrica 68, 2000, asks the same of a bootstrap). The question has one side: is it better?

Trials that were given up early have no figure, but had their chance: p is raised as if each of them were one more of the others (Šidák,
JASA 62, 1967), which errs on the safe side where trials resemble each other.

Two things it can't know. Each trial is one training, so what is said holds for these models, and not for their recipes. And a search that
learns from its trials goes where dev, too, was kind by chance; only a split that had no say in it tells the rest.

How often the best of equal trials is called better than the first at 5 %, in % of 2,000 simulated samples (``tests/test_selection.py``)::

    articles    other trials    given up    this test    the best, as if nobody had chosen it
    20                     5           0          5.1                                  15.4
    40                     1           0          5.3                                   5.3
    40                     5           0          4.5                                  15.7
    40                    19           0          5.1                                  31.4
    40                     5           5          3.8                                  23.5
    100                    5           0          5.2                                  16.0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.comparison.compare import FEWEST
from haltung.evaluation.predictions import Floats, ScoredSplit
from haltung.evaluation.statistics.intervals import DRAWS, LEVEL, SEED, Articles, articles_of


@dataclass(frozen=True)
class Gain:
    """What the best trial has over the first one, on the split that has chosen it.

    ``value`` is the difference of their scores. ``p`` is how often the best of as many equal trials would have gained so much by chance,
    ``alone`` what it would be if nobody had chosen. ``tried`` counts the trials beside the first, with those given up early.
    """

    value: float
    p: float
    alone: float
    tried: int
    articles: int

    @property
    def better(self) -> bool:
        """Whether the best is better than the first beyond what the choice among so many gives by chance."""
        return self.p <= 1 - LEVEL


def articles_by_task(scored: ScoredSplit, tasks: Sequence[str]) -> list[Articles]:
    """Return each task's sums by article, over all articles of the split, zeros where one has no label, so that tasks share their draws.

    Raises:
        UserError: there are too few articles.
    """
    articles = list(dict.fromkeys(scored.groups))
    if len(articles) < FEWEST:
        raise UserError(f"dev has {len(articles)} articles; at least {FEWEST} are needed to tell whether a trial is better than another")
    places = dict(zip(articles, range(len(articles)), strict=True))
    out = []
    for task in tasks:
        found = articles_of(scored, scored.scheme[task])
        matrix = np.zeros((len(articles), found.matrix.shape[1]))
        labelled = dict.fromkeys(scored.groups[row] for row in np.flatnonzero(scored.labelled(task)))
        matrix[[places[article] for article in labelled]] = found.matrix
        out.append(Articles(matrix, found.labels, found.every))
    return out


def gain(first: Sequence[Articles], others: Sequence[Sequence[Articles]], given_up: int = 0, draws: int = DRAWS, seed: int = SEED) -> Gain:
    """Return what the best of the others has over the first; a trial's score is its macro-F1, the mean over tasks.

    Args:
        first: the trial that the search began with, by task.
        others: the trials that went to their end, at least one; all of the same articles and tasks.
        given_up: how many did not.
        draws: of the randomisation.
        seed: of these draws.
    """
    articles = len(first[0])
    values = np.array([_apart(other, first, np.ones((1, articles)))[0] for other in others])
    best = int(values.argmax())
    rng = np.random.default_rng(seed)
    luck = np.empty((len(others), 0))
    step = max(1, 4_000_000 // articles)
    for start in range(0, draws, step):
        signs: Floats = np.where(rng.integers(0, 2, (min(step, draws - start), articles)) == 1, 1.0, -1.0)
        luck = np.concatenate([luck, np.stack([_apart(other, first, signs) for other in others])], axis=1)
    # Equal but for rounding counts as reached.
    chosen, alone = ((float((row >= values[best] - 1e-12).sum()) + 1) / (draws + 1) for row in (luck.max(axis=0), luck[best]))
    tried = len(others) + given_up
    return Gain(float(values[best]), 1 - (1 - chosen) ** (tried / len(others)), alone, tried, articles)


def _apart(left: Sequence[Articles], right: Sequence[Articles], signs: Floats) -> Floats:
    """Return the difference of two trials' scores, ``[draws]``; articles with a sign of -1, ``[draws, articles]``, have changed sides."""
    found = []
    for mine, other in zip(left, right, strict=True):
        middle, half = (mine.matrix + other.matrix).sum(axis=0) / 2, signs @ (mine.matrix - other.matrix) / 2
        found.append(mine.counts(middle + half).macro_f1() - mine.counts(middle - half).macro_f1())
    out: Floats = np.mean(found, axis=0)
    return out
