"""Plots of an evaluation as matplotlib ``Figure`` objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.error_analysis.slices import Slices
from haltung.evaluation.metrics.calibration import CalibrationReport
from haltung.evaluation.metrics.minimal_pairs import ALL
from haltung.evaluation.metrics.results import EvaluationResult, TaskMetrics
from haltung.evaluation.report import style
from haltung.evaluation.report.i18n import count, number, percent, split_title, word
from haltung.evaluation.report.tables import ends, slice_title
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_SLICES = 30

# Beside the colour, a shape for readers who see none.
_VERDICTS = {"worse": (style.VERMILION, "v"), "better": (style.BLUE, "^"), "level": (style.SKY, "o")}


def confusion(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw a single-label task's confusion matrix, coloured by the share of the row (gold)."""
    metrics = result.tasks[task.name]
    counts = np.array(metrics.confusion)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    size = len(task)
    figure, axes = style.panel(max(5.6, 3.5 + 0.58 * size), max(3.6, 1.9 + 0.5 * size))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in np.flatnonzero(support == 0).tolist():
        axes.axhspan(row - 0.5, row + 0.5, facecolor="#F2F2F2", hatch="////", edgecolor="#D0D0D0", linewidth=0)
    for row, column in np.argwhere(counts).tolist():
        ink = "white" if shares[row, column] > 0.55 else style.INK
        axes.text(column, row, count(int(counts[row, column]), language), ha="center", va="center", fontsize=9, color=ink)
    names = [label.name(language) for label in task.labels]
    axes.set_xticks(range(size), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), [f"{name}  ({total})" for name, total in zip(names, support[:, 0].tolist(), strict=True)])
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=style.FAINT, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel=word("predicted", language), ylabel=f"{word('gold', language)} ({word('support', language)})")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.ax.set_yticklabels([percent(value, language) for value in (0, 25, 50, 75, 100)])
    bar.set_label(word("share", language), fontsize=8, color=style.SOFT)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    subtitle = _subtitle(result, metrics.n, language, _macro_f1(metrics, language))
    style.finish(axes, f"{task.title(language)}: {word('confusion', language)}", subtitle, frame=False)
    return figure


