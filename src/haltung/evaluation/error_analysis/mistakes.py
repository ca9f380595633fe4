"""Errors to read: the most confident ones, which labels are taken for which, and gold labels that look wrong themselves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.metrics.classification import confusion
from haltung.evaluation.predictions import Floats, ScoredSplit
from haltung.evaluation.report.i18n import count, number, word
from haltung.evaluation.report.tables import Grid
from haltung.labels import Scheme, Task
from haltung.records import Segment


@dataclass(frozen=True)
class Word:
    """What the word at ``[start, end)`` of ``part`` (text, target, context) says, from -1 (against the label) to 1 (for it)."""

    part: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Mistake:
    """A segment that was predicted wrongly.

    ``gold`` and ``predicted`` are label ids, one of each for a single-label task. ``probability`` is that of ``label``, the predicted one,
    and ``gold_probability`` that of the gold label. For a multi-label task ``label`` is the one that is wrong by most, ``probability``
    how sure that is (of its absence, where it is missed), and ``gold_probability`` the rest to 1. ``words`` is empty where no
    importances were made; they speak for or against ``label``.
    """

    task: str
    id: str
    article: str
    gold: tuple[str, ...]
    predicted: tuple[str, ...]
    label: str
    probability: float
    gold_probability: float
    text: str
    target: str
    context: str
    words: tuple[Word, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Mistake:
        """Make the record of plain data."""
        words = tuple(Word(**word) for word in data["words"])
        return cls(**{**data, "gold": tuple(data["gold"]), "predicted": tuple(data["predicted"]), "words": words})


@dataclass(frozen=True)
class Confusion:
    """How often ``gold`` was taken for ``predicted``; ``share`` of the segments with that label, and the ids of the surest examples."""

    task: str
    gold: str
    predicted: str
    count: int
    share: float
    examples: tuple[str, ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Confusion:
        """Make the record of plain data."""
        return cls(**{**data, "examples": tuple(data["examples"])})


@dataclass(frozen=True)
class LabelIssue:
    """A gold label for somebody to look at: the model, which has not learned from this segment, firmly says ``suggested``.

    ``quality`` is cleanlab's score of the gold label, 0 (likely wrong) to 1. Some are the model's own errors; it is a list to read, not
    to apply.
    """

    task: str
    id: str
    article: str
    gold: str
    suggested: str
    quality: float
    text: str
    context: str


@dataclass(frozen=True)
class Mistakes:
    """Everything to read about the errors; ``wrong`` counts them by task, whether or not they are listed."""

    wrong: Mapping[str, int]
    mistakes: tuple[Mistake, ...]
    confusions: tuple[Confusion, ...]
    issues: tuple[LabelIssue, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, the inverse of ``from_dict``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Mistakes:
        """Make the record of plain data."""
        return cls(
            dict(data["wrong"]),
            tuple(Mistake.from_dict(row) for row in data["mistakes"]),
            tuple(Confusion.from_dict(row) for row in data["confusions"]),
            tuple(LabelIssue(**row) for row in data["issues"]),
        )


def find(scored: ScoredSplit, segments: Sequence[Segment], limit: int = 100, issues: int = 50) -> Mistakes:
    """Return the errors of all tasks: at most ``limit`` mistakes and ``issues`` label issues for each.

    Raises:
        UserError: cleanlab is not installed, and label issues are asked for.
    """
    wrong: dict[str, int] = {}
    found: list[Mistake] = []
    pairs: list[Confusion] = []
    doubtful: list[LabelIssue] = []
    for task in scored.scheme:
        if not scored.labelled(task.name).any():
            continue
        rows = mistaken(scored, task)
        wrong[task.name] = len(rows)
        found += mistakes(scored, segments, task, limit)
        pairs += confusions(scored, task)
        if issues:
            doubtful += label_issues(scored, segments, task, issues)
    return Mistakes(wrong, tuple(found), tuple(pairs), tuple(doubtful))


def mistaken(scored: ScoredSplit, task: Task) -> list[int]:
    """Return the rows that are predicted wrongly, the surest first."""
    gold, decided = scored.gold[task.name], scored.decided(task.name)
    wrong = gold != decided if gold.ndim == 1 else (gold != decided).any(axis=1)
    sure = _sureness(scored, task)
    rows = np.flatnonzero(wrong & scored.labelled(task.name))
    return [int(row) for row in rows[np.argsort(-sure[rows].max(axis=1), kind="stable")]]


def mistakes(scored: ScoredSplit, segments: Sequence[Segment], task: Task, limit: int = 100) -> list[Mistake]:
    """Return the most confident errors of a task, the surest first.

    Args:
        scored: predictions and gold.
        segments: the same segments, in the same order.
        task: of the scheme.
        limit: how many at most.
    """
    sure, out = _sureness(scored, task), []
    gold, decided = scored.gold[task.name], scored.decided(task.name)
    for row in mistaken(scored, task)[:limit]:
        place, segment = int(sure[row].argmax()), segments[row]
        probability = float(sure[row, place])
        against = float(scored.probabilities[task.name][row, gold[row]]) if task.kind == "single" else 1 - probability
        out.append(
            Mistake(
                task.name, segment.id, segment.article, _named(gold[row], task), _named(decided[row], task), task.ids[place],
                probability, against, segment.text, segment.target, segment.context,
            )
        )  # fmt: skip
    return out


def confusions(scored: ScoredSplit, task: Task, examples: int = 5) -> list[Confusion]:
    """Return each pair of gold and predicted label that occurs, the most frequent first; none for a multi-label task."""
    if task.kind == "multi":
        return []
    rows = scored.labelled(task.name)
    gold, decided = scored.gold[task.name], scored.decided(task.name)
    counts = confusion(gold[rows], decided[rows], len(task))
    surest: dict[tuple[int, int], list[str]] = {}
    for row in mistaken(scored, task):
        surest.setdefault((int(gold[row]), int(decided[row])), []).append(scored.ids[row])
    pairs = sorted(surest, key=lambda pair: (-counts[pair], pair))
    return [
        Confusion(task.name, task.ids[a], task.ids[b], len(ids := surest[a, b]), len(ids) / int(counts[a].sum()), tuple(ids[:examples]))
        for a, b in pairs
    ]


def label_issues(scored: ScoredSplit, segments: Sequence[Segment], task: Task, limit: int = 50) -> list[LabelIssue]:
    """Return the gold labels that are likely wrong, the likeliest first; none for a multi-label task.

    Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70): a label
    is doubted where another one is more probable than it is for those who have it. It needs predictions for segments that the model has
    not learned from, which ``scored`` has for dev, test, and out-of-fold.

    Raises:
        UserError: cleanlab is not installed.
    """
    if task.kind == "multi":
        return []
    rows = np.flatnonzero(scored.labelled(task.name))
    gold, values = scored.gold[task.name][rows], scored.probabilities[task.name][rows]
    present = np.unique(gold)
    if len(present) < 2:
        return []
    doubtful, quality = _doubted(gold, values)
    out = []
    for place in sorted(np.flatnonzero(doubtful), key=lambda place: (quality[place], place))[:limit]:
        segment, best = segments[rows[place]], int(values[place].argmax())
        if best != gold[place]:
            labels = (task.ids[gold[place]], task.ids[best])
            out.append(LabelIssue(task.name, segment.id, segment.article, *labels, float(quality[place]), segment.text, segment.context))
    return out


def confusion_table(found: Sequence[Confusion], task: Task, language: str = "en") -> Grid:
    """Return one row for each pair of the task."""
    names = {label.id: label.name(language) for label in task.labels}
    rows = tuple(
        (names[row.gold], names[row.predicted], count(row.count, language), number(row.share, language))
        for row in found
        if row.task == task.name
    )
    columns = ("gold", "predicted", "segments", "share_of_gold")
    return Grid(f"{task.title(language)}: {word('confusions', language)}", tuple(word(name, language) for name in columns), rows, left=2)


def mistake_table(found: Sequence[Mistake], scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each mistake."""
    names = {(task.name, label.id): label.name(language) for task in scheme for label in task.labels}
    rows = tuple(
        (
            scheme[row.task].title(language),
            *(", ".join(names[row.task, label] for label in labels) or "–" for labels in (row.gold, row.predicted)),
            row.text,
            number(row.probability, language),
        )
        for row in found
    )
    columns = ("task", "gold", "predicted", "segment", "probability")
    return Grid(word("mistakes", language), tuple(word(name, language) for name in columns), rows, left=4)


