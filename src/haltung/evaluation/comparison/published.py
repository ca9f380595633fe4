"""Published figures beside one's own: shown for orientation, never compared, since nobody has their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from haltung.evaluation.report.i18n import count, number, word

if TYPE_CHECKING:
    from haltung.evaluation.comparison.compare import Comparison


@dataclass(frozen=True)
class Reference:
    """A system's published figure on a split, as a corpus config declares it under ``references``.

    ``segments`` is the size of the split that the figure holds for: on one of another size it is not shown. ``train_segments`` is what the
    system was trained on, ``source`` the paper.
    """

    system: str
    task: str
    split: str
    segments: int
    macro_f1: float
    train_segments: int
    source: str

    def row(self, language: str = "en") -> tuple[str, ...]:
        """Return the row of a leaderboard: a figure without interval, spread or accuracy."""
        return f"{self.system} ({word('published', language)})", number(self.macro_f1, language), "–", "–", "–"

    def note(self, language: str = "en") -> str:
        """Return where the figure comes from."""
        trained = word("trained_on", language).format(segments=count(self.train_segments, language))
        return f"{self.system}: {trained}; {self.source}"


def with_references(comparison: Comparison, references: Sequence[Reference]) -> Comparison:
    """Return the comparison with those references that hold for its split and size; the others of its split are named as left out."""
    there = [one for one in references if one.split == comparison.split and one.task in comparison.tasks]
    holding = tuple(one for one in there if one.segments == comparison.tasks[one.task].n)
    return replace(comparison, references=holding, left_out=tuple(one for one in there if one not in holding))


def notes(comparison: Comparison, language: str = "en") -> list[str]:
    """Return what a reader has to know of the published figures; nothing where there are none."""
    out = []
    if comparison.references:
        sources = dict.fromkeys(one.note(language) for one in comparison.references)
        out.append(" ".join([word("published_explained", language), *(f"{source}." for source in sources)]))
    for one in comparison.left_out:
        values = {"system": one.system, "wanted": count(one.segments, language), "found": count(comparison.tasks[one.task].n, language)}
        out.append(word("published_left_out", language).format(**values))
    return out
