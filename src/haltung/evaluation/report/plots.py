"""Plots of evaluations, comparisons and trainings as matplotlib ``Figure`` objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.comparison import OPEN, Comparison
from haltung.evaluation.metrics.agreement import TaskAgreement
from haltung.evaluation.metrics.calibration import CalibrationReport
from haltung.evaluation.metrics.dyads import PARTS, SystemsCompared
from haltung.evaluation.metrics.results import EvaluationResult, TaskMetrics
from haltung.evaluation.report import style
from haltung.evaluation.report.i18n import count, estimate, number, signed, split_title, word
from haltung.evaluation.report.tables import dyad_words
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw a single-label task's confusion matrix, coloured by share of the row (gold)."""
    metrics = result.tasks[task.name]
    sides = f"{word('gold', language)} ({word('support', language)})", word("predicted", language)
    return matrix(metrics.confusion, task, sides, _subtitle(result, metrics.n, language, _macro_f1(metrics, language)), language)


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31]}…"  # longer ones leave no room for the plot


def matrix(confusion: Sequence[Sequence[int]], task: Task, sides: tuple[str, str], subtitle: str, language: str = "en") -> Figure:
    """Draw a matrix of counts by two labels; ``sides`` are the titles of rows and columns."""
    counts = np.array(confusion)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    names, size = [_short(label.name(language)) for label in task.labels], len(task)
    longest = max(map(len, names))
    axes = style.panel(max(5.6, 3.5 + 0.58 * size, 3.4 + 0.085 * longest), max(3.6, 1.9 + 0.5 * size, 2.2 + 0.06 * longest))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in np.flatnonzero(support == 0).tolist():
        axes.axhspan(row - 0.5, row + 0.5, facecolor="#F2F2F2", hatch="////", edgecolor="#D0D0D0", linewidth=0)
    for row, column in np.argwhere(counts).tolist():
        ink = "white" if shares[row, column] > 0.55 else style.INK
        axes.text(column, row, count(int(counts[row, column]), language), ha="center", va="center", fontsize=9, color=ink)
    axes.set_xticks(range(size), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), [f"{name}  ({total})" for name, total in zip(names, support[:, 0].tolist(), strict=True)])
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=style.FAINT, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel=sides[1], ylabel=sides[0])
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.ax.set_yticklabels([word("percent", language, value=value) for value in (0, 25, 50, 75, 100)])
    bar.set_label(word("share", language), fontsize=8, color=style.SOFT)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    return style.finish(axes, f"{task.title(language)}: {word('confusion', language)}", subtitle, frame=False)


def course(agreed: TaskAgreement, task: Task, subtitle: str, language: str = "en") -> Figure:
    """Draw alpha over the course of coding: of each part, with its interval, and cumulatively."""
    axes, ends = style.panel(7.6, 4.0), np.array([0, *agreed.course])
    looks: dict[str, dict[str, Any]] = {"part": {"color": style.SKY, "fmt": "s"}, "so_far": {"color": style.BLUE, "fmt": "o-"}}
    for (name, look), at in zip(looks.items(), ((ends[1:] + ends[:-1]) / 2, ends[1:]), strict=True):
        values = np.array([one[name].value for one in agreed.course.values()], dtype=float)  # nan where it is undefined
        reach = style.reach(values.tolist(), [one[name].interval for one in agreed.course.values()])
        axes.errorbar(at, values, yerr=reach, label=word(f"alpha_{name}", language), elinewidth=1.2, capsize=2.5, markersize=5, **look)
    axes.hlines((0.667, 0.8), 0, ends[-1], color=style.SOFT, linestyle=style.DASHED, linewidth=0.9, zorder=1)
    axes.set(xlim=(0, None), ylim=(None, 1.02), xlabel=word("coded_so_far", language), ylabel=word("alpha_nominal", language))
    axes.legend(frameon=False, fontsize=9)
    return style.finish(axes, f"{task.title(language)}: {word('agreement_course', language)}", subtitle, "both", language)


