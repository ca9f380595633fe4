"""Errors as cards of the page, with words coloured by their attributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from haltung.evaluation.error_analysis.mistakes import Confusion, LabelIssue, Mistake, Word
from haltung.evaluation.report.i18n import count, number
from haltung.labels import Scheme, Task


@dataclass(frozen=True)
class ColouredText:
    """A run of text with one weight, from -1 (against the predicted label) to 1 (for it)."""

    text: str
    weight: float


@dataclass(frozen=True)
class MistakeCard:
    """One error; cards are filtered by the ids ``gold`` and ``predicted``."""

    id: str
    gold: str
    predicted: str
    gold_name: str
    predicted_name: str
    probability: str
    target: str
    context: tuple[ColouredText, ...]
    text: tuple[ColouredText, ...]


@dataclass(frozen=True)
class ConfusionButton:
    """A confusion; a click on it filters the cards."""

    gold: str
    predicted: str
    name: str
    count: str


@dataclass(frozen=True)
class IssueCard:
    """A gold label that may be wrong."""

    id: str
    gold_name: str
    suggested_name: str
    quality: str
    text: str
    context: str


def mistake_cards(mistakes: Sequence[Mistake], task: Task, language: str = "en") -> list[MistakeCard]:
    """Return the task's errors in their order."""
    return [
        MistakeCard(
            mistake.id,
            " ".join(mistake.gold),
            " ".join(mistake.predicted),
            _names(mistake.gold, task, language),
            _names(mistake.predicted, task, language),
            number(mistake.probability, language, 2),
            mistake.target,
            tuple(_coloured(mistake.context, [word for word in mistake.words if word.part == "context"])),
            tuple(_coloured(mistake.text, [word for word in mistake.words if word.part == "text"])),
        )
        for mistake in mistakes
        if mistake.task == task.name
    ]


def confusion_buttons(confusions: Sequence[Confusion], task: Task, language: str = "en", limit: int = 12) -> list[ConfusionButton]:
    """Return the task's most frequent confusions."""
    rows = [row for row in confusions if row.task == task.name][:limit]
    return [
        ConfusionButton(
            row.gold,
            row.predicted,
            f"{_names((row.gold,), task, language)} → {_names((row.predicted,), task, language)}",
            count(row.count, language),
        )
        for row in rows
    ]


def issue_cards(issues: Sequence[LabelIssue], task: Task, language: str = "en") -> list[IssueCard]:
    """Return the task's gold labels that may be wrong."""
    return [
        IssueCard(
            issue.id,
            _names((issue.gold,), task, language),
            _names((issue.suggested,), task, language),
            number(issue.quality, language, 2),
            issue.text,
            issue.context,
        )
        for issue in issues
        if issue.task == task.name
    ]


def filters(scheme: Scheme, cards: Sequence[MistakeCard]) -> dict[str, list[tuple[str, str]]]:
    """Return the options of the filters ``gold`` and ``predicted``, as id and name.

    These are the labels that some card has.
    """
    order = {label: position for position, label in enumerate(label for task in scheme for label in task.ids)}
    out: dict[str, list[tuple[str, str]]] = {}
    for side in ("gold", "predicted"):
        options = {getattr(card, side): getattr(card, f"{side}_name") for card in cards}
        out[side] = sorted(options.items(), key=lambda option: order.get(option[0], len(order)))
    return out


def _coloured(text: str, words: Sequence[Word]) -> Iterator[ColouredText]:
    """Cut a text at its weighted words; the text between them has the weight 0."""
    end = 0
    for word in sorted(words, key=lambda word: word.start):
        start = max(end, word.start)
        if word.start > end:
            yield ColouredText(text[end : word.start], 0.0)
        if word.end > start:
            yield ColouredText(text[start : word.end], word.weight)
        end = max(end, word.end)
    if end < len(text):
        yield ColouredText(text[end:], 0.0)


def _names(labels: Sequence[str], task: Task, language: str) -> str:
    """Return the labels' names, "–" where there is none."""
    names = {label.id: label.name(language) for label in task.labels}
    return ", ".join(names.get(label, label) for label in labels) or "–"