def per_label(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw F1 of each label as a bar with its interval, precision and recall as marks."""
    metrics = result.tasks[task.name]
    at = np.arange(len(task))
    titles = [f"{label.name(language)}  ({count(row.support, language)})" for label, row in zip(task.labels, metrics.labels, strict=True)]
    figure, axes = style.rows(titles, 1.75 + 0.36 * len(task))
    f1 = [label.f1 for label in metrics.labels]
    axes.barh(at, f1, height=0.62, color=style.SKY, label=word("f1", language), zorder=2)
    intervals = [label.intervals.get("f1") for label in metrics.labels]
    if any(intervals):
        style.whiskers(axes, f1, at, intervals, style.SOFT)
    # A label never predicted has no precision, one that never occurs no recall: no mark at 0.
    precision = [label.precision if label.predicted else np.nan for label in metrics.labels]
    recall = [label.recall if label.support else np.nan for label in metrics.labels]
    style.marks(axes, precision, at, "D", style.BLUE, word("precision", language))
    style.marks(axes, recall, at, "o", style.VERMILION, word("recall", language))
    macro_f1 = _macro_f1(metrics, language)
    axes.axvline(metrics.macro_f1, color=style.INK, linestyle=style.DASHED, linewidth=1, label=macro_f1)
    for row, label in enumerate(metrics.labels):
        style.beside(axes, row, number(label.f1, language, 2) if label.support or label.predicted else "–")
    look: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom", "fontsize": 8, "color": style.SOFT}
    axes.annotate(word("f1", language), (1.03, 1), (0, 3), **look)
    axes.margins(y=0.02)
    axes.set(xlim=(0, 1), ylabel=f"{word('label', language)} ({word('support', language)})")
    style.legend_below(axes, 0.6 / (len(task) + 1) + 0.01, 4, handletextpad=0.5)
    subtitle = _subtitle(result, metrics.n, language, macro_f1)
    style.finish(axes, f"{task.title(language)}: F1 {word('per_label', language)}", subtitle, "x", language)
    return figure


def phenomena(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw the share of minimal pairs with both right as a bar, the accuracy as a mark on it."""
    metrics = result.phenomena[task.name]
    at = np.arange(len(metrics))
    names = [word("all", language) if row.phenomenon == ALL else row.phenomenon for row in metrics]
    titles = [f"{name}  ({count(row.pairs, language)})" for name, row in zip(names, metrics, strict=True)]
    figure, axes = style.rows(titles, 1.75 + 0.36 * len(metrics))
    bars = axes.barh(at, [row.both for row in metrics], height=0.62, color=style.SKY, label=word("both", language), zorder=2)
    axes.bar_label(bars, [number(row.both, language, 2) for row in metrics], padding=3, fontsize=9, color=style.INK)
    style.marks(axes, [row.accuracy for row in metrics], at, "o", style.VERMILION, word("accuracy", language))
    axes.set(xlim=(0, 1), ylabel=f"{word('phenomenon', language)} ({word('pairs', language)})")
    style.legend_below(axes, 0.6 / (len(metrics) + 1) + 0.01, 2)
    whole = result.tasks[task.name]
    subtitle = _subtitle(result, whole.n, language, _macro_f1(whole, language))
    style.finish(axes, f"{task.title(language)} {word('phenomena', language)}", subtitle, "x", language)
    return figure


def distribution(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw how many segments have each label in gold, beside how many are predicted to."""
    metrics = result.tasks[task.name]
    figure, axes = style.rows([label.name(language) for label in task.labels], 1.75 + 0.42 * len(task))
    for name, counts, colour, offset in (("gold", "support", style.BLUE, -0.2), ("predicted", "predicted", style.ORANGE, 0.2)):
        values = [getattr(label, counts) for label in metrics.labels]
        bars = axes.barh(np.arange(len(task)) + offset, values, height=0.38, color=colour, label=word(name, language), zorder=2)
        axes.bar_label(bars, [count(value, language) for value in values], padding=3, fontsize=8, color=style.INK)
    axes.margins(x=0.08, y=0.02)
    axes.set(xlim=(0, None), xlabel=word("segments", language))
    style.integers(axes)
    axes.legend(frameon=False, fontsize=9, loc="best")
    style.finish(axes, f"{task.title(language)}: {word('distribution', language)}", _subtitle(result, metrics.n, language), grid="x")
    return figure


def slices(analysis: Slices, scheme: Scheme, task: Task, language: str = "en") -> Figure:
    """Draw judged slices' differences, with intervals; of too many the level ones go first."""
    judged = [row for row in analysis.tasks.get(task.name, ()) if row.verdict != "few"]
    largest = sorted(judged, key=lambda row: (row.verdict == "level", -abs(row.difference)))[:_MOST_SLICES]
    shown = [row for row in judged if row in largest]
    names = [f"{slice_title(row, scheme, language)}  ({count(row.n, language)})" for row in shown]
    figure, axes = style.rows(names, 1.75 + 0.28 * max(1, len(shown)))
    for verdict, (colour, marker) in _VERDICTS.items():
        if indices := [index for index, row in enumerate(shown) if row.verdict == verdict]:
            values = np.array([shown[index].difference for index in indices])
            reached = np.array([(shown[index].low, shown[index].high) for index in indices], dtype=np.float64).T
            look: dict[str, Any] = {"fmt": marker, "color": colour, "markersize": 6, "elinewidth": 1.4, "zorder": 3}
            axes.errorbar(values, indices, xerr=np.abs(reached - values), label=word(f"slice_{verdict}", language), **look)
    axes.axvline(0, color=style.INK, linewidth=0.9, zorder=1)
    for index, row in enumerate(shown):
        style.beside(axes, index, number(row.accuracy, language, 2), x=1.02, fontsize=8.5, color=style.SOFT)
    axes.set_xlabel(word("accuracy_difference", language))
    if shown:
        style.legend_below(axes, 0.75 / (0.28 * len(shown) + 0.5) + 0.02, 3)
    style.finish(axes, f"{task.title(language)} {word('by_slice', language)}", word("accuracy", language), "x", language)
    return figure


def reliability(report: CalibrationReport, task: Task, language: str = "en") -> Figure:
    """Draw each bin's share of right answers over its probability, above the answers' density."""
    metrics = report.tasks[task.name]
    figure = style.canvas(6.4, 6.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    above.plot([0, 1], [0, 1], color=style.SOFT, linestyle=style.DASHED, linewidth=1, label=word("perfect", language), zorder=1)
    accuracy = [bin_.accuracy for bin_ in metrics.bins]
    bars = style.reach(accuracy, [bin_.interval for bin_ in metrics.bins])
    above.errorbar(
        [bin_.confidence for bin_ in metrics.bins], accuracy, yerr=bars, label=word("bins", language),
        fmt="o-", color=style.BLUE, ecolor=style.SKY, elinewidth=1.4, linewidth=1.2, markersize=5, zorder=3,
    )  # fmt: skip
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel=word("hit_rate", language))
    above.legend(frameon=False, fontsize=9, loc="upper left")
    # The bins hold equally many answers: where many lie, bins are narrow and their bars high.
    edges = np.array([bin_.low for bin_ in metrics.bins] + [metrics.bins[-1].high])
    widths = np.maximum(np.diff(edges), 1e-3)
    density = np.array([bin_.n for bin_ in metrics.bins]) / widths / sum(bin_.n for bin_ in metrics.bins)
    below.bar(edges[:-1], density, width=widths, align="edge", color=style.SKY, edgecolor="white", linewidth=0.4)
    below.set(yticks=[], xlabel=word("confidence", language), ylabel=word("density", language))
    ece = f"ECE {number(metrics.ece, language)}"
    if metrics.ece_interval:
        ece += f" ({ends(metrics.ece_interval, language)})"
    subtitle = _subtitle(report, metrics.n, language, ece)
    if task.name in report.temperatures:
        subtitle += f" · {word('temperature', language)} {number(report.temperatures[task.name], language, 2)}"
    style.finish(above, f"{task.title(language)}: {word('reliability', language)}", subtitle, "both", language)
    style.finish(below, grid="both", language=language)
    for axes in (above, below):
        axes.set_axisbelow(True)
    return figure


def coverage_risk(report: CalibrationReport, task: Task, language: str = "en") -> Figure:
    """Draw the share of mistakes among the surest segments, with the thresholds chosen on dev."""
    metrics = report.abstention[task.name]
    figure, axes = style.panel(6.4, 4.4)
    coverage, right = np.array(metrics.coverage), 1 - metrics.error
    best = np.divide(np.maximum(coverage - right, 0), coverage)
    axes.plot(coverage, best, color=style.GREEN, linewidth=1, linestyle=":", label=word("best_order", language), zorder=2)
    label = f"{word('error_rate', language)} {number(metrics.error, language)}"
    axes.axhline(metrics.error, color=style.SOFT, linestyle=style.DASHED, linewidth=1, label=label, zorder=1)
    axes.plot(coverage, metrics.risk, color=style.BLUE, linewidth=1.8, label=word("surest_first", language), zorder=3)
    points = [(point.coverage, 1 - point.precision, point.wished) for point in metrics.points if point.precision is not None]
    if points:
        x, y, _ = zip(*points, strict=True)
        axes.scatter(x, y, s=38, color=style.VERMILION, edgecolor="white", linewidth=0.7, label=word("thresholds", language), zorder=4)
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8.5, "color": style.INK}
    for at, risk, wanted in points:
        axes.annotate(number(wanted, language, 2), (at, risk), (0, 7), **look)
    highest = max(0.05, 1.15 * max(*metrics.risk, metrics.error))
    axes.set(xlim=(0, 1), ylim=(0, highest), xlabel=word("coverage", language), ylabel=word("risk", language))
    axes.legend(frameon=False, fontsize=8.5, loc="best")
    subtitle = _subtitle(report, metrics.n, language, f"AURC {number(metrics.aurc, language)}")
    style.finish(axes, f"{task.title(language)}: {word('coverage_risk', language)}", subtitle, "both", language)
    return figure


def _subtitle(measured: EvaluationResult | CalibrationReport, n: int, language: str, *metric: str) -> str:
    return " · ".join([split_title(measured.corpus, measured.split, language), f"n = {count(n, language)}", *metric])


def _macro_f1(metrics: TaskMetrics, language: str) -> str:
    return f"{word('macro_f1', language)} {number(metrics.macro_f1, language)}"