def per_label(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw each label's F1 as a bar with its interval, and precision and recall as markers."""
    metrics = result.tasks[task.name]
    at = np.arange(len(task))
    titles = [
        f"{_short(label.name(language))}  ({count(row.support, language)})" for label, row in zip(task.labels, metrics.labels, strict=True)
    ]
    axes = style.panel(7.6, 1.75 + 0.36 * len(task))
    axes.set_yticks(at, titles)
    axes.invert_yaxis()
    f1 = [label.f1 for label in metrics.labels]
    axes.barh(at, f1, height=0.62, color=style.SKY, label=word("f1", language), zorder=2)
    intervals = [label.intervals.get("f1") for label in metrics.labels]
    if any(intervals):
        axes.errorbar(f1, at, xerr=style.reach(f1, intervals), fmt="none", ecolor=style.SOFT, elinewidth=1.1, capsize=2.5, zorder=3)
    # Precision of a label never predicted, or recall of one that never occurs, has no marker.
    precision = [label.precision if label.predicted else np.nan for label in metrics.labels]
    recall = [label.recall if label.support else np.nan for label in metrics.labels]
    for name, values, marker, colour in (("precision", precision, "D", style.BLUE), ("recall", recall, "o", style.VERMILION)):
        look: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.7, "clip_on": False, "zorder": 4}
        axes.scatter(values, at, s=30, color=colour, marker=marker, label=word(name, language), **look)
    macro_f1 = _macro_f1(metrics, language)
    axes.axvline(metrics.macro_f1, color=style.INK, linestyle=style.DASHED, linewidth=1, label=macro_f1)
    for row, label in enumerate(metrics.labels):
        style.beside(axes, row, number(label.f1, language, 2) if label.support or label.predicted else "–")
    look = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom", "fontsize": 8, "color": style.SOFT}
    axes.annotate(word("f1", language), (1.03, 1), (0, 3), **look)
    axes.margins(y=0.02)
    axes.set(xlim=(0, 1), ylabel=f"{word('label', language)} ({word('support', language)})")
    below = (0.5, -0.6 / (len(task) + 1) - 0.01)
    axes.legend(loc="upper center", bbox_to_anchor=below, ncols=4, frameon=False, fontsize=8.5, handletextpad=0.5)
    subtitle = _subtitle(result, metrics.n, language, macro_f1)
    return style.finish(axes, f"{task.title(language)}: F1 {word('per_label', language)}", subtitle, "x", language)


def reliability(report: CalibrationReport, task: Task, language: str = "en") -> Figure:
    """Draw accuracy over mean confidence for each bin; bins are about equally large."""
    metrics = report.tasks[task.name]
    axes = style.panel(6.4, 5.2)
    axes.plot([0, 1], [0, 1], color=style.SOFT, linestyle=style.DASHED, linewidth=1, label=word("perfect", language), zorder=1)
    accuracy = [bin_.accuracy for bin_ in metrics.bins]
    bars = style.reach(accuracy, [bin_.interval for bin_ in metrics.bins])
    axes.errorbar(
        [bin_.confidence for bin_ in metrics.bins], accuracy, yerr=bars, label=word("bins", language),
        fmt="o-", color=style.BLUE, ecolor=style.SKY, elinewidth=1.4, linewidth=1.2, markersize=5, zorder=3,
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=word("confidence", language), ylabel=word("hit_rate", language))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    subtitle = _subtitle(report, metrics.n, language, f"ECE {estimate(metrics.ece, metrics.ece_interval, language)}")
    if task.name in report.temperatures:
        subtitle += f" · {word('temperature', language)} {number(report.temperatures[task.name], language, 2)}"
    return style.finish(axes, f"{task.title(language)}: {word('reliability', language)}", subtitle, "both", language)


