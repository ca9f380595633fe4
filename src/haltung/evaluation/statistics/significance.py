"""Is one system better than another? Tests for two systems that have labelled the same articles.

The main test is ``difference``. It counts both reasons why a difference is uncertain:

- articles: the standard error of a paired bootstrap by article (one draw of articles weighs both
  systems, and all seeds);
- seeds: s²/seeds for each side that was trained several times. Articles and seeds are crossed; that
  the two variances then add up, on the safe side (what a seed does to an article is counted in
  both), is shown by Owen, "The pigeonhole bootstrap" (Annals of Applied Statistics 1, 2007). Draws
  of three seeds, as of articles, would spread too little by a third. Bouthillier et al.,
  "Accounting for variance in machine learning benchmarks" (MLSys 2021), say why seeds must count.

The sum is measured with t, its degrees of freedom by Satterthwaite ("An approximate distribution of
estimates of variance components", Biometrics Bulletin 2, 1946): articles - 1, and seeds - 1 of each
side. A side that was trained once, against one with several seeds, is taken to vary as that one
does. Where both were trained once, or all seeds give the same predictions (as a linear model's do),
the result holds for these models, and not for their recipes.

Verdicts rest on this test because it alone has an interval and counts seeds. Beside it stands
``randomisation``, which is exact where the two systems are one (but knows only these very models).
How often each calls equal systems different is measured in
``tests/evaluation/statistics/test_significance.py``: the main test at 5 % in 1.4 to 6 % of the
samples from 20 articles on, in 7.5 % with 10, and in 38 % where recipes were trained once each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from haltung.evaluation.predictions import Floats
from haltung.evaluation.statistics.bootstrap import BLOCK, DRAWS, LEVEL, SEED, Interval, Statistic, wilson

MIN_ARTICLES = 5  # fewer can't tell systems apart in any way that tests could be trusted with
_POWER, _MAX_NEEDED = 0.8, 1_000_000  # of ``articles_needed``, and as good as infinitely many
_NOTHING = 1e-12  # a variance, or a standard error, that is rounding alone


@dataclass(frozen=True, eq=False)
class Sampled:
    """A system's metrics, ``[seeds, metrics]``, and draws of their mean, ``[draws, metrics]``."""

    values: Floats
    draws: Floats
    articles: int

    def of_seeds(self, metric: int) -> list[tuple[float, int]]:
        """Return the mean's variance over seeds with its degrees of freedom; empty for one seed."""
        size = len(self.values)
        return [(float(self.values[:, metric].var(ddof=1)) / size, size - 1)] if size > 1 else []


@dataclass(frozen=True)
class Estimate:
    """A metric, or a difference of two, with its interval.

    ``p`` is that of the value being 0, two-sided; ``degrees`` are those of t. ``articles_error``
    and ``seeds_error`` are the two parts of the standard error.
    """

    value: float
    low: float
    high: float
    p: float
    articles_error: float
    seeds_error: float
    degrees: float


def difference(first: Sampled, second: Sampled, metric: int = 0) -> Estimate:
    """Return the first system's metric, a share, minus the second's: the main test (see above)."""
    value = float(first.values[:, metric].mean() - second.values[:, metric].mean())
    parts = first.of_seeds(metric) + second.of_seeds(metric)
    # Seeds that don't differ at all (a linear model's) say nothing about how others would.
    borrowed = len(parts) == 1 and parts[0][0] > _NOTHING
    if borrowed:
        # The side that was trained once is taken to vary as the other one does: s²/seeds + s².
        variance, free = parts[0]
        parts = [(variance * (1 + max(len(first.values), len(second.values))), free)]
    out = _estimate(value, first.draws[:, metric] - second.draws[:, metric], first.articles, parts, borrowed)
    return replace(out, low=max(-1.0, out.low), high=min(1.0, out.high))


def mean(system: Sampled, metric: int = 0, ends: Interval | None = None) -> Estimate:
    """Return a metric, a share, as the mean over seeds; the interval counts articles and seeds.

    Where all is right, or nothing, it is Wilson's, with the articles for its n; where ``ends`` are
    given, these.
    """
    out = _estimate(float(system.values[:, metric].mean()), system.draws[:, metric], system.articles, system.of_seeds(metric))
    ends = ends or (wilson(out.value, system.articles) if out.value in (0.0, 1.0) else Interval(out.low, out.high))
    return replace(out, low=max(0.0, ends.low), high=min(1.0, ends.high))


