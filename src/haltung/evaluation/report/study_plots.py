"""Plots over many trainings: a sweep's history and importances, and figures over the size of train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from haltung.evaluation.report.i18n import number, word
from haltung.evaluation.report.plots import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES, _MARKS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY), ("o", "s", "^", "D", "v", "P")
INK, SOFT, FAINT = "#222222", "#666666", "#DDDDDD"


def history(
    finished: Sequence[tuple[int, float]],
    pruned: Sequence[tuple[int, float]],
    under: str,
    language: str = "en",
    before: float | None = None,
) -> Figure:
    """Draw each trial's score over its number, and the best so far as a line.

    Args:
        finished: number and score of the trials that went to their end, in order.
        pruned: number and last score of those that were given up.
        under: the second line of the title.
        language: ``en`` or ``de``.
        before: the score of the recipe as it stands, drawn across.
    """
    figure, axes = _axes(7.6, 4.0)
    if before is not None:
        axes.axhline(before, color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)), label=word("as_it_stands", language), zorder=1)
    axes.scatter(*_xy(finished), s=34, color=BLUE, edgecolor="white", linewidth=0.7, label=word("finished", language), zorder=4)
    if pruned:
        axes.scatter(*_xy(pruned), s=30, color=SOFT, marker="x", linewidth=1.2, label=word("pruned", language), zorder=3)
    numbers, scores = _xy(finished)
    axes.step(numbers, np.maximum.accumulate(scores), where="post", color=VERMILION, linewidth=1.6, label=word("best_so_far", language))
    axes.set_xlabel(word("trial", language))
    axes.set_ylabel(word("dev_macro_f1", language))
    _whole(axes)
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=4)  # trials may lie anywhere inside
    _finish(axes, word("sweep_history", language), under, language, "y")
    return figure


def importance(shares: Mapping[str, float], under: str, language: str = "en") -> Figure:
    """Draw how much of the scores' variance each key explains (fANOVA), the largest above."""
    names = sorted(shares, key=shares.__getitem__, reverse=True)
    figure, axes = _axes(7.6, 1.6 + 0.38 * len(names))
    bars = axes.barh(range(len(names)), [shares[name] for name in names], height=0.62, color=SKY, zorder=2)
    axes.bar_label(bars, [number(shares[name], language, 2) for name in names], padding=3, fontsize=9, color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1e-9, *shares.values()) * 1.12)
    axes.set_xlabel(word("importance_share", language))
    _finish(axes, word("importance", language), under, language, "x")
    return figure


def sizes(curves: Mapping[str, Sequence[tuple[float, float, float | None]]], under: str, language: str = "en") -> Figure:
    """Draw figures over the number of training segments, on a logarithmic axis.

    Args:
        curves: by name, points of size, mean and standard deviation (None for a single seed).
        under: the second line of the title.
        language: ``en`` or ``de``.
    """
    figure, axes = _axes(7.6, 4.4)
    for place, (name, points) in enumerate(curves.items()):
        colour = _LINES[place % len(_LINES)]
        x, mean = [point[0] for point in points], np.array([point[1] for point in points])
        deviation = np.array([point[2] or 0.0 for point in points])
        axes.plot(x, mean, marker=_MARKS[place % len(_MARKS)], color=colour, linewidth=1.6, markersize=5.5, label=name, zorder=3)
        if deviation.any():
            axes.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0, zorder=2)
    ticks = sorted({point[0] for points in curves.values() for point in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(word("train_segments", language))
    axes.set_ylabel(word("dev_macro_f1", language))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    _finish(axes, word("learning_curve", language), under, language, "y")
    return figure


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.add_subplot()


def _finish(axes: Axes, title: str, under: str, language: str, numbered: str) -> None:
    from matplotlib.ticker import FuncFormatter

    if language == "de":
        getattr(axes, f"{numbered}axis").set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace(".", ",")))
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color("#999999")
    axes.tick_params(labelsize=9, colors=INK, length=0)
    axes.grid(axis="y" if numbered == "y" else "x", color=FAINT, linewidth=0.7, zorder=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=9.5, color=SOFT)
    axes.set_title(under, loc="left", fontsize=9, color=SOFT, pad=8)
    axes.annotate(title, (0, 1), (0, 24), xycoords="axes fraction", textcoords="offset points", fontsize=12.5, fontweight="bold", color=INK)


def _whole(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _xy(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
