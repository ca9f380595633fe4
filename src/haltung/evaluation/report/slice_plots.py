"""The plot of slices, in the manner of ``plots``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.error_analysis.slices import Slices, title
from haltung.evaluation.report.i18n import count, number, word
from haltung.evaluation.report.plots import BLUE, FAINT, INK, SKY, SOFT, VERMILION, canvas, finish, numbered
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Beside the colour a shape of its own, for readers who see none.
_LOOKS = {"worse": (VERMILION, "v"), "better": (BLUE, "^"), "level": (SKY, "o")}


def differences(found: Slices, scheme: Scheme, task: Task, language: str = "en", most: int = 30) -> Figure:
    """Draw each judged slice's difference in accuracy to the rest as a mark with its 95 % interval, worse ones first.

    Args:
        found: the slices.
        scheme: names the labels of the other tasks.
        task: whose slices are drawn.
        language: ``en`` or ``de``.
        most: how many at most; the ones that differ least are left out.
    """
    judged = [row for row in found.tasks.get(task.name, ()) if row.verdict != "few"]
    kept = {id(row) for row in sorted(judged, key=lambda row: (row.verdict == "level", -abs(row.difference)))[:most]}
    rows = [row for row in judged if id(row) in kept]
    figure = canvas(7.6, 1.75 + 0.28 * max(1, len(rows)))
    axes = figure.add_subplot()
    for verdict, (colour, mark) in _LOOKS.items():
        places = [place for place, row in enumerate(rows) if row.verdict == verdict]
        if places:
            values = np.array([rows[place].difference for place in places])
            ends = np.array([(rows[place].low, rows[place].high) for place in places], dtype=np.float64).T
            reach = np.abs(ends - values)
            name = word(f"slice_{verdict}", language)
            axes.errorbar(values, places, xerr=reach, fmt=mark, color=colour, markersize=6, elinewidth=1.4, label=name, zorder=3)
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for place, row in enumerate(rows):
        style: dict[str, Any] = {"va": "center", "fontsize": 8.5, "color": SOFT, "annotation_clip": False}
        axes.annotate(number(row.accuracy, language, 2), (1.02, place), xycoords=("axes fraction", "data"), **style)
    axes.set_yticks(range(len(rows)), [f"{title(row, scheme, language)}  ({count(row.n, language)})" for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(word("accuracy_difference", language))
    numbered(axes, language)
    axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=0)
    if rows:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.75 / (0.28 * len(rows) + 0.5) - 0.02), ncols=3, frameon=False, fontsize=8.5)
    finish(axes, f"{task.title(language)} {word('by_slice', language)}", word("accuracy", language))
    return figure
