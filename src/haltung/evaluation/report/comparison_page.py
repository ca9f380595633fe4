"""A comparison as a folder: one HTML page with everything, tables in other formats, plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.comparison import OPEN, Comparison
from haltung.evaluation.report import comparison as tables
from haltung.evaluation.report.i18n import checked, signed, split_title, word
from haltung.evaluation.report.page import inlined, rendered
from haltung.evaluation.report.style import BLUE, INK, SOFT, beside, canvas, finish, localise, save
from haltung.files import atomic_folder
from haltung.labels import Scheme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA, PAGE, MARKDOWN, LATEX = "comparison.json", "comparison.html", "comparison.md", "comparison.tex"
LEADERBOARD, PAIRS = "leaderboard.csv", "pairs.csv"


def write(
    folder: Path, comparison: Comparison, scheme: Scheme, language: str = "en", details: Mapping[str, str] | None = None
) -> list[Path]:
    """Write the comparison and return its files.

    The folder appears whole or not at all, and replaces an older comparison there.

    Args:
        folder: becomes the page, Markdown, LaTeX, CSV, JSON, and a forest plot for each task.
        comparison: the systems' results and their tests.
        scheme: names tasks.
        language: of page, Markdown, LaTeX and plots, ``en`` or ``de``.
        details: facts to list at the foot of the page, such as the command and the runs' ids.

    Raises:
        UserError: the language is unknown, or the folder has something other than a comparison in
            it.
    """
    checked(language)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / DATA).is_file()):
        raise UserError(f"{folder} is not empty and no comparison; nothing was written there, choose another folder with output=FOLDER")
    with atomic_folder(folder) as scratch:
        plots = {task: save(forest(comparison, task, scheme, language), scratch / f"{task}_forest") for task in comparison.tasks}
        texts = {
            DATA: comparison.to_json(),
            LEADERBOARD: tables.leaderboard_csv(comparison),
            PAIRS: tables.pairs_csv(comparison),
            MARKDOWN: tables.markdown(comparison, scheme, language),
            LATEX: tables.latex(comparison, scheme, language),
            PAGE: _page(comparison, scheme, plots, language, details or {}),
        }
        for name, text in texts.items():
            (scratch / name).write_text(text, encoding="utf-8")
    return [folder / name for name in (*texts, *(plot.name for plot in plots.values()))]


def forest(comparison: Comparison, task: str, scheme: Scheme, language: str = "en") -> Figure:
    """Draw each pair's difference of macro-F1 as a mark with its 95 % interval.

    Marks are filled and blue where the pair differs after correction, hollow and grey where it is
    undecided. An interval is that of the pair by itself: with many pairs one may exclude 0 and the
    pair be undecided all the same.
    """
    pairs = comparison.tasks[task].pairs
    figure = canvas(7.6, 1.75 + 0.42 * len(pairs))
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for row, pair in enumerate(pairs):
        difference, is_decided = pair.macro_f1, pair.verdict != OPEN
        colour = BLUE if is_decided else SOFT
        axes.plot([difference.low, difference.high], [row, row], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
        fill = colour if is_decided else "white"
        axes.plot([difference.value], [row], marker="o", markersize=7, color=colour, markerfacecolor=fill, zorder=3)
        beside(axes, row, signed(difference.value, language, zero="+"))
    axes.set_yticks(np.arange(len(pairs)), [f"{pair.first}\n{word('against', language)} {pair.second}" for pair in pairs])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlabel(word("difference", language))
    localise(axes, "x", language)
    subtitle = f"{split_title(comparison.corpus, comparison.split, language)} · {word('interval_95', language)}"
    finish(axes, f"{scheme[task].title(language)}, {word('pairs_compared', language)}", subtitle, grid="x")
    return figure


def _page(comparison: Comparison, scheme: Scheme, plots: Mapping[str, Path], language: str, details: Mapping[str, str]) -> str:
    sections = [
        {
            "name": task,
            "title": scheme[task].title(language),
            "leaderboard": tables.leaderboard(comparison, task, scheme, language),
            "pairs": tables.pairs(comparison, task, scheme, language),
            "verdicts": [(pair.verdict != OPEN, tables.sentence(pair, comparison, language)) for pair in result.pairs],
            "plot": inlined(plots[task]),
        }
        for task, result in comparison.tasks.items()
    ]
    return rendered(
        "comparison.html.j2",
        language,
        title=" · ".join(comparison.systems),
        split_title=split_title(comparison.corpus, comparison.split, language),
        sections=sections,
        notes=tables.notes(comparison, language),
        details={**details, word("scheme", language): f"{comparison.scheme} ({comparison.scheme_digest})"},
    )
