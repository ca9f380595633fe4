"""Plots of evaluations, comparisons and trainings as matplotlib ``Figure`` objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.comparison import OPEN, Comparison
from haltung.evaluation.error_analysis.slices import Slices
from haltung.evaluation.metrics.calibration import CalibrationReport
from haltung.evaluation.metrics.dyads import PARTS, SystemsCompared
from haltung.evaluation.metrics.minimal_pairs import ALL
from haltung.evaluation.metrics.results import EvaluationResult, TaskMetrics
from haltung.evaluation.report import style
from haltung.evaluation.report.i18n import count, estimate, number, signed, split_title, word
from haltung.evaluation.report.tables import dyad_words, slice_title
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
    axes = style.panel(max(5.6, 3.5 + 0.58 * size), max(3.6, 1.9 + 0.5 * size))
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
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.ax.set_yticklabels([word("percent", language, value=value) for value in (0, 25, 50, 75, 100)])
    bar.set_label(word("share", language), fontsize=8, color=style.SOFT)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    subtitle = _subtitle(result, metrics.n, language, _macro_f1(metrics, language))
    return style.finish(axes, f"{task.title(language)}: {word('confusion', language)}", subtitle, frame=False)


def per_label(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw F1 of each label as a bar with its interval, precision and recall as marks."""
    metrics = result.tasks[task.name]
    at = np.arange(len(task))
    titles = [f"{label.name(language)}  ({count(row.support, language)})" for label, row in zip(task.labels, metrics.labels, strict=True)]
    axes = style.rows(titles, 1.75 + 0.36 * len(task))
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
    return style.finish(axes, f"{task.title(language)}: F1 {word('per_label', language)}", subtitle, "x", language)


