"""Is one system better than another, or is it chance? Tests for two systems that have labelled the same articles.

The main test is ``difference``. A difference of a metric is uncertain for two reasons, and the test
counts both:

- other articles would give another difference: the standard error of a paired bootstrap by article
  (one draw of articles weighs both systems, and all seeds);
- other seeds would, too: s²/seeds for each side that was trained several times. Articles and seeds
  are crossed; that the two variances then add up, and that this errs on the safe side (what a seed
  does to an article is counted in both), is shown by Owen, "The pigeonhole bootstrap" (Annals of
  Applied Statistics 1, 2007). Resampling three seeds as one resamples articles would not do: the
  spread of its draws is too small by a third. Bouthillier et al., "Accounting for variance in
  machine learning benchmarks" (MLSys 2021), say why seeds have to count at all.

The sum is measured with t, its degrees of freedom by Satterthwaite ("An approximate distribution of
estimates of variance components", Biometrics Bulletin 2, 1946): articles - 1, and seeds - 1 of each
side. A side that was trained once, against one with several seeds, is taken to vary as that one does.
Where both were trained once, or the several seeds of the other side give the same predictions (as a
linear model's do), the result holds for that model, and not for its recipe.

The verdict rests on this test because it is the only one of the three that has an interval and that
counts seeds. Beside it stand ``randomisation``, which is exact where the two systems are one (but
knows only these very models), and the customary ``mcnemar`` on accuracy; it takes sentences for
independent, which they are not, and so finds differences too easily.

How often two equal systems are called different at 5 %, in % of 2,000 simulated samples
(``tests/evaluation/test_significance.py``)::

    articles   seeds      spread of seeds   main test   percentile bootstrap   randomisation
    10         1 and 1    -                       7.5                   10.8             5.6
    20         1 and 1    -                       6.0                    7.5             5.0
    40         1 and 1    -                       5.6                    5.8             4.8
    100        1 and 1    -                       5.5                    5.7             5.2
    400        1 and 1    -                       5.2                    5.3             5.0
    40         3 and 3    0.032                   1.4                   10.7             9.8
    100        3 and 3    0.024                   2.0                   18.6            17.2
    40         2 and 2    0.053                   4.8                   37.9            36.5
    40         3 and 3    0.058                   3.1                   40.0            37.7
    40         2 and 1    0.053                   5.2                   41.8            40.9
    40         3 and 1    0.059                   3.5                   42.6            40.4
    100        3 and 1    0.055                   5.0                   57.0            56.1
    100        5 and 5    0.058                   4.3                   56.4            55.1
    40         1 and 1    0.058 (unseen)         37.6                   39.5            37.5

The last two columns count articles alone; the last row is why one run each can't tell recipes apart.
On accuracy, which no verdict rests on, the main test calls 1.1 to 6.0 % different, 6.5 with 2 and 1
seeds, 48.9 in the last row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from haltung.evaluation.predictions import Bools, Floats
from haltung.evaluation.statistics.bootstrap import DRAWS, LEVEL, SEED, Interval, Statistic, resampled, wilson

# Fewer articles can't tell systems apart in any way that the tests could be trusted with.
MIN_ARTICLES_COMPARED = 5

# The power to find a difference that ``articles_needed`` reckons with.
_POWER = 0.8

# More articles than this are as good as infinitely many.
_MAX_NEEDED = 1_000_000

# McNemar's test is exact below so many segments that differ.
_EXACT_BELOW = 25

# A variance, or a standard error, that is rounding alone.
_NOTHING = 1e-12

# How many signs of a randomisation are held at once: 32 MB of them.
_BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class Sampled:
    """A system's metrics: ``values`` are ``[seeds, metrics]``; ``draws``, each the mean over seeds, ``[draws, metrics]``."""

    values: Floats
    draws: Floats
    articles: int

    def of_seeds(self, metric: int) -> list[tuple[float, int]]:
        """Return the variance of the mean that comes from the seeds, with its degrees of freedom; empty for one seed."""
        size = len(self.values)
        return [(float(self.values[:, metric].var(ddof=1)) / size, size - 1)] if size > 1 else []


@dataclass(frozen=True)
class Estimate:
    """A metric, or a difference of two, with its interval.

    ``p`` is that of the value being 0, two-sided; ``degrees`` are those of t. ``articles_error`` and
    ``seeds_error`` are the two parts of the standard error.
    """

    value: float
    low: float
    high: float
    p: float
    articles_error: float
    seeds_error: float
    degrees: float

    @property
    def interval(self) -> Interval:
        """The ends alone."""
        return Interval(self.low, self.high)


@dataclass(frozen=True)
class McNemar:
    """How many segments the first system alone has right, how many the second alone, and whether that may be chance."""

    first: int
    second: int
    p: float
    exact: bool


def sampled(runs: Sequence[Floats], statistic: Statistic, draws: int = DRAWS, seed: int = SEED) -> Sampled:
    """Return a system's metrics and draws; the same articles and seed give every system the same draws.

    Args:
        runs: the sums of each of the system's seeds, ``[articles, columns]``, of the same articles in
            the same order.
        statistic: makes metrics of sums.
        draws: how many.
        seed: of the draws.
    """
    sums = np.stack(runs, axis=1)
    return Sampled(statistic(sums.sum(axis=0)), statistic(resampled(sums, draws, seed)).mean(axis=1), len(sums))


