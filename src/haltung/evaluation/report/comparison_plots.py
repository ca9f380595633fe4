"""The plot of a comparison, in the manner of ``plots``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from haltung.evaluation.comparison import OPEN, Comparison
from haltung.evaluation.report.i18n import number, place, word
from haltung.evaluation.report.plots import BLUE, FAINT, INK, SOFT, canvas, finish, numbered
from haltung.labels import Scheme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def forest(comparison: Comparison, task: str, scheme: Scheme, language: str = "en") -> Figure:
    """Draw each pair's difference of macro-F1 as a mark with its 95 % interval about the line of no difference.

    Filled and blue where the verdict tells the two apart after correction; hollow and grey where it does not. An interval is that of the
    pair by itself, so that with many pairs one may leave the line and the pair be undecided all the same.
    """
    pairs = comparison.tasks[task].pairs
    rows = np.arange(len(pairs))
    figure = canvas(7.6, 1.75 + 0.42 * len(pairs))
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for row, pair in zip(rows, pairs, strict=True):
        found, told = pair.macro_f1, pair.verdict != OPEN
        colour = BLUE if told else SOFT
        axes.plot([found.low, found.high], [row, row], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
        axes.plot([found.value], [row], marker="o", markersize=7, color=colour, markerfacecolor=colour if told else "white", zorder=3)
        value = number(found.value, language).replace("-", "−")
        shown = value if found.value < 0 else f"+{value}"
        axes.annotate(shown, (1.03, row), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK, annotation_clip=False)
    axes.set_yticks(rows, [f"{pair.first}\n{word('against', language)} {pair.second}" for pair in pairs])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlabel(word("difference", language))
    numbered(axes, language)
    axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=0)
    under = f"{place(comparison.corpus, comparison.split, language)} · {word('interval_95', language)}"
    finish(axes, f"{scheme[task].title(language)}, {word('pairs_compared', language)}", under)
    return figure
