"""Error analysis, with errors to read: confident mistakes and label issues."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from haltung.evaluation.error_analysis.name_sensitivity import NameSensitivity
from haltung.evaluation.error_analysis.slices import Slices
from haltung.evaluation.predictions import Floats, ScoredSplit, answers
from haltung.labels import Task
from haltung.records import Segment, label_ids

ERROR_ANALYSIS = "examination.json"


@dataclass(frozen=True)
class Word:
    """The weight of one word, from -1 (against the label) to 1 (for it).

    It is at ``[start, end)`` of ``part``: text, target, context, surroundings (whole sentences).
    """

    part: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Mistake:
    """A wrongly predicted segment.

    ``gold`` and ``predicted`` are label ids, one each for a single-label task. ``probability`` is
    that of ``label``, the predicted one, and ``gold_probability`` that of the gold label. For a
    multi-label task ``label`` has the most confident wrong decision, ``probability`` is the
    confidence in it (in the label's absence if it was missed), and ``gold_probability`` is 1 minus
    that. ``words`` have weights for ``label``, empty if none were computed. For a model of articles
    they are also in ``surroundings``, the rest of the article around the text.
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
    surroundings: str = ""


@dataclass(frozen=True)
class LabelIssue:
    """A gold label that may be wrong.

    The model, which was not trained on this segment, confidently predicts ``suggested``.
    ``quality`` is cleanlab's score of the gold label, from 0 (likely wrong) to 1. Some issues are
    errors of the model, so review them; do not apply them automatically.
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
    """The errors of all tasks; ``wrong`` counts them by task, including those not listed."""

    wrong: Mapping[str, int]
    mistakes: tuple[Mistake, ...]
    issues: tuple[LabelIssue, ...]


@dataclass(frozen=True)
class ErrorAnalysis:
    """Slices, sensitivity to names, and errors; ``explained`` counts errors with word weights."""

    corpus: str
    split: str
    slices: Slices
    name_sensitivity: NameSensitivity
    mistakes: Mistakes
    explained: int

    def metrics(self) -> dict[str, float]:
        """Return ``{"stance_macro_f1_masked_change": …, "stance_flips": …}`` for a tracker."""
        tasks = self.name_sensitivity.tasks
        changes = {f"{name}_macro_f1_masked_change": row.macro_f1_change.value for name, row in tasks.items()}
        return changes | {f"{name}_flips": row.flips.value for name, row in tasks.items() if row.flips is not None}

    def without_texts(self) -> Self:
        """Return the analysis with segments' ids but no texts, to be stored elsewhere."""
        wrong = tuple(replace(one, text="", target="", context="", surroundings="", words=()) for one in self.mistakes.mistakes)
        issues = tuple(replace(one, text="", context="") for one in self.mistakes.issues)
        return replace(self, mistakes=replace(self.mistakes, mistakes=wrong, issues=issues), explained=0)

    def to_json(self) -> str:
        """Return the analysis as JSON text; floats keep every digit."""
        # Files keep the key of the first version.
        data: dict[str, Any] = {("reliance" if name == "name_sensitivity" else name): value for name, value in asdict(self).items()}
        return json.dumps({"format": 1, **data}, ensure_ascii=False) + "\n"


def find_mistakes(split: ScoredSplit, segments: Sequence[Segment], limit: int = 100) -> Mistakes:
    """Return the errors of all tasks: up to ``limit`` mistakes per task, and label issues."""
    return Mistakes(
        {task.name: len(wrong_rows(split, task)) for task in split.tasks},
        tuple(mistake for task in split.tasks for mistake in mistakes(split, segments, task, limit)),
        tuple(issue for task in split.tasks for issue in label_issues(split, segments, task)),
    )


def wrong_rows(split: ScoredSplit, task: Task) -> list[int]:
    """Return the wrongly predicted rows, the most confident first."""
    gold, decided = split.gold[task.name], split.decided(task.name)
    wrong = gold != decided if gold.ndim == 1 else (gold != decided).any(axis=1)
    rows = np.flatnonzero(wrong & split.labelled(task.name))
    confidence = _confidence(split, task)[rows].max(axis=1)
    return [int(row) for row in rows[np.argsort(-confidence, kind="stable")]]


def mistakes(split: ScoredSplit, segments: Sequence[Segment], task: Task, limit: int = 100) -> Iterator[Mistake]:
    """Yield up to ``limit`` errors of a task, the most confident first."""
    confidence = _confidence(split, task)
    gold, decided = (answers(values, task) for values in (split.gold[task.name], split.decided(task.name)))
    for row in wrong_rows(split, task)[:limit]:
        label, segment = int(confidence[row].argmax()), segments[row]
        probability = float(confidence[row, label])
        of_gold = float(split.probabilities[task.name][row, split.gold[task.name][row]]) if task.kind == "single" else 1 - probability
        yield Mistake(
            task.name, segment.id, segment.article, label_ids(gold[row]), label_ids(decided[row]), task.ids[label],
            probability, of_gold, segment.text, segment.target, segment.context,
        )  # fmt: skip


def label_issues(split: ScoredSplit, segments: Sequence[Segment], task: Task, limit: int = 50) -> Iterator[LabelIssue]:
    """Yield up to ``limit`` gold labels that are likely wrong, the most likely first.

    There are none for a multi-label task. Confident learning (Northcutt, Jiang and Chuang 2021,
    "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70) estimates the number of
    wrong labels from segments with another label at least as probable as it is, on average, for
    segments that have it. It requires out-of-sample predictions: dev, test, or out-of-fold.
    """
    rows = np.flatnonzero(split.labelled(task.name))
    gold, probabilities = split.gold[task.name][rows], split.probabilities[task.name][rows]
    if task.kind == "multi" or len(np.unique(gold)) < 2:
        return
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    clipped = np.clip(probabilities, 1e-12, 1.0)
    clipped = clipped / clipped.sum(axis=1, keepdims=True)
    # cleanlab warns about labels without segments in the split, which are not unusual here.
    with warnings.catch_warnings(action="ignore"):
        is_issue, quality = find_label_issues(gold, clipped, n_jobs=1), get_label_quality_scores(gold, clipped)
    for index in sorted(np.flatnonzero(is_issue), key=lambda index: (quality[index], index))[:limit]:
        segment, best = segments[rows[index]], int(probabilities[index].argmax())
        if best != gold[index]:
            labels = (task.ids[gold[index]], task.ids[best])
            yield LabelIssue(task.name, segment.id, segment.article, *labels, float(quality[index]), segment.text, segment.context)


def _confidence(split: ScoredSplit, task: Task) -> Floats:
    """Return confidence in the predicted label or in wrong decisions, ``[n, labels]``; else -1."""
    values, decided = split.probabilities[task.name], split.decided(task.name)
    if task.kind == "single":
        return np.where(np.eye(len(task), dtype=np.bool_)[decided], values, -1.0)
    return np.where(split.gold[task.name] != decided, np.where(decided == 1, values, 1 - values), -1.0)
