"""How far a model judges by who rather than by what: the loss when names are masked, and the flips when one state stands for another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.error_analysis.masking import masked_segment, names_state, reread, swapped_segment
from haltung.evaluation.metrics.classification import Counts, tally
from haltung.evaluation.predictions import Bools, Floats, Ints, ScoredSplit, score
from haltung.evaluation.report.i18n import count, number, word
from haltung.evaluation.report.tables import Grid
from haltung.evaluation.statistics.bootstrap import MIN_ARTICLES, numbered, per_article, resampled, wilson
from haltung.labels import Scheme
from haltung.records import Prediction, Segment

Predict = Callable[[Sequence[Segment]], Sequence[Prediction]]


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval by article, which too few articles (``bootstrap.MIN_ARTICLES``) do not have."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TaskReliance:
    """One task on the ``n`` segments labelled for it, of which ``changed`` read differently when masked.

    Macro-F1 and accuracy stand before and after masking; ``macro_f1_change`` and ``accuracy_change`` are after less before, paired.
    ``swapped`` counts the segments whose text names a state that can be put for another, labelled or not, and ``flips`` is the share of
    those that are predicted otherwise then (None where there are none).
    """

    task: str
    n: int
    changed: int
    macro_f1_before: float
    macro_f1_after: float
    macro_f1_change: Interval
    accuracy_before: float
    accuracy_after: float
    accuracy_change: Interval
    swapped: int
    flips: Interval | None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskReliance:
        """Make the record of plain data."""
        inner = {name: Interval(**data[name]) for name in ("macro_f1_change", "accuracy_change")}
        return cls(**{**data, **inner, "flips": Interval(**data["flips"]) if data["flips"] else None})


@dataclass(frozen=True)
class Reliance:
    """The figures of every task; ``seed`` decides which state stands for which."""

    draws: int
    seed: int
    tasks: Mapping[str, TaskReliance]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, the inverse of ``from_dict``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reliance:
        """Make the record of plain data."""
        return cls(**{**data, "tasks": {task: TaskReliance.from_dict(row) for task, row in data["tasks"].items()}})


def reliance(scored: ScoredSplit, segments: Sequence[Segment], predict: Predict, draws: int = 2000, seed: int = 0) -> Reliance:
    """Mask and swap the names in the segments, predict those that are changed by it, and compare.

    Intervals are the percentiles of a bootstrap over articles (see ``draws``), the same articles before and after. Where no prediction,
    or every one, flips, all draws agree, and the interval is Wilson's with the articles for its n.

    Args:
        scored: predictions and gold as they are.
        segments: the same segments, in the same order.
        predict: the model that ``scored`` is of.
        draws: of the bootstrap.
        seed: of the draws, and of the states that are put for others.

    Raises:
        UserError: no segment is labelled for any task.
    """
    if not any(scored.labelled(task.name).any() for task in scored.scheme):
        raise UserError("masking needs gold labels, but no segment is labelled for any task")
    changed, masked = _again(scored, segments, predict, masked_segment)
    # Who is named in the context alone is left as it is.
    named, swapped = _again(scored, segments, predict, lambda segment: swapped_segment(segment, seed) if names_state(segment) else segment)
    tasks = {}
    for task in scored.scheme:
        rows = scored.labelled(task.name)
        if not rows.any():
            continue
        gold = scored.gold[task.name][rows]
        counts = [tally(gold, part.decided(task.name)[rows], len(task)) for part in (scored, masked)]
        articles = numbered([group for group, has in zip(scored.groups, rows, strict=True) if has])
        before, after = (part.total() for part in counts)
        macro, accuracy = _changes(counts[0], counts[1], articles, draws, seed)
        flips = None
        if len(named):
            differs = scored.decided(task.name)[named] != swapped.decided(task.name)[named]
            flips = _share(differs if differs.ndim == 1 else differs.any(axis=1), [scored.groups[row] for row in named], draws, seed)
        tasks[task.name] = TaskReliance(
            task.name, int(rows.sum()), int(rows[changed].sum()),
            float(before.macro_f1()), float(after.macro_f1()), macro,
            float(before.accuracy()), float(after.accuracy()), accuracy,
            len(named), flips,
        )  # fmt: skip
    return Reliance(draws, seed, tasks)


def table(found: Reliance, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each task."""
    rows = tuple(
        (
            scheme[row.task].title(language),
            number(row.macro_f1_before, language),
            number(row.macro_f1_after, language),
            _told(row.macro_f1_change, language),
            _told(row.accuracy_change, language),
            f"{count(row.changed, language)}/{count(row.n, language)}",
            "–" if row.flips is None else _told(row.flips, language, is_change=False),
            count(row.swapped, language),
        )
        for row in found.tasks.values()
    )
    columns = ("task", "macro_f1", "macro_f1_masked", "change", "accuracy_change", "masked_segments", "flips", "swapped_segments")
    return Grid(word("masking", language), tuple(word(column, language) for column in columns), rows)