def issue_table(found: Sequence[LabelIssue], scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each doubted label."""
    names = {(task.name, label.id): label.name(language) for task in scheme for label in task.labels}
    rows = tuple(
        (
            scheme[row.task].title(language),
            names[row.task, row.gold],
            names[row.task, row.suggested],
            row.text,
            number(row.quality, language),
        )
        for row in found
    )
    columns = ("task", "gold", "suggested", "segment", "quality")
    return Grid(word("label_issues", language), tuple(word(name, language) for name in columns), rows, left=4)


def _sureness(scored: ScoredSplit, task: Task) -> Floats:
    """Return how sure each row is, ``[n, labels]``: of the predicted label, or of each wrong decision of a multi-label task; else -1."""
    values, decided = scored.probabilities[task.name], scored.decided(task.name)
    if task.kind == "single":
        return np.where(np.eye(len(task), dtype=np.bool_)[decided], values, -1.0)
    return np.where(scored.gold[task.name] != decided, np.where(decided == 1, values, 1 - values), -1.0)


def _named(gold: Any, task: Task) -> tuple[str, ...]:
    if task.kind == "single":
        return (task.ids[int(gold)],)
    return tuple(label for label, has in zip(task.ids, gold, strict=True) if has == 1)


def _doubted(gold: np.ndarray, values: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels cleanlab doubts, and the quality of each, ``[n]`` both."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise UserError(
            "likely label errors are found by cleanlab, which is not installed; pip install cleanlab, or say error_analysis=false"
        ) from None
    values = np.clip(values, 1e-12, 1.0)
    values = values / values.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        # A label that no segment of the split has is told as a warning; here it is nothing unusual.
        warnings.simplefilter("ignore")
        doubtful = find_label_issues(gold, values, n_jobs=1)
        quality = get_label_quality_scores(gold, values)
    return np.asarray(doubtful), np.asarray(quality)
