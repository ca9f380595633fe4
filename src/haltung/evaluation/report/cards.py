"""Errors as the page shows them: each one a card that can be filtered, its words coloured by what they said to the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from haltung.evaluation.error_analysis.mistakes import Confusion, LabelIssue, Mistake, Word
from haltung.evaluation.report.i18n import count, number
from haltung.labels import Scheme, Task


@dataclass(frozen=True)
class Piece:
    """A run of text with one weight, from -1 (against the predicted label) to 1 (for it); 0 is uncoloured."""

    text: str
    weight: float


@dataclass(frozen=True)
class Card:
    """One error. ``gold`` and ``predicted`` are ids, by which cards are filtered; the names are for the reader."""

    task: str
    id: str
    article: str
    gold: str
    predicted: str
    gold_name: str
    predicted_name: str
    probability: str
    target: str
    context: tuple[Piece, ...]
    text: tuple[Piece, ...]


@dataclass(frozen=True)
class Pair:
    """A confusion that filters the cards when it is clicked."""

    gold: str
    predicted: str
    name: str
    count: str


@dataclass(frozen=True)
class Doubt:
    """A gold label for somebody to look at."""

    id: str
    article: str
    gold_name: str
    suggested_name: str
    quality: str
    text: str
    context: str


def cards(found: Sequence[Mistake], task: Task, language: str = "en") -> list[Card]:
    """Return the task's errors in their order."""
    return [
        Card(
            task.name,
            mistake.id,
            mistake.article,
            " ".join(mistake.gold),
            " ".join(mistake.predicted),
            named(mistake.gold, task, language),
            named(mistake.predicted, task, language),
            number(mistake.probability, language, 2),
            mistake.target,
            tuple(pieces(mistake.context, [word for word in mistake.words if word.part == "context"])),
            tuple(pieces(mistake.text, [word for word in mistake.words if word.part == "text"])),
        )
        for mistake in found
        if mistake.task == task.name
    ]


def pairs(found: Sequence[Confusion], task: Task, language: str = "en", most: int = 12) -> list[Pair]:
    """Return the task's most frequent confusions."""
    rows = [row for row in found if row.task == task.name][:most]
    return [
        Pair(
            row.gold,
            row.predicted,
            f"{named((row.gold,), task, language)} → {named((row.predicted,), task, language)}",
            count(row.count, language),
        )
        for row in rows
    ]


def doubts(found: Sequence[LabelIssue], task: Task, language: str = "en") -> list[Doubt]:
    """Return the task's gold labels that look wrong."""
    return [
        Doubt(
            issue.id,
            issue.article,
            named((issue.gold,), task, language),
            named((issue.suggested,), task, language),
            number(issue.quality, language, 2),
            issue.text,
            issue.context,
        )
        for issue in found
        if issue.task == task.name
    ]


def pieces(text: str, words: Sequence[Word]) -> Iterator[Piece]:
    """Cut a text at its weighted words; what lies between them has the weight 0."""
    at = 0
    for word in sorted(words, key=lambda word: word.start):
        if word.start > at:
            yield Piece(text[at : word.start], 0.0)
        if word.end > max(at, word.start):
            yield Piece(text[max(at, word.start) : word.end], word.weight)
        at = max(at, word.end)
    if at < len(text):
        yield Piece(text[at:], 0.0)


def named(labels: Sequence[str], task: Task, language: str = "en") -> str:
    """Return the labels' names, "–" where there is none."""
    known = {label.id: label.name(language) for label in task.labels}
    return ", ".join(known.get(label, label) for label in labels) or "–"


def filters(scheme: Scheme, found: Sequence[Card]) -> dict[str, list[tuple[str, str]]]:
    """Return the choices of the two filters, gold and predicted, as id and name, those only that some card has."""
    out: dict[str, list[tuple[str, str]]] = {}
    for side in ("gold", "predicted"):
        seen = {getattr(card, side): getattr(card, f"{side}_name") for card in found}
        order = {label: place for place, label in enumerate(label for task in scheme for label in task.ids)}
        out[side] = sorted(seen.items(), key=lambda item: order.get(item[0], len(order)))
    return out