def forest(comparison: Comparison, task: str, scheme: Scheme, language: str = "en") -> Figure:
    """Draw each pair's difference in macro-F1 as a marker with its 95 % interval.

    Markers are filled and blue if the pair differs after correction, else hollow and grey.
    Intervals are not corrected for multiple tests, so that of an undecided pair may exclude 0.
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
    """Draw F1 of each part with its interval: one panel per setting, one bar per system."""
    most = max(len(compared.systems) for compared in settings.values())
    figure = style.canvas(1.6 + 3.0 * len(settings), 1.5 + 0.36 * len(PARTS) * most)
    panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
    for axes, (setting, compared) in zip(panels, settings.items(), strict=True):
        height = 0.8 / len(compared.systems)
        for order, (system, metrics) in enumerate(compared.systems.items()):
            at = np.arange(len(PARTS)) + (order - (len(compared.systems) - 1) / 2) * height
            values = [match.f1 for match in metrics.parts.values()]
            reach = style.reach(values, [match.interval for match in metrics.parts.values()])
            look: dict[str, Any] = {"color": (style.SKY, style.VERMILION)[order], "zorder": 2, "capsize": 2.5}
            axes.barh(at, values, height=height * 0.92, xerr=reach, label=word(system, language), **look)
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

    Points are dicts such as ``{"epoch": 1.0, "loss": …}`` and ``{"epoch": 1.0,
    "dev_stance_macro_f1": …, "dev_score": …}``. The epoch with the highest ``dev_score`` is marked.
    The score is drawn if it differs from each task's. Without a scheme, tasks are named by id.
    """
    from matplotlib.ticker import MaxNLocator

    figure = style.canvas(7.6, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.25])
    above.plot(*_points(history, "loss"), color=style.INK, linewidth=1.6)
    above.set(ylabel=word("training_loss", language), ylim=(0, None))
    # Sorted by scheme, since a resumed training's history has another order.
    place = {f"dev_{task}_macro_f1": number for number, task in enumerate(scheme.names if scheme else ())}
    found = {name for point in history for name in point if name.startswith("dev_") and name.endswith("_macro_f1")}
    names = sorted(found, key=lambda name: (place.get(name, len(place)), name))
    below.set_prop_cycle(color=style.LINES, marker=style.MARKERS)
    for name in names:
        task = name.removeprefix("dev_").removesuffix("_macro_f1")
        label = scheme[task].title(language) if scheme and task in scheme.names else task
        below.plot(*_points(history, name), label=label, linewidth=1.6, markersize=5)
    epochs, scores = _points(history, "dev_score")
    if scores:
        if scores not in [_points(history, name)[1] for name in names]:
            below.plot(epochs, scores, color=style.SOFT, linestyle=style.DASHED, linewidth=1.2, marker="", label=word("score", language))
        best = max(scores)
        epoch = epochs[scores.index(best)]
        for axes in (above, below):
            axes.axvline(epoch, color=style.SOFT, linewidth=0.9, linestyle=":", zorder=1)
        text = f"{word('chosen', language)}: {epoch:g} ({number(best, language)})"
        is_early = epoch < max(point["epoch"] for point in history) / 2
        look: dict[str, Any] = {"textcoords": "offset points", "ha": "left" if is_early else "right", "va": "top", "fontsize": 8.5}
        above.annotate(text, (epoch, 1), (4 if is_early else -4, -4), xycoords=("data", "axes fraction"), **look)
    below.set(xlabel=word("epoch", language), ylabel=word("dev_macro_f1", language), ylim=(0, 1))
    below.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if names:
        below.legend(frameon=False, fontsize=9, loc="best")
    style.finish(above, word("curves", language)[0].upper() + word("curves", language)[1:], title, "both", language)
    style.finish(below, grid="both", language=language)
    return figure


def of_tasks(
    result: EvaluationResult, scheme: Scheme, calibration: CalibrationReport | None, language: str
) -> Iterator[tuple[str, str, Figure]]:
    """Yield the task, kind and figure of each plot of an evaluation's tasks."""
    for name in result.tasks:
        task = scheme[name]
        if task.kind == "single":
            yield name, "confusion", confusion(result, task, language)
        yield name, "per_label", per_label(result, task, language)
        if calibration is not None and name in calibration.tasks:
            yield name, "reliability", reliability(calibration, task, language)


def _subtitle(measured: EvaluationResult | CalibrationReport, n: int, language: str, *metric: str) -> str:
    return " · ".join([split_title(measured.corpus, measured.split, language), f"n = {count(n, language)}", *metric])


def _macro_f1(metrics: TaskMetrics, language: str) -> str:
    return f"{word('macro_f1', language)} {number(metrics.macro_f1, language)}"


def _points(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    points = [(point["epoch"], point[name]) for point in history if name in point]
    return [x for x, _ in points], [y for _, y in points]
