"""A challenge set of minimal pairs, scored by phenomenon: does the model tell apart what differs in one thing?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from haltung.evaluation.metrics.results import Interval, PhenomenonMetrics
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.statistics.bootstrap import wilson
from haltung.records import Segment

# The row over all phenomena.
ALL = "all"

# How the ids of a pair's two segments end.
_SIDES = ("-a", "-b")


def is_challenge(segments: Sequence[Segment]) -> bool:
    """Tell whether these are minimal pairs: each article is a pair (ids ``PAIR-a``, ``PAIR-b``) and each has its phenomenon as genre."""
    ids = {segment.id for segment in segments}
    return bool(segments) and all(
        segment.genre and segment.article and segment.id[-2:] in _SIDES and {segment.article + side for side in _SIDES} <= ids
        for segment in segments
    )


def phenomena(scored: ScoredSplit, segments: Sequence[Segment]) -> dict[str, tuple[PhenomenonMetrics, ...]]:
    """Return the figures of each single-label task whose gold labels differ within at least one pair: all pairs first, then by phenomenon.

    Args:
        scored: predictions and gold of the challenge set.
        segments: the same segments, in the same order (see ``is_challenge``).
    """
    rows = {segment.id: row for row, segment in enumerate(segments)}
    kinds = {segment.article: segment.genre for segment in segments}
    pairs = np.array([[rows[pair + side] for side in _SIDES] for pair in kinds])
    names = np.array(list(kinds.values()))
    out: dict[str, tuple[PhenomenonMetrics, ...]] = {}
    for task in scored.scheme:
        if task.kind != "single":
            continue
        labelled = scored.labelled(task.name)[pairs].all(axis=1)
        gold, decided = scored.gold[task.name][pairs], scored.decided(task.name)[pairs]
        if not (labelled & (gold[:, 0] != gold[:, 1])).any():
            continue
        groups = {ALL: labelled} | {name: labelled & (names == name) for name in sorted(set(names))}
        out[task.name] = tuple(_figures(name, gold[mask], decided[mask]) for name, mask in groups.items() if mask.any())
    return out


def flat(figures: Mapping[str, Sequence[PhenomenonMetrics]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures as nested metrics, ``{"stance": {"negation": {"accuracy": …, "both": …}}}``."""
    return {task: {row.phenomenon: {"accuracy": row.accuracy, "both": row.both} for row in rows} for task, rows in figures.items()}


def _figures(name: str, gold: np.ndarray, decided: np.ndarray) -> PhenomenonMetrics:
    right = gold == decided
    differ = gold[:, 0] != gold[:, 1]
    apart = float((decided[differ, 0] != decided[differ, 1]).mean()) if differ.any() else None
    accuracy, both = float(right.mean()), float(right.all(axis=1).mean())
    # The two of a pair are not independent, so the pairs are Wilson's n for the accuracy too, which is on the safe side.
    shares = {"accuracy": (accuracy, len(gold)), "both": (both, len(gold))} | (
        {} if apart is None else {"apart": (apart, int(differ.sum()))}
    )
    ends = {figure: Interval(*wilson(share, n)) for figure, (share, n) in shares.items()}
    return PhenomenonMetrics(name, len(gold), accuracy, both, int(differ.sum()), apart, ends)
