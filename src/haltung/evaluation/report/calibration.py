"""Calibration and abstention as tables and plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.metrics.abstention import TaskAbstention
from haltung.evaluation.metrics.calibration import CalibrationReport
from haltung.evaluation.report.i18n import count, number, split_title, word
from haltung.evaluation.report.style import BLUE, DASHED, GREEN, INK, SKY, SOFT, VERMILION, canvas, finish, localise, reach
from haltung.evaluation.report.tables import Grid, grid
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def overview(report: CalibrationReport, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each task: temperature, confidence, accuracy, ECE and Brier score.

    ECE is also given without temperatures, and by chance.
    """
    rows = []
    for name, metrics in report.tasks.items():
        before = report.before.get(name)
        rows.append(
            (
                scheme[name].title(language),
                number(report.temperatures.get(name, 1.0), language, 2),
                number(metrics.confidence, language),
                number(metrics.accuracy, language),
                number(metrics.ece, language),
                _ends(metrics.ece_interval, language),
                "–" if before is None else number(before.ece, language),
                number(metrics.ece_by_chance, language),
                number(metrics.brier, language),
                _ends(metrics.brier_interval, language),
                number(metrics.log_loss, language),
            )
        )
    errors = ("ece", "interval", "ece_before", "ece_by_chance", "brier", "interval", "log_loss")
    title = f"{split_title(report.corpus, report.split, language)}: {word('calibration', language)}"
    return grid(title, ("task", "temperature", "confidence", "hit_rate", *errors), rows, language)


def abstention(metrics: TaskAbstention, task: Task, language: str = "en") -> Grid:
    """Return one row for each wanted precision: its threshold, coverage and precision."""
    rows = (
        (
            number(point.wished, language, 2),
            word("unreached", language) if point.threshold is None else number(point.threshold, language),
            count(point.kept, language),
            number(point.coverage, language),
            _ends(point.coverage_interval, language),
            "–" if point.precision is None else number(point.precision, language),
            _ends(point.precision_interval, language),
        )
        for point in metrics.points
    )
    columns = ("wished", "threshold", "answered", "coverage", "interval", "precision", "interval")
    title = f"{task.title(language)}: {word('abstention', language)} (AURC {number(metrics.aurc, language)})"
    return grid(title, columns, rows, language, left=0)


def reliability(report: CalibrationReport, task: Task, language: str = "en") -> Figure:
    """Draw the share of right answers over their probability, above the answers' density.

    There is one mark with its interval for each bin.
    """
    metrics = report.tasks[task.name]
    figure = canvas(6.4, 6.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    above.plot([0, 1], [0, 1], color=SOFT, linestyle=DASHED, linewidth=1, label=word("perfect", language), zorder=1)
    accuracy = [bin_.accuracy for bin_ in metrics.bins]
    style: dict[str, Any] = {"fmt": "o-", "color": BLUE, "ecolor": SKY, "elinewidth": 1.4, "linewidth": 1.2, "markersize": 5, "zorder": 3}
    bars = reach(accuracy, [bin_.interval for bin_ in metrics.bins])
    above.errorbar([bin_.confidence for bin_ in metrics.bins], accuracy, yerr=bars, label=word("bins", language), **style)
    above.set(xlim=(0, 1), ylim=(0, 1))
    above.set_ylabel(word("hit_rate", language))
    above.legend(frameon=False, fontsize=9, loc="upper left")
    # The bins hold equally many answers: where many lie, bins are narrow and their bars high.
    edges = np.array([bin_.low for bin_ in metrics.bins] + [metrics.bins[-1].high])
    widths = np.maximum(np.diff(edges), 1e-3)
    density = np.array([bin_.n for bin_ in metrics.bins]) / widths / sum(bin_.n for bin_ in metrics.bins)
    below.bar(edges[:-1], density, width=widths, align="edge", color=SKY, edgecolor="white", linewidth=0.4)
    below.set_yticks([])
    below.set_ylabel(word("density", language))
    below.set_xlabel(word("confidence", language))
    localise(above, "y", language)
    localise(below, "x", language)
    ece = f"ECE {number(metrics.ece, language)}"
    if metrics.ece_interval:
        ece += f" ({_ends(metrics.ece_interval, language)})"
    parts = [split_title(report.corpus, report.split, language), f"n = {count(metrics.n, language)}", ece]
    if task.name in report.temperatures:
        parts.append(f"{word('temperature', language)} {number(report.temperatures[task.name], language, 2)}")
    finish(above, f"{task.title(language)}: {word('reliability', language)}", " · ".join(parts), grid="both")
    finish(below, grid="both")
    for axes in (above, below):
        axes.set_axisbelow(True)
    return figure


def coverage_risk(report: CalibrationReport, task: Task, language: str = "en") -> Figure:
    """Draw the share of mistakes among the surest segments over the share that those are.

    Marks show the thresholds chosen on dev.
    """
    metrics = report.abstention[task.name]
    figure = canvas(6.4, 4.4)
    axes = figure.add_subplot()
    coverage, right = np.array(metrics.coverage), 1 - metrics.error
    best = np.divide(np.maximum(coverage - right, 0), coverage)
    axes.plot(coverage, best, color=GREEN, linewidth=1, linestyle=":", label=word("best_order", language), zorder=2)
    label = f"{word('error_rate', language)} {number(metrics.error, language)}"
    axes.axhline(metrics.error, color=SOFT, linestyle=DASHED, linewidth=1, label=label, zorder=1)
    axes.plot(coverage, metrics.risk, color=BLUE, linewidth=1.8, label=word("surest_first", language), zorder=3)
    points = [(point.coverage, 1 - point.precision, point.wished) for point in metrics.points if point.precision is not None]
    if points:
        x, y, _ = zip(*points, strict=True)
        axes.scatter(x, y, s=38, color=VERMILION, edgecolor="white", linewidth=0.7, label=word("thresholds", language), zorder=4)
    for at, risk, wanted in points:
        style: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8.5, "color": INK}
        axes.annotate(number(wanted, language, 2), (at, risk), (0, 7), **style)
    axes.set(xlim=(0, 1), ylim=(0, max(0.05, 1.15 * max(*metrics.risk, metrics.error))))
    axes.set_xlabel(word("coverage", language))
    axes.set_ylabel(word("risk", language))
    for axis in "xy":
        localise(axes, axis, language)
    axes.legend(frameon=False, fontsize=8.5, loc="best")
    title = split_title(report.corpus, report.split, language)
    subtitle = f"{title} · n = {count(metrics.n, language)} · AURC {number(metrics.aurc, language)}"
    finish(axes, f"{task.title(language)}: {word('coverage_risk', language)}", subtitle, grid="both")
    return figure


def _ends(interval: Interval | None, language: str) -> str:
    """Return ``0.512–0.570``, or "–" where there is none."""
    return "–" if interval is None else f"{number(interval.low, language)}–{number(interval.high, language)}"