def randomisation(first: Floats, second: Floats, statistic: Statistic, draws: int = DRAWS, seed: int = SEED) -> float:
    """Return the p of a difference by approximate randomisation.

    The two systems are sums by article, ``[articles, columns]``, of several seeds their mean.
    Noreen, "Computer-intensive methods for testing hypotheses" (1989); Yeh, "More accurate tests
    for the statistical significance of result differences" (COLING 2000).
    """
    observed = abs(float(statistic(first.sum(axis=0)) - statistic(second.sum(axis=0))))
    swapped = np.abs(swapped_differences(first, second, statistic, draws, seed))
    # Equal but for rounding counts as reached.
    return (int((swapped >= observed - 1e-12).sum()) + 1) / (draws + 1)


def swapped_differences(first: Floats, second: Floats, statistic: Statistic, draws: int, seed: int) -> Floats:
    """Return the difference of two systems where articles change sides at random, ``[draws, …]``.

    They are sums by article, ``[articles, …, columns]``; several pairs change sides at once.
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
    """Return p values corrected for being several (Holm, Scand. J. of Statistics 6, 1979)."""
    order = np.argsort(values, kind="stable")
    raised = np.minimum(np.arange(len(values), 0, -1) * np.array(values)[order], 1.0)
    return [float(one) for one in np.maximum.accumulate(raised)[np.argsort(order)]]


def articles_needed(observed: Estimate, articles: int, level: float) -> int | None:
    """Return how many articles like these would show a difference like the observed one.

    The power is 80 %. The part of the standard error that comes from articles shrinks with their
    root, that from seeds does not. What is observed is itself uncertain, so that this is an order
    of magnitude and no plan (Hoenig and Heisey, "The abuse of power", The American Statistician 55,
    2001). In simulation about 80 % were reached where it said 280 articles, 67 % where it said 93.
    ``level`` is the p at which the test, after correction, calls a difference real. The number has
    two leading digits; None says that none would do: it takes more seeds, or nothing differs.
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
    """Put the parts of the variance together; ``seeds`` holds the seeds' variances and degrees."""
    from scipy.special import stdtr, stdtrit

    # The draws vary too little by (articles - 1) / articles, see ``bootstrap``.
    parts = [(float(draws.var(ddof=1)) * articles / (articles - 1), articles - 1), *seeds]
    variance = sum(part for part, _ in parts)
    error = math.sqrt(variance)
    if error < _NOTHING:
        # The same predictions everywhere, or too few articles to say more.
        return Estimate(value, value, value, 1.0 if abs(value) < _NOTHING else 1 / (len(draws) + 1), 0.0, 0.0, float(articles - 1))
    degrees = variance**2 / sum(part**2 / free for part, free in parts)
    if borrowed:
        # One small sample stands for both sides, and Satterthwaite's degrees are then too many:
        # equal systems differed in 5 to 9 % of the samples of five settings. The limit has no
        # source: of eight rules it was the boldest that stayed below 6 % in all five.
        degrees = min(degrees, parts[-1][1] + 2)
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    p = min(1.0, 2 * float(stdtr(degrees, -abs(value) / error)))
    errors = math.sqrt(parts[0][0]), math.sqrt(sum(part for part, _ in parts[1:]))
    return Estimate(value, value - reach, value + reach, p, *errors, float(degrees))


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
    """Return what the best of the others gains over the first, and whether it is luck.

    Of twenty recipes that are all the same, the best one beats the first in nearly every search. So
    the gain is compared with what the best of as many equal trials would gain by chance: in each
    draw, articles change sides at random between the first trial and every other one at once, and
    the largest of the differences counts. That is ``randomisation`` for the largest of many
    (Westfall and Young, "Resampling-based multiple testing", 1993; White, "A reality check for data
    snooping", Econometrica 68, 2000, asks the same of a bootstrap). The test has one side.

    Trials that were given up early have no score, but had their chance: p is raised as if each were
    one more of the others (Šidák, JASA 62, 1967), which errs on the safe side where trials resemble
    each other. How often the best of equal trials is called better is measured in
    ``tests/evaluation/statistics/test_best_of_many.py``: at most 5.3 %, uncorrected up to 31 %.

    Two limits. Each trial is one training, so the result holds for these models, and not for their
    recipes. And a search that learns from its trials goes where dev, too, was favourable by chance;
    only a split that the search has not used tells the rest.

    ``first`` is the trial that the search began with, ``others`` are the finished ones (at least
    one), all as sums by article, ``[articles, columns]``; ``given_up`` counts the unfinished.
    """
    start = statistic(first.sum(axis=0))
    values = np.array([float(statistic(other.sum(axis=0)) - start) for other in others])
    best = int(values.argmax())
    luck = swapped_differences(np.stack(others, axis=1), first[:, None], statistic, draws, seed)
    # Equal but for rounding counts as reached.
    p, alone = (float((row >= values[best] - 1e-12).sum() + 1) / (draws + 1) for row in (luck.max(axis=1), luck[:, best]))
    tried = len(others) + given_up
    return Gain(float(values[best]), 1 - (1 - p) ** (tried / len(others)), alone, tried, len(first))
