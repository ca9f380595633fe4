"""Plots of calibration and abstention, in the manner of ``plots``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.report.i18n import count, number, place, word

# The house style of plots lives there; a second copy of it would drift.
from haltung.evaluation.report.plots import BLUE, FAINT, GREEN, INK, SKY, SOFT, VERMILION, canvas, finish, numbered
from haltung.labels import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from haltung.evaluation.metrics.calibration import CalibrationReport


def reliability(report: CalibrationReport, task: Task, language: str = "en") -> Figure:
    """Draw how often answers are right against how sure they are, one mark for each bin with its interval, and how sure they are."""
    figures = report.tasks[task.name]
    figure = canvas(6.4, 6.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    above.plot([0, 1], [0, 1], color=SOFT, linestyle=(0, (4, 3)), linewidth=1, label=word("perfect", language), zorder=1)
    x, y = ([getattr(part, name) for part in figures.bins] for name in ("confidence", "accuracy"))
    # The percentiles of a bin may leave its own figure out by a rounding error.
    ends = [(part.interval.low, part.interval.high) if part.interval else (part.accuracy, part.accuracy) for part in figures.bins]
    bars = [[max(0.0, value - low) for value, (low, _) in zip(y, ends, strict=True)],
            [max(0.0, high - value) for value, (_, high) in zip(y, ends, strict=True)]]  # fmt: skip
    style: dict[str, Any] = {"fmt": "o-", "color": BLUE, "ecolor": SKY, "elinewidth": 1.4, "linewidth": 1.2, "markersize": 5}
    above.errorbar(x, y, yerr=bars, label=word("bins", language), zorder=3, **style)
    above.set(xlim=(0, 1), ylim=(0, 1))
    above.set_ylabel(word("hit_rate", language))
    above.legend(frameon=False, fontsize=9, loc="upper left")
    # Bins of equal mass: where many answers lie, they are narrow and their bars high.
    edges = np.array([part.low for part in figures.bins] + [figures.bins[-1].high])
    density = np.array([part.n for part in figures.bins]) / np.maximum(np.diff(edges), 1e-3) / sum(part.n for part in figures.bins)
    below.bar(edges[:-1], density, width=np.maximum(np.diff(edges), 1e-3), align="edge", color=SKY, edgecolor="white", linewidth=0.4)
    below.set_yticks([])
    below.set_ylabel(word("density", language))
    below.set_xlabel(word("confidence", language))
    for axes in (above, below):
        axes.grid(color=FAINT, linewidth=0.7, zorder=0)
        axes.set_axisbelow(True)
    numbered(above, language, axis="y")
    numbered(below, language)
    ece = f"ECE {number(figures.ece, language)}"
    if figures.ece_interval:
        ece += f" ({number(figures.ece_interval.low, language)}–{number(figures.ece_interval.high, language)})"
    parts = [place(report.corpus, report.split, language), f"n = {count(figures.n, language)}", ece]
    if task.name in report.temperatures:
        parts.append(f"{word('temperature', language)} {number(report.temperatures[task.name], language, 2)}")
    finish(above, f"{task.title(language)}: {word('reliability', language)}", " · ".join(parts))
    finish(below, "", "")
    return figure


def coverage_risk(report: CalibrationReport, task: Task, language: str = "en") -> Figure:
    """Draw the share of mistakes among the surest segments against how many those are, and where the thresholds lie."""
    figures = report.abstention[task.name]
    figure = canvas(6.4, 4.4)
    axes = figure.add_subplot()
    coverage, right = np.array(figures.coverage), 1 - figures.error
    best = np.divide(np.maximum(coverage - right, 0), coverage)
    axes.plot(coverage, best, color=GREEN, linewidth=1, linestyle=":", label=word("best_order", language), zorder=2)
    label = f"{word('error_rate', language)} {number(figures.error, language)}"
    axes.axhline(figures.error, color=SOFT, linestyle=(0, (4, 3)), linewidth=1, label=label, zorder=1)
    axes.plot(coverage, figures.risk, color=BLUE, linewidth=1.8, label=word("surest_first", language), zorder=3)
    points = [point for point in figures.points if point.precision is not None]
    if points:
        x, y = [point.coverage for point in points], [1 - (point.precision or 0) for point in points]
        axes.scatter(x, y, s=38, color=VERMILION, edgecolor="white", linewidth=0.7, label=word("thresholds", language), zorder=4)
    for point in points:
        told = f"{number(point.wished, language, 2)}"
        spot = (point.coverage, 1 - (point.precision or 0))
        axes.annotate(told, spot, (0, 7), textcoords="offset points", ha="center", fontsize=8.5, color=INK)
    axes.set(xlim=(0, 1), ylim=(0, max(0.05, 1.15 * max(*figures.risk, figures.error))))
    axes.set_xlabel(word("coverage", language))
    axes.set_ylabel(word("risk", language))
    for axis in "xy":
        numbered(axes, language, axis=axis)
    axes.grid(color=FAINT, linewidth=0.7, zorder=0)
    axes.legend(frameon=False, fontsize=8.5, loc="best")
    parts = [place(report.corpus, report.split, language), f"n = {count(figures.n, language)}", f"AURC {number(figures.aurc, language)}"]
    finish(axes, f"{task.title(language)}: {word('coverage_risk', language)}", " · ".join(parts))
    return figure