def _again(
    scored: ScoredSplit, segments: Sequence[Segment], predict: Predict, change: Callable[[Segment], Segment]
) -> tuple[list[int], ScoredSplit]:
    """Return the rows that ``change`` changes, and ``scored`` with what is predicted for them then."""
    rows, changed = reread(segments, change)
    if not rows:
        return rows, scored
    new = score(changed, predict(changed), scored.scheme)
    probabilities = {}
    for task in scored.scheme:
        probabilities[task.name] = scored.probabilities[task.name].copy()
        probabilities[task.name][rows] = new.probabilities[task.name]
    return rows, ScoredSplit(scored.ids, scored.groups, scored.scheme, probabilities, scored.gold, scored.corpus, scored.split)


def _changes(before: Counts, after: Counts, articles: Ints, draws: int, seed: int) -> tuple[Interval, Interval]:
    """Return the changes of macro-F1 and of accuracy."""
    labels = before.support.shape[1]
    parts = [before.correct, before.predicted, after.correct, after.predicted, before.support]
    columns = np.concatenate([*parts, *(part.exact[:, None] for part in (before, after)), before.n[:, None]], axis=1)
    sums = per_article(columns, articles)
    drawn = resampled(sums, draws, seed)

    def counts(table: Floats, is_after: int) -> Counts:
        start = 2 * labels * is_after
        correct, predicted = table[..., start : start + labels], table[..., start + labels : start + 2 * labels]
        support = table[..., 4 * labels : 5 * labels]
        return Counts(correct, predicted, support, table[..., 5 * labels + is_after], table[..., -1], before.all_labels)

    once = columns.sum(axis=0).astype(np.float64)
    out = []
    for figure in (Counts.macro_f1, Counts.accuracy):
        low, high = np.quantile(figure(counts(drawn, 1)) - figure(counts(drawn, 0)), [0.025, 0.975])
        change = float(figure(counts(once, 1)) - figure(counts(once, 0)))
        out.append(Interval(change, float(low), float(high)) if len(sums) >= MIN_ARTICLES else Interval(change, None, None))
    return out[0], out[1]


def _share(flags: Bools, groups: Sequence[str], draws: int, seed: int) -> Interval:
    """Return the share of the flags that are set."""
    articles = numbered(groups)
    share, n = float(flags.mean()), int(articles.max()) + 1
    if n < MIN_ARTICLES:
        return Interval(share, None, None)
    if share in (0.0, 1.0):
        ends = wilson(share, n)
        return Interval(share, ends.low, ends.high)
    drawn = resampled(per_article(np.stack([flags, np.ones(len(flags))], axis=1), articles), draws, seed)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return Interval(share, float(low), float(high))


def _told(interval: Interval, language: str, is_change: bool = True) -> str:
    def told(part: float) -> str:
        return ("+" if part > 0 and is_change else "−" if part < 0 else "") + number(abs(part), language)

    if interval.low is None or interval.high is None:
        return told(interval.value)
    return f"{told(interval.value)} ({told(interval.low)} … {told(interval.high)})"
