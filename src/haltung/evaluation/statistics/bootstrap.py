"""Bootstrap draws of whole articles, for figures that are made of sums: sentences of one article are not independent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from haltung.evaluation.predictions import Floats, Ints

# How many weights are held at once: 32 MB of them.
_BLOCK = 4_000_000


def numbered(groups: Sequence[str]) -> Ints:
    """Return each segment's article as a number from 0 on, ``[n]``."""
    places: dict[str, int] = {}
    return np.array([places.setdefault(group, len(places)) for group in groups], dtype=np.int64)


def per_article(values: Floats | Ints, articles: Ints) -> Floats:
    """Return the sums of ``[n, …]`` over the segments of each article, ``[articles, …]``."""
    out = np.zeros((int(articles.max(initial=-1)) + 1, *values.shape[1:]))
    np.add.at(out, articles, values)
    return out


def weights(articles: int, draws: int, seed: int) -> Iterator[Floats]:
    """Yield how often each article is drawn, as blocks of ``[some draws, articles]``; the same seed gives the same draws."""
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // articles)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn: Ints = rng.integers(0, articles, (size, articles))
        drawn += articles * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * articles).reshape(size, articles).astype(np.float64)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the ends of a share's 95 % interval.

    Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 22, 1927). It says something where a bootstrap
    can't: a share of 0 or 1, of which all draws agree. For n whose parts are not all or nothing, as an article with some segments right,
    it errs on the safe side. ``scipy.stats.binomtest`` has the same ends (tested) and takes whole counts alone.

    Args:
        share: from 0 to 1.
        n: of how many that are independent, such as articles.
    """
    square = 1.959964**2
    middle, reach = share + square / (2 * n), math.sqrt(square * (share * (1 - share) + square / (4 * n)) / n)
    return max(0.0, (middle - reach) / (1 + square / n)), min(1.0, (middle + reach) / (1 + square / n))


def resampled(sums: Floats, draws: int, seed: int) -> Floats:
    """Return the sums over articles that are drawn with replacement, as many as there are: ``[draws, …]`` of ``[articles, …]``.

    The cluster bootstrap (Field and Welsh 2007, "Bootstrapping clustered data", JRSS B 69): an article comes with all of its segments.
    """
    flat = sums.reshape(len(sums), -1)
    return np.concatenate([block @ flat for block in weights(len(sums), draws, seed)]).reshape(draws, *sums.shape[1:])
