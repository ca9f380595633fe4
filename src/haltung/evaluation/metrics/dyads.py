"""Dyads against gold: who takes which stance towards whom, as precision, recall and F1 over sets, with intervals by article.

Each segment has a set of gold dyads and a set of found ones; hits are counted over all segments (micro-averaged), as is usual where most
segments have one dyad or none (MUC-4's scoring, Chinchor 1992).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.metrics.results import Interval
from haltung.evaluation.predictions import Floats
from haltung.evaluation.statistics.bootstrap import numbered, per_article, resampled
from haltung.evaluation.statistics.intervals import DRAWS, FEWEST, LEVEL, SEED, bca, widened
from haltung.records import Dyad

# What of a dyad has to be right, by the name of the figure.
PARTS: Mapping[str, Callable[[Dyad], Hashable]] = {
    "source, target, stance": lambda dyad: (dyad.source, dyad.target, dyad.stance),
    "source, stance": lambda dyad: (dyad.source, dyad.stance),
    "source, target": lambda dyad: (dyad.source, dyad.target),
}
WHOLE = "source, target, stance"

# The probabilities from which on the precision of dyads is told.
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Match:
    """How well sets agree: ``right`` of ``found`` are among the ``gold`` ones. ``interval`` is that of F1, None for too few articles."""

    gold: int
    found: int
    right: int
    interval: Interval | None = None

    @property
    def precision(self) -> float:
        """The share of what was found that is right; 0 where nothing was found."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """The share of gold that was found; 0 where there is none."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where there is neither gold nor a find."""
        return 2 * self.right / (self.found + self.gold) if self.found + self.gold else 0.0


@dataclass(frozen=True)
class DyadMetrics:
    """The figures of one system on one split: a ``Match`` for each of ``PARTS``, and each stance's for whole dyads.

    ``stance_given_pair`` is the share of the rightly found (source, target) whose stance is right too; ``actors`` tells how many of the
    gold dyads' codes were among the candidates (None where these are not known).
    """

    segments: int
    articles: int
    parts: Mapping[str, Match]
    stances: Mapping[str, Match]
    stance_given_pair: float
    actors: Match | None = None


@dataclass(frozen=True)
class Difference:
    """The F1 of one system minus that of another on the same segments: its interval, and the p value of approximate randomisation."""

    delta: float
    interval: Interval | None
    p: float


def figures(
    gold: Sequence[Collection[Dyad]],
    found: Sequence[Collection[Dyad]],
    articles: Sequence[str],
    candidates: Sequence[Collection[str]] | None = None,
    draws: int = DRAWS,
    seed: int = SEED,
) -> DyadMetrics:
    """Return how well the found dyads agree with the gold ones.

    Args:
        gold: of each segment.
        found: of each segment, in the same order.
        articles: the article of each segment.
        candidates: the codes that were to choose from in each segment.
        draws: of the bootstrap by article.
        seed: of the draws.

    Raises:
        UserError: there is no segment, or the lists are not equally long.
    """
    if not gold or len({len(gold), len(found), len(articles)}) > 1:
        raise UserError(f"dyads of {len(gold)} gold, {len(found)} found segments and {len(articles)} articles; expected as many of each")
    parts = {name: _match(gold, found, articles, key, draws, seed) for name, key in PARTS.items()}
    stances = sorted({dyad.stance for row in (*gold, *found) for dyad in row})
    by_stance = {stance: _match(_only(gold, stance), _only(found, stance), articles, PARTS[WHOLE], draws, seed) for stance in stances}
    pairs, whole = parts["source, target"].right, parts[WHOLE].right
    actors = None if candidates is None else _actors(gold, candidates)
    return DyadMetrics(len(gold), len(set(articles)), parts, by_stance, whole / pairs if pairs else 0.0, actors)


@dataclass(frozen=True)
class Precision:
    """Of the dyads found with a probability of ``least`` or more: how many there are, and the share of them that is right."""

    least: float
    found: int
    precision: float


