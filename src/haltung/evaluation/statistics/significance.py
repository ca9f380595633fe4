"""Significance tests for two systems that have labelled the same articles.

The main test is ``difference``. It accounts for two sources of variance:

- articles: the squared standard error of a paired bootstrap over articles (each draw weighs both
  systems, and all seeds, alike);
- seeds: s²/seeds for each side that was trained several times. Articles and seeds are crossed.
  Owen, "The pigeonhole bootstrap" (Annals of Applied Statistics 1, 2007), shows that the variances
  then add up, conservatively (the interaction of seed and article is counted in both). Resampling
  three seeds, like articles, would underestimate the variance by a third. Bouthillier et al.,
  "Accounting for variance in machine learning benchmarks" (MLSys 2021), say why seeds must count.

The sum is tested with Student's t. Its degrees of freedom follow Satterthwaite ("An approximate
distribution of estimates of variance components", Biometrics Bulletin 2, 1946), from articles - 1
and each side's seeds - 1. A side that was trained once is assumed to vary like the other one, if
that has several seeds. If both were trained once, or all seeds give the same predictions (as with a
linear model), the result holds for these models, not for their recipes.

Verdicts use this test because only it has an interval and accounts for seeds. It is supplemented by
``randomisation``, which is exact if the two systems are equal (but only tests these models). Their
rates of false positives are measured in ``tests/evaluation/statistics/test_significance.py``. For
the main test at 5 %, the rate is 1.4 to 6 % with 20 or more articles, 7.5 % with 10, and 38 % for
recipes that were trained once each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from haltung.evaluation.predictions import Floats
from haltung.evaluation.statistics.bootstrap import BLOCK, DRAWS, LEVEL, SEED, Interval, Statistic, wilson

MIN_ARTICLES = 5  # with fewer, no test is reliable
_POWER, _MAX_NEEDED = 0.8, 1_000_000  # of ``articles_needed``, which returns None beyond the latter
_NOTHING = 1e-12  # a variance or standard error below this is a rounding error


@dataclass(frozen=True, eq=False)
class Sampled:
    """A system's metrics, ``[seeds, metrics]``, and draws of their mean, ``[draws, metrics]``."""

    values: Floats
    draws: Floats
    articles: int

    def of_seeds(self, metric: int) -> list[tuple[float, int]]:
        """Return the mean's variance due to seeds and its degrees of freedom; [] for one seed."""
        size = len(self.values)
        return [(float(self.values[:, metric].var(ddof=1)) / size, size - 1)] if size > 1 else []


@dataclass(frozen=True)
class Estimate:
    """A metric, or a difference of two, with its interval.

    ``p`` is two-sided, for the null hypothesis that the value is 0; ``degrees`` are those of t.
    ``articles_error`` and ``seeds_error`` are the two components of the standard error.
    """

    value: float
    low: float
    high: float
    p: float
    articles_error: float
    seeds_error: float
    degrees: float


def difference(first: Sampled, second: Sampled, metric: int = 0) -> Estimate:
    """Return the first system's metric (in [0, 1]) minus the second's: the module's main test."""
    value = float(first.values[:, metric].mean() - second.values[:, metric].mean())
    parts = first.of_seeds(metric) + second.of_seeds(metric)
    # Seeds with identical results (a linear model's) say nothing about another system's variance.
    borrowed = len(parts) == 1 and parts[0][0] > _NOTHING
    if borrowed:
        # The side that was trained once is assumed to vary like the other one: s²/seeds + s².
        variance, free = parts[0]
        parts = [(variance * (1 + max(len(first.values), len(second.values))), free)]
    out = _estimate(value, first.draws[:, metric] - second.draws[:, metric], first.articles, parts, borrowed)
    return replace(out, low=max(-1.0, out.low), high=min(1.0, out.high))


def mean(system: Sampled, metric: int = 0, ends: Interval | None = None) -> Estimate:
    """Return the mean over seeds of a metric in [0, 1]; the interval covers articles and seeds.

    If the mean is 0 or 1, the interval is Wilson's, with the number of articles as n. ``ends``
    replace the interval if given.
    """
    out = _estimate(float(system.values[:, metric].mean()), system.draws[:, metric], system.articles, system.of_seeds(metric))
    ends = ends or (wilson(out.value, system.articles) if out.value in (0.0, 1.0) else Interval(out.low, out.high))
    return replace(out, low=max(0.0, ends.low), high=min(1.0, ends.high))


def randomisation(first: Floats, second: Floats, statistic: Statistic, draws: int = DRAWS, seed: int = SEED) -> float:
    """Return the p-value of a difference by approximate randomisation.

    Each system is given as sums by article, ``[articles, columns]``, averaged over its seeds.
    Noreen, "Computer-intensive methods for testing hypotheses" (1989); Yeh, "More accurate tests
    for the statistical significance of result differences" (COLING 2000).
    """
    observed = abs(float(statistic(first.sum(axis=0)) - statistic(second.sum(axis=0))))
    swapped = np.abs(swapped_differences(first, second, statistic, draws, seed))
    # A difference that is equal up to rounding counts as reached.
    return (int((swapped >= observed - 1e-12).sum()) + 1) / (draws + 1)