def phenomena(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw the share of minimal pairs with both right as a bar, the accuracy as a mark on it."""
    metrics = result.phenomena[task.name]
    at = np.arange(len(metrics))
    names = [word("all", language) if row.phenomenon == ALL else row.phenomenon for row in metrics]
    titles = [f"{name}  ({count(row.pairs, language)})" for name, row in zip(names, metrics, strict=True)]
    axes = style.rows(titles, 1.75 + 0.36 * len(metrics))
    bars = axes.barh(at, [row.both for row in metrics], height=0.62, color=style.SKY, label=word("both", language), zorder=2)
    axes.bar_label(bars, [number(row.both, language, 2) for row in metrics], padding=3, fontsize=9, color=style.INK)
    style.marks(axes, [row.accuracy for row in metrics], at, "o", style.VERMILION, word("accuracy", language))
    axes.set(xlim=(0, 1), ylabel=f"{word('phenomenon', language)} ({word('pairs', language)})")
    style.legend_below(axes, 0.6 / (len(metrics) + 1) + 0.01, 2)
    whole = result.tasks[task.name]
    subtitle = _subtitle(result, whole.n, language, _macro_f1(whole, language))
    return style.finish(axes, f"{task.title(language)} {word('phenomena', language)}", subtitle, "x", language)


def distribution(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw how many segments have each label in gold, beside how many are predicted to."""
    metrics = result.tasks[task.name]
    axes = style.rows([label.name(language) for label in task.labels], 1.75 + 0.42 * len(task))
    for name, counts, colour, offset in (("gold", "support", style.BLUE, -0.2), ("predicted", "predicted", style.ORANGE, 0.2)):
        values = [getattr(label, counts) for label in metrics.labels]
        bars = axes.barh(np.arange(len(task)) + offset, values, height=0.38, color=colour, label=word(name, language), zorder=2)
        axes.bar_label(bars, [count(value, language) for value in values], padding=3, fontsize=8, color=style.INK)
    axes.margins(x=0.08, y=0.02)
    axes.set(xlim=(0, None), xlabel=word("segments", language))
    style.integers(axes)
    axes.legend(frameon=False, fontsize=9, loc="best")
    return style.finish(axes, f"{task.title(language)}: {word('distribution', language)}", _subtitle(result, metrics.n, language), grid="x")


def slices(analysis: Slices, scheme: Scheme, task: Task, language: str = "en") -> Figure:
    """Draw judged slices' differences, with intervals; of too many the level ones go first."""
    judged = [row for row in analysis.tasks.get(task.name, ()) if row.verdict != "few"]
    largest = sorted(judged, key=lambda row: (row.verdict == "level", -abs(row.difference)))[:_MOST_SLICES]
    shown = [row for row in judged if row in largest]
    names = [f"{slice_title(row, scheme, language)}  ({count(row.n, language)})" for row in shown]
    axes = style.rows(names, 1.75 + 0.28 * max(1, len(shown)))
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
    return style.finish(axes, f"{task.title(language)} {word('by_slice', language)}", word("accuracy", language), "x", language)


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
    subtitle = _subtitle(report, metrics.n, language, f"ECE {estimate(metrics.ece, metrics.ece_interval, language)}")
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
    axes = style.panel(6.4, 4.4)
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
    return style.finish(axes, f"{task.title(language)}: {word('coverage_risk', language)}", subtitle, "both", language)


def forest(comparison: Comparison, task: str, scheme: Scheme, language: str = "en") -> Figure:
    """Draw each pair's difference of macro-F1 as a mark with its 95 % interval.

    Marks are filled and blue where the pair differs after correction, hollow and grey where it is
    undecided. An interval is that of the pair by itself: of many, an undecided one may exclude 0.
    """
    compared = comparison.tasks[task].pairs
    axes = style.panel(7.6, 1.75 + 0.42 * len(compared))
    axes.axvline(0, color=style.INK, linewidth=1, zorder=1)
    for row, pair in enumerate(compared):
        difference, is_decided = pair.macro_f1, pair.verdict != OPEN
        colour = style.BLUE if is_decided else style.SOFT
        axes.plot([difference.low, difference.high], [row, row], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
        fill = colour if is_decided else "white"
        axes.plot([difference.value], [row], marker="o", markersize=7, color=colour, markerfacecolor=fill, zorder=3)
        style.beside(axes, row, signed(difference.value, language, zero="+"))
    axes.set_yticks(np.arange(len(compared)), [f"{pair.first}\n{word('against', language)} {pair.second}" for pair in compared])
    axes.set(ylim=(len(compared) - 0.4, -0.6), xlabel=word("difference", language))
    subtitle = f"{split_title(comparison.corpus, comparison.split, language)} · {word('interval_95', language)}"
    return style.finish(axes, f"{scheme[task].title(language)}, {word('pairs_compared', language)}", subtitle, "x", language)


def dyads(settings: Mapping[str, SystemsCompared], subtitle: str, language: str = "en") -> Figure:
    """Draw F1 of each part with its interval, a panel for each setting, a bar for each system."""
    most = max(len(compared.systems) for compared in settings.values())
    figure = style.canvas(1.6 + 3.0 * len(settings), 1.5 + 0.36 * len(PARTS) * most)
    panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
    for axes, (setting, compared) in zip(panels, settings.items(), strict=True):
        height = 0.8 / len(compared.systems)
        for order, (system, metrics) in enumerate(compared.systems.items()):
            at = np.arange(len(PARTS)) + (order - (len(compared.systems) - 1) / 2) * height
            values = [match.f1 for match in metrics.parts.values()]
            colour = (style.SKY, style.VERMILION)[order]
            axes.barh(at, values, height=height * 0.92, color=colour, label=word(system, language), zorder=2)
            style.whiskers(axes, values, at, [match.interval for match in metrics.parts.values()], style.INK)
            for value, row in zip(values, at, strict=True):
                style.beside(axes, row, number(value, language, 2))
        axes.set(xlim=(0, 1), xlabel=f"{word('f1', language)}, {dyad_words(setting, language)}")
        style.finish(axes, word("dyads_title", language) if axes is panels[0] else "", subtitle, "x", language)
    panels[0].set_yticks(np.arange(len(PARTS)), [dyad_words(part, language) for part in PARTS])
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=most)
    return figure


def curves(history: Sequence[Mapping[str, float]], title: str = "", language: str = "en", scheme: Scheme | None = None) -> Figure:
    """Draw the training loss, and each task's macro-F1 on dev, over the epochs.

    Points are such as ``{"epoch": 1.0, "loss": …}`` and ``{"epoch": 1.0, "dev_stance_macro_f1": …,
    "dev_score": …}``; the epoch with the highest ``dev_score`` is marked, and the score is drawn
    where it differs from each of the tasks'. Without a scheme the tasks' ids are written.
    """
    figure = style.canvas(7.6, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.25])
    above.plot(*_points(history, "loss"), color=style.INK, linewidth=1.6)
    above.set(ylabel=word("training_loss", language), ylim=(0, None))
    names = list(dict.fromkeys(name for point in history for name in point if name.startswith("dev_") and name.endswith("_macro_f1")))
    for index, name in enumerate(names):
        task = name.removeprefix("dev_").removesuffix("_macro_f1")
        label = scheme[task].title(language) if scheme and task in scheme.names else task
        style.line(below, index, *_points(history, name), label=label, markersize=5)
    epochs, scores = _points(history, "dev_score")
    if scores:
        if scores not in [_points(history, name)[1] for name in names]:
            below.plot(epochs, scores, color=style.SOFT, linestyle=style.DASHED, linewidth=1.2, label=word("score", language))
        best = max(scores)
        epoch = epochs[scores.index(best)]
        for axes in (above, below):
            axes.axvline(epoch, color=style.SOFT, linewidth=0.9, linestyle=":", zorder=1)
        text = f"{word('chosen', language)}: {epoch:g} ({number(best, language)})"
        is_early = epoch < max(point["epoch"] for point in history) / 2
        look: dict[str, Any] = {"textcoords": "offset points", "ha": "left" if is_early else "right", "va": "top", "fontsize": 8.5}
        above.annotate(text, (epoch, 1), (4 if is_early else -4, -4), xycoords=("data", "axes fraction"), **look)
    below.set(xlabel=word("epoch", language), ylabel=word("dev_macro_f1", language), ylim=(0, 1))
    style.integers(below)
    if names:
        below.legend(frameon=False, fontsize=9, loc="best")
    style.finish(above, word("curves", language)[0].upper() + word("curves", language)[1:], title, "both", language)
    style.finish(below, grid="both", language=language)
    return figure


