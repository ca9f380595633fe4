"""What an export and a verification say on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from haltung.labels import Scheme

if TYPE_CHECKING:
    from haltung.export.verify import Check
    from haltung.export.write import Exported

_WORDS = {
    "format": "Format",
    "MB": "MB",
    "differs by": "Abstand",
    "texts/s": "Texte/s",
    "task": "Aufgabe",
    "flips": "kippen",
    "macro-F1": "Makro-F1",
    "trained": "trainiert",
    "in": "dabei",
    "refused": "abgelehnt",
}


def exported(outcome: Exported, scheme: Scheme, language: str = "en") -> Table:
    """Return a row for each task of each format: how far it is from the trained model, and whether the format is in the bundle.

    The speed is that of one thread, in processor time; the difference is the largest one of a probability.
    """

    def word(text: str) -> str:
        return _WORDS[text] if language == "de" else text

    table = Table(
        word("format"), word("MB"), word("differs by"), word("texts/s"), "", word("task"), word("flips"), word("macro-F1"), box=SIMPLE_HEAD
    )
    for place, column in enumerate(table.columns):
        column.no_wrap = True
        column.justify = "right" if place in (1, 2, 3, 6, 7) else "left"
    for task in scheme:
        name = word("trained") if task is scheme.tasks[0] else ""
        table.add_row(name, "", "", "", "", task.name, "", _figure(outcome.reference.get(task.name)))
    for name, compared in outcome.compared.items():
        table.add_section()
        size = f"{outcome.bytes[name] / 1e6:.1f}" if name in outcome.bytes else ""
        verdict = Text(word("refused"), style="bold red") if name in outcome.refused else Text(word("in"), style="green")
        told: list[str | Text] = [name, size, f"{compared.difference:.1e}", f"{compared.documents_per_second:.1f}", verdict]
        for task in scheme:
            figures = (f"{compared.flips[task.name]:.2%}", _figure(compared.macro_f1.get(task.name)))
            table.add_row(*(told if task is scheme.tasks[0] else [""] * 5), task.name, *figures)
    return table


def verified(checks: Sequence[Check]) -> Table:
    """Return a row for each check."""
    table = Table("format", "runtime", "inputs", "differs by", "allowed", "other labels", "")
    for check in checks:
        verdict = Text(check.fault or "agrees", style="bold red" if check.fault else "green")
        shown = "–" if check.difference is None else f"{check.difference:.1e}"
        table.add_row(check.format, check.runtime, str(check.inputs), shown, f"{check.tolerance:.1e}", str(check.differing), verdict)
    return table


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