def swapped_differences(first: Floats, second: Floats, statistic: Statistic, draws: int, seed: int) -> Floats:
    """Return differences of two systems with articles swapped at random, ``[draws, …]``.

    Systems are sums by article, ``[articles, …, columns]``; several pairs are swapped alike.
    """
    rng = np.random.default_rng(seed)
    middle, half = (first + second).sum(axis=0) / 2, (first - second) / 2
    step = max(1, BLOCK // max(len(half), middle.size))
    out = []
    for start in range(0, draws, step):
        signs = rng.integers(0, 2, (min(step, draws - start), len(half))) * 2.0 - 1
        off = (signs @ half.reshape(len(half), -1)).reshape(-1, *middle.shape)
        out.append(statistic(middle + off) - statistic(middle - off))
    return np.concatenate(out)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple tests (Holm, Scand. J. of Statistics 6, 1979)."""
    order = np.argsort(values, kind="stable")
    raised = np.minimum(np.arange(len(values), 0, -1) * np.array(values)[order], 1.0)
    return [float(one) for one in np.maximum.accumulate(raised)[np.argsort(order)]]


def articles_needed(observed: Estimate, articles: int, level: float) -> int | None:
    """Return how many such articles are needed to detect the observed difference with 80 % power.

    The standard error from articles shrinks with the square root of their number, that from seeds
    does not. The observed difference is itself uncertain, so the result is an order of magnitude,
    not a plan (Hoenig and Heisey, "The abuse of power", The American Statistician 55, 2001). In
    simulations, the power was about 80 % for a result of 280 articles, and 67 % for 93. ``level``
    is the significance level after correction. The number is rounded up to two significant digits.
    It is None if no number suffices: more seeds are needed, or there is no difference.
    """
    from scipy.special import ndtri

    wanted = (observed.value / float(ndtri(1 - level / 2) + ndtri(_POWER))) ** 2 - observed.seeds_error**2
    if wanted <= 0 or observed.articles_error == 0:
        return None
    needed = max(articles + 1.0, float(articles * observed.articles_error**2 / wanted))
    if needed > _MAX_NEEDED:
        return None
    digits = int(10 ** max(0, math.floor(math.log10(needed)) - 1))
    return math.ceil(needed / digits) * digits


def _estimate(value: float, draws: Floats, articles: int, seeds: Sequence[tuple[float, int]], borrowed: bool = False) -> Estimate:
    """Combine the variance components; ``seeds`` has variances with their degrees of freedom."""
    from scipy.special import stdtr, stdtrit

    # The draws' variance is too small by (articles - 1) / articles, see ``bootstrap``.
    parts = [(float(draws.var(ddof=1)) * articles / (articles - 1), articles - 1), *seeds]
    variance = sum(part for part, _ in parts)
    error = math.sqrt(variance)
    if error < _NOTHING:
        # No variance: the same predictions everywhere, or too few articles to show any.
        return Estimate(value, value, value, 1.0 if abs(value) < _NOTHING else 1 / (len(draws) + 1), 0.0, 0.0, float(articles - 1))
    degrees = variance**2 / sum(part**2 / free for part, free in parts)
    if borrowed:
        # With the same small sample for both sides, Satterthwaite's degrees are too high: 5 to 9 %
        # false positives in five simulated settings. The limit has no source; of eight rules it
        # was the least conservative with less than 6 % in all five.
        degrees = min(degrees, parts[-1][1] + 2)
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    p = min(1.0, 2 * float(stdtr(degrees, -abs(value) / error)))
    errors = math.sqrt(parts[0][0]), math.sqrt(sum(part for part, _ in parts[1:]))
    return Estimate(value, value - reach, value + reach, p, *errors, float(degrees))


@dataclass(frozen=True)
class Gain:
    """The gain of the best trial over the first one, on the split on which it was selected.

    ``value`` is the difference of their scores. ``p`` is the probability that the best of as many
    equal trials gains at least as much by chance; ``alone`` is p without selection. ``tried``
    counts the trials other than the first, including those stopped early.
    """

    value: float
    p: float
    alone: float
    tried: int
    articles: int

    @property
    def better(self) -> bool:
        """Whether the gain exceeds what selection among so many trials gives by chance."""
        return self.p <= 1 - LEVEL


def gain(first: Floats, others: Sequence[Floats], statistic: Statistic, given_up: int = 0, draws: int = DRAWS, seed: int = SEED) -> Gain:
    """Return the gain of the best of the other trials over the first, with its significance.

    Of twenty identical recipes, the best one beats the first in nearly every search. The gain is
    therefore compared with what the best of as many equal trials would gain by chance. In each
    draw, articles are swapped at random between the first trial and all others at once, and the
    largest difference is taken. This is ``randomisation`` for a maximum (Westfall and Young,
    "Resampling-based multiple testing", 1993; White, "A reality check for data snooping",
    Econometrica 68, 2000, does the same with a bootstrap). The test is one-sided.

    Trials that were stopped early have no score, but could have been selected: p is raised as if
    each were one more of the others (Šidák, JASA 62, 1967), which is conservative if trials are
    similar. The rate of false positives is measured in
    ``tests/evaluation/statistics/test_best_of_many.py``: at most 5.3 %, uncorrected up to 31 %.

    There are two limitations. Each trial is one training, so the result holds for these models, not
    for their recipes. A search that learns from its trials is also drawn to where dev is favourable
    by chance; only a split not used in the search shows that effect.

    ``first`` is the initial trial of the search, ``others`` are the completed ones (at least one),
    all as sums by article, ``[articles, columns]``; ``given_up`` is the number of stopped trials.
    """
    start = statistic(first.sum(axis=0))
    values = np.array([float(statistic(other.sum(axis=0)) - start) for other in others])
    best = int(values.argmax())
    luck = swapped_differences(np.stack(others, axis=1), first[:, None], statistic, draws, seed)
    # A difference that is equal up to rounding counts as reached.
    p, alone = (float((row >= values[best] - 1e-12).sum() + 1) / (draws + 1) for row in (luck.max(axis=1), luck[:, best]))
    tried = len(others) + given_up
    return Gain(float(values[best]), 1 - (1 - p) ** (tried / len(others)), alone, tried, len(first))