def sweep_history(
    finished: Sequence[tuple[int, float]], pruned: Sequence[tuple[int, float]], subtitle: str, language: str = "en",
    start: float | None = None,
) -> Figure:  # fmt: skip
    """Draw each trial's score over its number, and the best so far as a line.

    Trials are number and score, of those ``pruned`` the last one. ``start`` is the score of the
    recipe before the sweep, drawn across.
    """
    axes = style.panel(7.6, 4.0)
    if start is not None:
        axes.axhline(start, color=style.SOFT, linewidth=1.2, linestyle=style.DASHED, label=word("as_it_stands", language), zorder=1)
    numbers, scores = zip(*finished, strict=True) if finished else ((), ())
    axes.scatter(numbers, scores, s=34, color=style.BLUE, edgecolor="white", linewidth=0.7, label=word("finished", language), zorder=4)
    if pruned:
        x, y = zip(*pruned, strict=True)
        axes.scatter(x, y, s=30, color=style.SOFT, marker="x", linewidth=1.2, label=word("pruned", language), zorder=3)
    axes.step(
        numbers, np.maximum.accumulate(scores), where="post", color=style.VERMILION, linewidth=1.6, label=word("best_so_far", language)
    )
    axes.set(xlabel=word("trial", language), ylabel=word("dev_macro_f1", language))
    style.integers(axes)
    # Below, since trials may lie anywhere inside.
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=4)
    return style.finish(axes, word("sweep_history", language), subtitle, "y", language)


def importance(shares: Mapping[str, float], subtitle: str, language: str = "en") -> Figure:
    """Draw how much of the scores' variance each key explains (fANOVA), the largest share above."""
    names = sorted(shares, key=shares.__getitem__, reverse=True)
    axes = style.rows(names, 1.6 + 0.38 * len(names))
    bars = axes.barh(range(len(names)), [shares[name] for name in names], height=0.62, color=style.SKY, zorder=2)
    axes.bar_label(bars, [number(shares[name], language, 2) for name in names], padding=3, fontsize=9, color=style.INK)
    axes.set(xlim=(0, max(1e-9, *shares.values()) * 1.12), xlabel=word("importance_share", language))
    return style.finish(axes, word("importance", language), subtitle, "x", language)


def learning_curve(points: Mapping[str, Sequence[tuple[float, float, float | None]]], subtitle: str, language: str = "en") -> Figure:
    """Draw macro-F1 on dev over the number of training segments, on a logarithmic axis.

    A task's points are size, mean and standard deviation (None for a single seed).
    """
    axes = style.panel(7.6, 4.4)
    for index, (name, curve) in enumerate(points.items()):
        sizes, means = [row[0] for row in curve], np.array([row[1] for row in curve])
        deviations = np.array([row[2] or 0.0 for row in curve])
        style.line(axes, index, sizes, means, label=name, markersize=5.5, zorder=3)
        if deviations.any():
            colour = style.LINES[index % len(style.LINES)]
            axes.fill_between(sizes, means - deviations, means + deviations, color=colour, alpha=0.15, linewidth=0, zorder=2)
    ticks = sorted({row[0] for curve in points.values() for row in curve})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.set(ylim=(0, None), xlabel=word("train_segments", language), ylabel=word("dev_macro_f1", language))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return style.finish(axes, word("learning_curve", language), subtitle, "y", language)


def of_tasks(
    result: EvaluationResult, scheme: Scheme, calibration: CalibrationReport | None, sliced: Slices | None, language: str
) -> Iterator[tuple[str, str, Figure]]:
    """Yield the plots of an evaluation's tasks, each with its task and kind."""
    for name in result.tasks:
        task = scheme[name]
        if task.kind == "single":
            yield name, "confusion", confusion(result, task, language)
        yield name, "per_label", per_label(result, task, language)
        yield name, "distribution", distribution(result, task, language)
        if name in result.phenomena:
            yield name, "phenomena", phenomena(result, task, language)
        if calibration is not None and name in calibration.tasks:
            yield name, "reliability", reliability(calibration, task, language)
            if name in calibration.abstention:
                yield name, "coverage_risk", coverage_risk(calibration, task, language)
        if sliced is not None and any(row.verdict != "few" for row in sliced.tasks.get(name, ())):
            yield name, "slices", slices(sliced, scheme, task, language)


def _subtitle(measured: EvaluationResult | CalibrationReport, n: int, language: str, *metric: str) -> str:
    return " · ".join([split_title(measured.corpus, measured.split, language), f"n = {count(n, language)}", *metric])


def _macro_f1(metrics: TaskMetrics, language: str) -> str:
    return f"{word('macro_f1', language)} {number(metrics.macro_f1, language)}"


def _points(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    points = [(point["epoch"], point[name]) for point in history if name in point]
    return [x for x, _ in points], [y for _, y in points]
