"""Does the best of several trials gain anything over the first, or is it the luck of many tries?

Of twenty recipes that are all the same, the best one beats the first in nearly every search. So the
gain of the best is compared with what the best of as many equal trials would gain by chance: in
each draw, articles change sides at random between the first trial and every other one at once, and
the largest of the differences counts. That is the randomisation of ``significance`` (Noreen 1989)
for the largest of many (Westfall and Young, "Resampling-based multiple testing", 1993; White, "A
reality check for data snooping", Econometrica 68, 2000, asks the same of a bootstrap). The test has
one side.

Trials that were given up early have no score, but had their chance: p is raised as if each of them
were one more of the others (Šidák, JASA 62, 1967), which errs on the safe side where trials
resemble each other. How often the best of equal trials is called better, with and without all this,
is measured in ``tests/evaluation/statistics/test_best_of_many.py``: in at most 5.3 %, without it in
up to 31 %.

Two limits. Each trial is one training, so the result holds for these models, and not for their
recipes. And a search that learns from its trials goes where dev, too, was favourable by chance;
only a split that the search has not used tells the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from haltung.evaluation.predictions import Floats
from haltung.evaluation.statistics.bootstrap import DRAWS, LEVEL, SEED, Statistic
from haltung.evaluation.statistics.significance import swapped_differences


@dataclass(frozen=True)
class Gain:
    """What the best trial gains over the first one, on the split that has chosen it.

    ``value`` is the difference of their scores. ``p`` is how often the best of as many equal trials
    would gain so much by chance, ``alone`` what it would be if nobody had chosen. ``tried`` counts
    the trials beside the first, with those given up early.
    """

    value: float
    p: float
    alone: float
    tried: int
    articles: int

    @property
    def better(self) -> bool:
        """Whether the gain is more than the choice among so many gives by chance."""
        return self.p <= 1 - LEVEL


def gain(first: Floats, others: Sequence[Floats], statistic: Statistic, given_up: int = 0, draws: int = DRAWS, seed: int = SEED) -> Gain:
    """Return what the best of the others gains over the first.

    Args:
        first: the trial that the search began with, as sums by article, ``[articles, columns]``.
        others: the same of the trials that were finished, at least one.
        statistic: makes a trial's score ``[...]`` of sums ``[..., columns]``.
        given_up: how many were not finished.
        draws: of the randomisation.
        seed: of these draws.
    """
    start = statistic(first.sum(axis=0))
    values = np.array([float(statistic(other.sum(axis=0)) - start) for other in others])
    best = int(values.argmax())
    luck = np.stack([swapped_differences(other, first, statistic, draws, seed) for other in others])
    # Equal but for rounding counts as reached.
    p, alone = (float((row >= values[best] - 1e-12).sum() + 1) / (draws + 1) for row in (luck.max(axis=0), luck[best]))
    tried = len(others) + given_up
    return Gain(float(values[best]), 1 - (1 - p) ** (tried / len(others)), alone, tried, len(first))
