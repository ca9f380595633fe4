"""Evaluation of dyads: precision, recall and F1 over sets of (source, target, stance).

Each segment has a set of gold dyads and a set of predicted dyads. Matches are counted over all
segments (micro-averaged), as is usual if most have at most one dyad (MUC-4, Chinchor 1992).
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.predictions import Floats
from haltung.evaluation.statistics.bootstrap import DRAWS, Interval, bca_intervals, numbered, per_article, ratio
from haltung.evaluation.statistics.significance import randomisation
from haltung.records import Dyad

WHOLE = "source, target, stance"
# The part of a dyad that must match, by name.
PARTS: dict[str, Callable[[Dyad], Hashable]] = {part: attrgetter(*part.split(", ")) for part in (WHOLE, "source, stance", "source, target")}
END_TO_END, STANCES_GIVEN = "end to end", "stances given"  # settings: the inputs of a system
DyadSets = Sequence[Collection[Dyad]]  # the dyads of each segment


@dataclass(frozen=True)
class Match:
    """The agreement of two sets: ``right`` of the ``found`` items are among the ``gold`` items.

    ``interval`` is that of F1, None if there are too few articles. Ratios are 0 if undefined.
    """

    gold: int
    found: int
    right: int
    interval: Interval | None = None
    precision: float = field(init=False)
    recall: float = field(init=False)
    f1: float = field(init=False)

    def __post_init__(self) -> None:
        ratios = {"precision": (self.right, self.found), "recall": (self.right, self.gold), "f1": (2 * self.right, self.found + self.gold)}
        for name, (part, whole) in ratios.items():
            object.__setattr__(self, name, part / whole if whole else 0.0)


@dataclass(frozen=True)
class DyadMetrics:
    """One system's ``Match`` for each of ``PARTS``, and for whole dyads of each stance.

    ``stance_given_pair`` is the share of correct (source, target) pairs whose stance is correct
    too; ``actors`` matches the gold dyads' codes with the candidates (None if unknown).
    """

    segments: int
    articles: int
    parts: Mapping[str, Match]
    stances: Mapping[str, Match]
    stance_given_pair: float
    actors: Match | None = None

    def headline(self) -> dict[str, float]:
        """Return F1 scores as a flat dict for a tracker; ends of missing intervals are omitted.

        ``{"dyads_f1": …, "dyads_f1.low": …, "dyads_f1.high": …, "dyads_source_stance_f1": …}``
        """
        out: dict[str, float] = {}
        for part, match in self.parts.items():
            name = "dyads_f1" if part == WHOLE else f"dyads_{part.replace(', ', '_')}_f1"
            out[name] = match.f1
            if match.interval is not None:
                out |= {f"{name}.low": match.interval.low, f"{name}.high": match.interval.high}
        return out


@dataclass(frozen=True)
class Difference:
    """The F1 of one system minus that of another, with the p-value of approximate randomisation."""

    delta: float
    interval: Interval | None
    p: float


@dataclass(frozen=True)
class SystemsCompared:
    """Systems compared in one setting, which determines their inputs.

    ``systems`` has the metrics of ``model``, if there is one, and of ``rules``; ``differences`` are
    model minus rules, by part.
    """

    systems: Mapping[str, DyadMetrics]
    differences: Mapping[str, Difference] = field(default_factory=dict)


def evaluate_dyads(
    gold: DyadSets, predicted: DyadSets, articles: Sequence[str], candidates: Sequence[Collection[str]] | None = None
) -> DyadMetrics:
    """Return the metrics of the predicted dyads of each segment against the gold dyads.

    ``candidates`` are the codes that could be chosen in each segment. ``UserError``: no segment, or
    ``gold``, ``predicted`` and ``articles`` differ in length.
    """
    if not gold or len({len(gold), len(predicted), len(articles)}) > 1:
        found = f"dyads of {len(gold)} gold, {len(predicted)} predicted segments and {len(articles)} articles"
        raise UserError(f"{found}; expected the same number of each")
    parts = {part: match(gold, predicted, part, articles) for part in PARTS}
    stances = sorted({dyad.stance for row in (*gold, *predicted) for dyad in row})
    by_stance = {one: match(_only(gold, one), _only(predicted, one), WHOLE, articles) for one in stances}
    both = [{(dyad.source, dyad.target) for dyad in {*one} & {*other}} for one, other in zip(gold, predicted, strict=True)]
    pairs, actors = parts["source, target"].right, None
    if candidates is not None:
        wanted = [{code for dyad in row for code in (dyad.source, dyad.target) if code} for row in gold]
        offered = [set(row) for row in candidates]
        right = sum(len(one & other) for one, other in zip(wanted, offered, strict=True))
        actors = Match(sum(map(len, wanted)), sum(map(len, offered)), right)
    return DyadMetrics(len(gold), len(set(articles)), parts, by_stance, sum(map(len, both)) / pairs if pairs else 0.0, actors)


def f1_difference(
    gold: DyadSets, one: DyadSets, other: DyadSets, articles: Sequence[str], part: str = WHOLE, draws: int = DRAWS
) -> Difference:
    """Return F1 of ``one`` minus F1 of ``other``, tested by swapping whole articles."""
    numbers = numbered(articles)
    left, right = (per_article(_counts(gold, predicted, PARTS[part]), numbers) for predicted in (one, other))
    sums = np.stack([left, right], axis=1)
    p = randomisation(left, right, lambda sums: _f1(sums, 0.0)[..., 0], draws)
    return Difference(float(_gap(sums.sum(axis=0))[0]), bca_intervals(sums, _gap, draws)[0], p)


def match(gold: DyadSets, predicted: DyadSets, part: str = WHOLE, articles: Sequence[str] = ()) -> Match:
    """Return the agreement of one part of the dyads; without ``articles`` there is no interval."""
    counts = _counts(gold, predicted, PARTS[part]).reshape(-1, 3)
    wanted, answered, right = counts.sum(axis=0).astype(np.int64).tolist()
    return Match(wanted, answered, right, bca_intervals(per_article(counts, numbered(articles)), _f1)[0] if articles else None)


def _counts(gold: DyadSets, predicted: DyadSets, key: Callable[[Dyad], Hashable]) -> Floats:
    """Return the number of gold, predicted and correct dyads by segment, ``[segments, 3]``."""
    sets = [({key(dyad) for dyad in wanted}, {key(dyad) for dyad in answered}) for wanted, answered in zip(gold, predicted, strict=True)]
    return np.array([(len(wanted), len(answered), len(wanted & answered)) for wanted, answered in sets], dtype=np.float64)


def _f1(sums: Floats, otherwise: float = np.nan) -> Floats:
    """Return F1, ``[..., 1]``, from sums ``[..., 3]``; ``otherwise`` if there are no dyads."""
    return ratio(2 * sums[..., 2:], sums[..., :1] + sums[..., 1:2], otherwise)


def _gap(sums: Floats) -> Floats:
    """Return the first system's F1 minus the second's, ``[..., 1]``, from ``[..., 2, 3]``."""
    f1 = _f1(sums, 0.0)
    return np.asarray(f1[..., 0, :] - f1[..., 1, :])


def _only(rows: DyadSets, stance: str) -> list[list[Dyad]]:
    return [[dyad for dyad in row if dyad.stance == stance] for row in rows]
