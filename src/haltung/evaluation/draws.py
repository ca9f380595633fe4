"""Bootstrap draws of whole articles, for figures that are made of sums: sentences of one article are not independent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from haltung.evaluation.scored import Floats, Ints

# Draws at once; bounds the memory to this times the number of articles.
_CHUNK = 200


def numbered(groups: Sequence[str]) -> Ints:
    """Return each segment's article as a number from 0 on, ``[n]``."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)


def per_article(values: Floats | Ints, articles: Ints) -> Floats:
    """Return the sums of ``[n, …]`` over the segments of each article, ``[articles, …]``."""
    out = np.zeros((int(articles.max(initial=-1)) + 1, *values.shape[1:]))
    np.add.at(out, articles, values)
    return out


def resampled(sums: Floats, draws: int, seed: int) -> Floats:
    """Return the sums over articles that are drawn with replacement, as many as there are: ``[draws, …]`` of ``[articles, …]``.

    The cluster bootstrap (Field and Welsh 2007, "Bootstrapping clustered data", JRSS B 69): an article comes with all of its segments.
    """
    flat = sums.reshape(len(sums), -1)
    rng = np.random.default_rng(seed)
    return np.concatenate([weights @ flat for weights in _weights(len(sums), draws, rng)]).reshape(draws, *sums.shape[1:])


def _weights(articles: int, draws: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Return how often each draw takes each article, ``[chunk, articles]``."""
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        picked = rng.integers(0, articles, size=(size, articles)) + np.arange(size)[:, None] * articles
        yield np.bincount(picked.ravel(), minlength=size * articles).reshape(size, articles).astype(np.float64)