def precisions(
    gold: Sequence[Collection[Dyad]], found: Sequence[Collection[tuple[float, Dyad]]], levels: Sequence[float] = LEVELS
) -> tuple[Precision, ...]:
    """Return how many dyads remain, and how many of them are right, where only the more probable ones are taken.

    Args:
        gold: of each segment.
        found: of each segment, each with its probability.
        levels: the probabilities from which on they are taken; a level that leaves none is left out.
    """
    rows = [(probability, dyad in has) for has, given in zip(gold, found, strict=True) for probability, dyad in given]
    out = []
    for level in levels:
        kept = [right for probability, right in rows if probability >= level]
        if kept:
            out.append(Precision(level, len(kept), sum(kept) / len(kept)))
    return tuple(out)


def difference(
    gold: Sequence[Collection[Dyad]],
    one: Sequence[Collection[Dyad]],
    other: Sequence[Collection[Dyad]],
    articles: Sequence[str],
    part: str = WHOLE,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Difference:
    """Return how much better ``one`` is than ``other`` in F1, tested by swapping the two systems' answers article by article.

    Approximate randomisation: Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses"; the whole article is swapped, since its
    segments are not independent.
    """
    numbers = numbered(articles)
    sums = np.stack([per_article(_counts(gold, found, PARTS[part]), numbers) for found in (one, other)], axis=1)
    delta = float(_gap(sums.sum(axis=0)))
    rng = np.random.default_rng(seed)
    swaps = rng.integers(0, 2, (draws, len(sums))).astype(np.float64)
    base, turned = sums, sums[:, ::-1]
    flat = np.tensordot(1 - swaps, base, axes=1) + np.tensordot(swaps, turned, axes=1)
    extreme = int((np.abs(_gap(flat)) >= abs(delta) - 1e-12).sum())
    interval = None
    if len(sums) >= FEWEST:
        without = _gap(sums.sum(axis=0) - sums)
        interval = bca(_gap(resampled(sums, draws, seed)), delta, without, widened((1 - LEVEL) / 2, len(sums)))
    return Difference(delta, interval, (extreme + 1) / (draws + 1))


def _match(
    gold: Sequence[Collection[Dyad]],
    found: Sequence[Collection[Dyad]],
    articles: Sequence[str],
    key: Callable[[Dyad], Hashable],
    draws: int,
    seed: int,
) -> Match:
    sums = per_article(_counts(gold, found, key), numbered(articles))
    total = sums.sum(axis=0)
    interval = None
    if len(sums) >= FEWEST and total[:2].sum() > 0:
        interval = bca(_f1(resampled(sums, draws, seed)), float(_f1(total)), _f1(total - sums), widened((1 - LEVEL) / 2, len(sums)))
    return Match(int(total[0]), int(total[1]), int(total[2]), interval)


def _counts(gold: Sequence[Collection[Dyad]], found: Sequence[Collection[Dyad]], key: Callable[[Dyad], Hashable]) -> Floats:
    """Return gold, found and right of each segment, ``[segments, 3]``."""
    rows = []
    for has, given in zip(gold, found, strict=True):
        wanted, answered = {key(dyad) for dyad in has}, {key(dyad) for dyad in given}
        rows.append((len(wanted), len(answered), len(wanted & answered)))
    return np.array(rows, dtype=np.float64)


def _f1(sums: Floats) -> Floats:
    """Return F1 of sums ``[..., 3]``; nan where there is neither gold nor a find."""
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = 2 * sums[..., 2] / (sums[..., 0] + sums[..., 1])
    return out


def _gap(sums: Floats) -> Floats:
    """Return the first system's F1 minus the second's, of ``[..., 2, 3]``."""
    scores = np.nan_to_num(_f1(sums))
    out: Floats = scores[..., 0] - scores[..., 1]
    return out


def _only(rows: Sequence[Collection[Dyad]], stance: str) -> list[list[Dyad]]:
    return [[dyad for dyad in row if dyad.stance == stance] for row in rows]


def _actors(gold: Sequence[Collection[Dyad]], candidates: Sequence[Collection[str]]) -> Match:
    wanted = [{code for dyad in row for code in (dyad.source, dyad.target) if code} for row in gold]
    has = [set(row) for row in candidates]
    right = sum(len(one & other) for one, other in zip(wanted, has, strict=True))
    return Match(sum(map(len, wanted)), sum(map(len, has)), right)
