"""How far a model judges by names: what changes when they are masked or swapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.error_analysis.masking import masked, names_state, swapped
from haltung.evaluation.metrics.classification import Counts, tally
from haltung.evaluation.predictions import Bools, Ints, ScoredSplit, score
from haltung.evaluation.statistics.bootstrap import (
    MIN_ARTICLES,
    Interval,
    numbered,
    per_article,
    percentile_interval,
    resampled,
    share_interval,
)
from haltung.records import Prediction, Segment

Predict = Callable[[Sequence[Segment]], Sequence[Prediction]]


@dataclass(frozen=True)
class ValueWithInterval:
    """A value and its 95 % interval by article.

    The ends are None for fewer than ``bootstrap.MIN_ARTICLES`` articles.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TaskNameSensitivity:
    """One task on the ``n`` segments labelled for it, of which masking has ``changed`` some.

    ``macro_f1_change`` and ``accuracy_change`` are the values after masking minus those before,
    paired. ``swapped`` counts the segments whose text names a state that can be swapped for
    another, labelled or not, and ``flips`` is the share of those whose prediction changes with it
    (None where there are none).
    """

    task: str
    n: int
    changed: int
    macro_f1_before: float
    macro_f1_after: float
    macro_f1_change: ValueWithInterval
    accuracy_before: float
    accuracy_after: float
    accuracy_change: ValueWithInterval
    swapped: int
    flips: ValueWithInterval | None


@dataclass(frozen=True)
class NameSensitivity:
    """The sensitivity to names of every task; ``seed`` decides which state replaces which."""

    draws: int
    seed: int
    tasks: Mapping[str, TaskNameSensitivity]


def name_sensitivity(
    split: ScoredSplit, segments: Sequence[Segment], predict: Predict, draws: int = 2000, seed: int = 0
) -> NameSensitivity:
    """Mask and swap the names in the segments, predict those that are changed by it, and compare.

    Intervals are percentiles of a bootstrap over articles, the same articles before and after.
    Where no prediction flips, or every one does, all draws agree, and the interval is Wilson's with
    the articles for its n.

    Args:
        split: predictions and gold of the unchanged segments.
        segments: these segments, in the same order.
        predict: the model that ``split`` is of.
        draws: of the bootstrap.
        seed: of the draws, and of the states that replace others.

    Raises:
        UserError: no segment is labelled for any task.
    """
    if not any(split.labelled(task.name).any() for task in split.scheme):
        raise UserError("masking names needs gold labels, but no segment is labelled for any task")
    masked_rows, after_masking = _predicted(split, segments, predict, masked)

    def swap(segment: Segment) -> Segment:
        # A segment whose states are named in the context alone stays as it is.
        return swapped(segment, seed) if names_state(segment) else segment

    swapped_rows, after_swap = _predicted(split, segments, predict, swap)
    tasks = {}
    for task in split.scheme:
        labelled = split.labelled(task.name)
        if not labelled.any():
            continue
        gold = split.gold[task.name][labelled]
        before, after = (tally(gold, part.decided(task.name)[labelled], len(task)) for part in (split, after_masking))
        articles = numbered([group for group, has in zip(split.groups, labelled, strict=True) if has])
        macro_f1, accuracy = _changes(before, after, articles, draws, seed)
        flips = None
        if swapped_rows:
            differs = split.decided(task.name)[swapped_rows] != after_swap.decided(task.name)[swapped_rows]
            groups = numbered([split.groups[row] for row in swapped_rows])
            flips = _share(differs if differs.ndim == 1 else differs.any(axis=1), groups, draws, seed)
        tasks[task.name] = TaskNameSensitivity(
            task.name, int(labelled.sum()), int(labelled[masked_rows].sum()),
            float(before.total().macro_f1()), float(after.total().macro_f1()), macro_f1,
            float(before.total().accuracy()), float(after.total().accuracy()), accuracy,
            len(swapped_rows), flips,
        )  # fmt: skip
    return NameSensitivity(draws, seed, tasks)


def _predicted(
    split: ScoredSplit, segments: Sequence[Segment], predict: Predict, change: Callable[[Segment], Segment]
) -> tuple[list[int], ScoredSplit]:
    """Return the rows that ``change`` changes, and ``split`` with new predictions for these."""
    changed = {row: new for row, segment in enumerate(segments) if (new := change(segment)) != segment}
    rows, texts = list(changed), list(changed.values())
    if not rows:
        return rows, split
    predictions = score(texts, predict(texts), split.scheme)
    probabilities = {name: values.copy() for name, values in split.probabilities.items()}
    for name, values in probabilities.items():
        values[rows] = predictions.probabilities[name]
    return rows, replace(split, probabilities=probabilities)


def _changes(before: Counts, after: Counts, articles: Ints, draws: int, seed: int) -> tuple[ValueWithInterval, ValueWithInterval]:
    """Return the changes of macro-F1 and of accuracy."""
    sums = per_article(np.stack([before.sums, after.sums], axis=1), articles)
    total, drawn = before.of(sums.sum(axis=0)), before.of(resampled(sums, draws, seed))
    macro_f1, accuracy = (
        _estimate(float(np.diff(metric(total))[0]), percentile_interval(np.diff(metric(drawn))[:, 0]), len(sums))
        for metric in (Counts.macro_f1, Counts.accuracy)
    )
    return macro_f1, accuracy


def _share(flags: Bools, articles: Ints, draws: int, seed: int) -> ValueWithInterval:
    """Return the share of the flags that are set."""
    share = float(flags.mean())
    sums = per_article(np.stack([flags, np.ones(len(flags))], axis=1), articles)
    drawn = resampled(sums, draws, seed)
    return _estimate(share, share_interval(drawn[:, 0] / drawn[:, 1], share, len(sums)), len(sums))


def _estimate(value: float, interval: Interval | None, articles: int) -> ValueWithInterval:
    """Return the value with its interval, without it where there are too few articles."""
    if interval is None or articles < MIN_ARTICLES:
        return ValueWithInterval(value, None, None)
    return ValueWithInterval(value, interval.low, interval.high)