def difference(first: Sampled, second: Sampled, metric: int = 0) -> Estimate:
    """Return the first system's metric, a share, minus the second's: the main test, described at the head of this file."""
    value = float(first.values[:, metric].mean() - second.values[:, metric].mean())
    parts = first.of_seeds(metric) + second.of_seeds(metric)
    # Seeds that don't differ at all, as those of a linear model, say nothing about how others would.
    borrowed = len(parts) == 1 and parts[0][0] > _NOTHING
    if borrowed:
        # The side that was trained once is taken to vary as the other one does: s²/seeds + s².
        variance, free = parts[0]
        parts = [(variance * (1 + max(len(first.values), len(second.values))), free)]
    out = _estimate(value, first.draws[:, metric] - second.draws[:, metric], first.articles, parts, borrowed)
    return replace(out, low=max(-1.0, out.low), high=min(1.0, out.high))


def mean(system: Sampled, metric: int = 0) -> Estimate:
    """Return the mean of a metric, a share, over a system's seeds, with an interval that counts articles and seeds.

    Where all is right, or nothing, no draw differs from another; the interval is then Wilson's, with
    the articles for its n.
    """
    out = _estimate(float(system.values[:, metric].mean()), system.draws[:, metric], system.articles, system.of_seeds(metric))
    ends = wilson(out.value, system.articles) if out.value in (0.0, 1.0) else out.interval
    return replace(out, low=max(0.0, ends.low), high=min(1.0, ends.high))


def randomisation(first: Floats, second: Floats, statistic: Statistic, draws: int = DRAWS, seed: int = SEED) -> float:
    """Return the p of a difference by approximate randomisation: in each draw, articles change sides at random.

    Noreen, "Computer-intensive methods for testing hypotheses" (1989); Yeh, "More accurate tests for
    the statistical significance of result differences" (COLING 2000).

    Args:
        first: the sums of each article, ``[articles, columns]``; of several seeds their mean.
        second: those of the other system.
        statistic: makes one value ``[...]`` of sums ``[..., columns]``.
        draws: of the randomisation.
        seed: of these draws.
    """
    observed = abs(float(statistic(first.sum(axis=0)) - statistic(second.sum(axis=0))))
    gaps = np.abs(swapped_gaps(first, second, statistic, draws, seed))
    # Equal but for rounding counts as reached.
    return (int((gaps >= observed - 1e-12).sum()) + 1) / (draws + 1)


def swapped_gaps(first: Floats, second: Floats, statistic: Statistic, draws: int = DRAWS, seed: int = SEED) -> Floats:
    """Return the difference of two systems in each draw of a randomisation, ``[draws]``; see ``randomisation``.

    The same seed swaps the same articles.
    """
    rng = np.random.default_rng(seed)
    middle, half = (first + second).sum(axis=0) / 2, (first - second) / 2
    step = max(1, _BLOCK // len(half))
    out = []
    for start in range(0, draws, step):
        off = (rng.integers(0, 2, (min(step, draws - start), len(half))) * 2.0 - 1) @ half
        out.append(statistic(middle + off) - statistic(middle - off))
    return np.concatenate(out)


def mcnemar(first: Bools, second: Bools) -> McNemar:
    """Compare which segments two single runs have right, ``[n]`` each.

    McNemar, Psychometrika 12 (1947). Below 25 segments on which they differ the binomial test, else
    chi-square with Edwards' correction for continuity (Psychometrika 13, 1948).
    """
    from scipy.stats import binomtest, chi2

    left, right = int((first & ~second).sum()), int((second & ~first).sum())
    both = left + right
    if both < _EXACT_BELOW:
        return McNemar(left, right, float(binomtest(left, both).pvalue) if both else 1.0, exact=True)
    statistic = (abs(left - right) - 1) ** 2 / both if left != right else 0.0
    return McNemar(left, right, float(chi2.sf(statistic, 1)), exact=False)


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for being several.

    Holm, "A simple sequentially rejective multiple test procedure" (Scandinavian Journal of
    Statistics 6, 1979).
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    out, least = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(values) - rank) * values[index]))
        out[index] = least
    return out


def articles_needed(observed: Estimate, articles: int, level: float) -> int | None:
    """Return how many articles like these it would take to find a difference like the observed one, with a power of 80 %.

    The part of the standard error that comes from articles shrinks with their root, that from seeds
    does not. What is observed is itself uncertain, so that this is an order of magnitude and no plan
    (Hoenig and Heisey, "The abuse of power", The American Statistician 55, 2001). In simulation about
    80 % were reached where it said 280 articles, 67 % where it said 93.

    Args:
        observed: the difference.
        articles: how many there are.
        level: the p at which the test, after correction, calls a difference real.

    Returns:
        two leading digits; None where no number of articles would do: it takes more seeds, or there
        is no difference to be seen.
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
    """Put the parts of the variance together; ``seeds`` holds variance and degrees of freedom of each side's seeds."""
    from scipy.special import stdtr, stdtrit

    # The draws vary too little by (articles - 1) / articles, see ``bootstrap``.
    parts = [(float(draws.var(ddof=1)) * articles / (articles - 1), articles - 1), *seeds]
    variance = sum(part for part, _ in parts)
    error = math.sqrt(variance)
    if error < _NOTHING:
        # No draw differs from another: the same predictions everywhere, or too few articles to say more.
        return Estimate(value, value, value, 1.0 if abs(value) < _NOTHING else 1 / (len(draws) + 1), 0.0, 0.0, float(articles - 1))
    degrees = variance**2 / sum(part**2 / free for part, free in parts)
    if borrowed:
        # One small sample stands for both sides, and Satterthwaite's degrees are then too many: equal
        # systems differed in 5 to 9 % of the samples of five settings. The limit has no source: of
        # eight rules it was the boldest that kept below 6 % in all five.
        degrees = min(degrees, parts[-1][1] + 2)
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    p = min(1.0, 2 * float(stdtr(degrees, -abs(value) / error)))
    return Estimate(
        value, value - reach, value + reach, p, math.sqrt(parts[0][0]), math.sqrt(sum(part for part, _ in parts[1:])), float(degrees)
    )
