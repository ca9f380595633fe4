"""Plots of an evaluation, of a training, and of many trainings, as matplotlib ``Figure`` objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.error_analysis.slices import Slices
from haltung.evaluation.metrics.minimal_pairs import ALL
from haltung.evaluation.metrics.results import EvaluationResult, TaskMetrics
from haltung.evaluation.report.i18n import count, number, percent, split_title, word
from haltung.evaluation.report.style import (
    BLUE,
    DASHED,
    FAINT,
    INK,
    LINES,
    ORANGE,
    SKY,
    SOFT,
    VERMILION,
    beside,
    canvas,
    finish,
    integers,
    legend_below,
    line,
    localise,
    marks,
    whiskers,
)
from haltung.evaluation.report.tables import slice_title
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Beside the colour, a shape for readers who see none.
_VERDICTS = {"worse": (VERMILION, "v"), "better": (BLUE, "^"), "level": (SKY, "o")}


def confusion(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw a single-label task's confusion matrix.

    It shows counts, coloured by their share of the row (the gold label).
    """
    metrics = result.tasks[task.name]
    counts = np.array(metrics.confusion)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    size = len(task)
    figure = canvas(max(5.6, 3.5 + 0.58 * size), max(3.6, 1.9 + 0.5 * size))
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(size):
        if not support[row, 0]:
            axes.axhspan(row - 0.5, row + 0.5, facecolor="#F2F2F2", hatch="////", edgecolor="#D0D0D0", linewidth=0)
        for column in range(size):
            if counts[row, column]:
                ink = "white" if shares[row, column] > 0.55 else INK
                axes.text(column, row, count(int(counts[row, column]), language), ha="center", va="center", fontsize=9, color=ink)
    names = [label.name(language) for label in task.labels]
    axes.set_xticks(range(size), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), [f"{name}  ({total})" for name, total in zip(names, support[:, 0].tolist(), strict=True)])
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel(word("predicted", language))
    axes.set_ylabel(f"{word('gold', language)} ({word('support', language)})")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.ax.set_yticklabels([percent(value, language) for value in (0, 25, 50, 75, 100)])
    bar.set_label(word("share", language), fontsize=8, color=SOFT)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    finish(axes, f"{task.title(language)}: {word('confusion', language)}", _subtitle(result, metrics, language), frame=False)
    return figure


def per_label(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw F1 of each label as a bar with its interval, precision and recall as marks.

    Macro-F1 is a line across.
    """
    metrics = result.tasks[task.name]
    names = {label.id: label.name(language) for label in task.labels}
    rows = np.arange(len(task))
    figure = canvas(7.6, 1.75 + 0.36 * len(task))
    axes = figure.add_subplot()
    f1 = [label.f1 for label in metrics.labels]
    axes.barh(rows, f1, height=0.62, color=SKY, label=word("f1", language), zorder=2)
    intervals = [label.intervals.get("f1") for label in metrics.labels]
    if any(intervals):
        whiskers(axes, f1, rows, intervals, SOFT)
    # A label that is never predicted has no precision, one that never occurs no recall; a mark at 0
    # would be misleading.
    precision = [label.precision if label.predicted else np.nan for label in metrics.labels]
    recall = [label.recall if label.support else np.nan for label in metrics.labels]
    marks(axes, precision, rows, "D", BLUE, word("precision", language))
    marks(axes, recall, rows, "o", VERMILION, word("recall", language))
    macro_f1 = f"{word('macro_f1', language)} {number(metrics.macro_f1, language)}"
    axes.axvline(metrics.macro_f1, color=INK, linestyle=DASHED, linewidth=1, label=macro_f1)
    for row, label in enumerate(metrics.labels):
        beside(axes, row, number(label.f1, language, 2) if label.support or label.predicted else "–")
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom", "fontsize": 8, "color": SOFT}
    axes.annotate(word("f1", language), (1.03, 1), (0, 3), **style)
    axes.set_yticks(rows, [f"{names[label.label]}  ({count(label.support, language)})" for label in metrics.labels])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.margins(y=0.02)
    axes.set_ylabel(f"{word('label', language)} ({word('support', language)})")
    localise(axes, "x", language)
    legend_below(axes, 0.6 / (len(task) + 1) + 0.01, 4, handletextpad=0.5)
    finish(axes, f"{task.title(language)}: F1 {word('per_label', language)}", _subtitle(result, metrics, language), grid="x")
    return figure


def phenomena(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw the share of minimal pairs with both right as a bar, the accuracy as a mark on it."""
    metrics = result.phenomena[task.name]
    rows = np.arange(len(metrics))
    figure = canvas(7.6, 1.75 + 0.36 * len(metrics))
    axes = figure.add_subplot()
    bars = axes.barh(rows, [row.both for row in metrics], height=0.62, color=SKY, label=word("both", language), zorder=2)
    axes.bar_label(bars, [number(row.both, language, 2) for row in metrics], padding=3, fontsize=9, color=INK)
    marks(axes, [row.accuracy for row in metrics], rows, "o", VERMILION, word("accuracy", language))
    names = [word("all", language) if row.phenomenon == ALL else row.phenomenon for row in metrics]
    axes.set_yticks(rows, [f"{name}  ({count(row.pairs, language)})" for name, row in zip(names, metrics, strict=True)])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_ylabel(f"{word('phenomenon', language)} ({word('pairs', language)})")
    localise(axes, "x", language)
    legend_below(axes, 0.6 / (len(metrics) + 1) + 0.01, 2)
    subtitle = _subtitle(result, result.tasks[task.name], language)
    finish(axes, f"{task.title(language)} {word('phenomena', language)}", subtitle, grid="x")
    return figure


def distribution(result: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw how many segments have each label in gold, beside how many are predicted to."""
    metrics = result.tasks[task.name]
    rows = np.arange(len(task))
    figure = canvas(7.6, 1.75 + 0.42 * len(task))
    axes = figure.add_subplot()
    parts = (
        ("gold", [label.support for label in metrics.labels], BLUE, -0.2),
        ("predicted", [label.predicted for label in metrics.labels], ORANGE, 0.2),
    )
    for name, values, colour, offset in parts:
        bars = axes.barh(rows + offset, values, height=0.38, color=colour, label=word(name, language), zorder=2)
        axes.bar_label(bars, [count(value, language) for value in values], padding=3, fontsize=8, color=INK)
    axes.set_yticks(rows, [label.name(language) for label in task.labels])
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.02)
    axes.set_xlim(left=0)
    axes.set_xlabel(word("segments", language))
    integers(axes)
    axes.legend(frameon=False, fontsize=9, loc="best")
    subtitle = _subtitle(result, metrics, language, with_f1=False)
    finish(axes, f"{task.title(language)}: {word('distribution', language)}", subtitle, grid="x")
    return figure


def curves(history: Sequence[Mapping[str, float]], title: str = "", language: str = "en", scheme: Scheme | None = None) -> Figure:
    """Draw the training loss, and each task's macro-F1 on dev, over the epochs.

    Args:
        history: points such as ``{"epoch": 1.0, "loss": …}`` and ``{"epoch": 1.0,
            "dev_stance_macro_f1": …, "dev_score": …}``; the epoch with the highest ``dev_score`` is
            marked, and the score is drawn where it differs from each of the tasks'.
        title: the plot's second line, such as the run's name.
        language: ``en`` or ``de``.
        scheme: gives the tasks' names in that language; without it their ids are written.
    """
    figure = canvas(7.6, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.25])
    above.plot(*_points(history, "loss"), color=INK, linewidth=1.6)
    above.set_ylabel(word("training_loss", language))
    above.set_ylim(bottom=0)
    names = list(dict.fromkeys(name for point in history for name in point if name.startswith("dev_") and name.endswith("_macro_f1")))
    for index, name in enumerate(names):
        task = name.removeprefix("dev_").removesuffix("_macro_f1")
        label = scheme[task].title(language) if scheme and task in scheme.names else task
        line(below, index, *_points(history, name), label=label, markersize=5)
    epochs, scores = _points(history, "dev_score")
    if scores:
        if scores not in [_points(history, name)[1] for name in names]:
            below.plot(epochs, scores, color=SOFT, linestyle=DASHED, linewidth=1.2, label=word("score", language))
        best = max(scores)
        epoch = epochs[scores.index(best)]
        for axes in (above, below):
            axes.axvline(epoch, color=SOFT, linewidth=0.9, linestyle=":", zorder=1)
        text = f"{word('chosen', language)}: {epoch:g} ({number(best, language)})"
        is_early = epoch < max(point["epoch"] for point in history) / 2
        style: dict[str, Any] = {"textcoords": "offset points", "ha": "left" if is_early else "right", "va": "top", "fontsize": 8.5}
        above.annotate(text, (epoch, 1), (4 if is_early else -4, -4), xycoords=("data", "axes fraction"), **style)
    below.set_ylabel(word("dev_macro_f1", language))
    below.set_ylim(0, 1)
    below.set_xlabel(word("epoch", language))
    integers(below)
    if names:
        below.legend(frameon=False, fontsize=9, loc="best")
    for axes in (above, below):
        localise(axes, "y", language)
    finish(above, word("curves", language)[0].upper() + word("curves", language)[1:], title, grid="both")
    finish(below, grid="both")
    return figure


def slices(analysis: Slices, scheme: Scheme, task: Task, language: str = "en", limit: int = 30) -> Figure:
    """Draw each judged slice's difference in accuracy to the rest, worse ones first.

    Each is a mark with its 95 % interval.

    Args:
        analysis: the slices.
        scheme: names the labels of the other tasks.
        task: the task whose slices are drawn.
        language: ``en`` or ``de``.
        limit: how many at most; the ones that differ least are left out.
    """
    judged = [row for row in analysis.tasks.get(task.name, ()) if row.verdict != "few"]
    largest = sorted(judged, key=lambda row: (row.verdict == "level", -abs(row.difference)))[:limit]
    rows = [row for row in judged if row in largest]
    figure = canvas(7.6, 1.75 + 0.28 * max(1, len(rows)))
    axes = figure.add_subplot()
    for verdict, (colour, marker) in _VERDICTS.items():
        indices = [index for index, row in enumerate(rows) if row.verdict == verdict]
        if indices:
            values = np.array([rows[index].difference for index in indices])
            ends = np.array([(rows[index].low, rows[index].high) for index in indices], dtype=np.float64).T
            style: dict[str, Any] = {"fmt": marker, "color": colour, "markersize": 6, "elinewidth": 1.4, "zorder": 3}
            axes.errorbar(values, indices, xerr=np.abs(ends - values), label=word(f"slice_{verdict}", language), **style)
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for index, row in enumerate(rows):
        beside(axes, index, number(row.accuracy, language, 2), x=1.02, fontsize=8.5, color=SOFT)
    axes.set_yticks(range(len(rows)), [f"{slice_title(row, scheme, language)}  ({count(row.n, language)})" for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(word("accuracy_difference", language))
    localise(axes, "x", language)
    if rows:
        legend_below(axes, 0.75 / (0.28 * len(rows) + 0.5) + 0.02, 3)
    finish(axes, f"{task.title(language)} {word('by_slice', language)}", word("accuracy", language), grid="x")
    return figure


def sweep_history(
    finished: Sequence[tuple[int, float]],
    pruned: Sequence[tuple[int, float]],
    subtitle: str,
    language: str = "en",
    start: float | None = None,
) -> Figure:
    """Draw each trial's score over its number, and the best so far as a line.

    Args:
        finished: number and score of the trials that were finished, in order.
        pruned: number and last score of those that were stopped early.
        subtitle: the second line of the title.
        language: ``en`` or ``de``.
        start: the score of the recipe before the sweep, drawn across.
    """
    figure = canvas(7.6, 4.0)
    axes = figure.add_subplot()
    if start is not None:
        axes.axhline(start, color=SOFT, linewidth=1.2, linestyle=DASHED, label=word("as_it_stands", language), zorder=1)
    numbers, scores = zip(*finished, strict=True) if finished else ((), ())
    axes.scatter(numbers, scores, s=34, color=BLUE, edgecolor="white", linewidth=0.7, label=word("finished", language), zorder=4)
    if pruned:
        x, y = zip(*pruned, strict=True)
        axes.scatter(x, y, s=30, color=SOFT, marker="x", linewidth=1.2, label=word("pruned", language), zorder=3)
    axes.step(numbers, np.maximum.accumulate(scores), where="post", color=VERMILION, linewidth=1.6, label=word("best_so_far", language))
    axes.set_xlabel(word("trial", language))
    axes.set_ylabel(word("dev_macro_f1", language))
    integers(axes)
    # Below, since trials may lie anywhere inside.
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=4)
    localise(axes, "y", language)
    finish(axes, word("sweep_history", language), subtitle, grid="y")
    return figure


def importance(shares: Mapping[str, float], subtitle: str, language: str = "en") -> Figure:
    """Draw how much of the scores' variance each key explains (fANOVA), the largest share above."""
    names = sorted(shares, key=shares.__getitem__, reverse=True)
    figure = canvas(7.6, 1.6 + 0.38 * len(names))
    axes = figure.add_subplot()
    bars = axes.barh(range(len(names)), [shares[name] for name in names], height=0.62, color=SKY, zorder=2)
    axes.bar_label(bars, [number(shares[name], language, 2) for name in names], padding=3, fontsize=9, color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1e-9, *shares.values()) * 1.12)
    axes.set_xlabel(word("importance_share", language))
    localise(axes, "x", language)
    finish(axes, word("importance", language), subtitle, grid="x")
    return figure


def learning_curve(points: Mapping[str, Sequence[tuple[float, float, float | None]]], subtitle: str, language: str = "en") -> Figure:
    """Draw macro-F1 on dev over the number of training segments, on a logarithmic axis.

    Args:
        points: for each task its points of size, mean and standard deviation (None for a single
            seed).
        subtitle: the second line of the title.
        language: ``en`` or ``de``.
    """
    figure = canvas(7.6, 4.4)
    axes = figure.add_subplot()
    for index, (name, rows) in enumerate(points.items()):
        sizes, means = [row[0] for row in rows], np.array([row[1] for row in rows])
        deviations = np.array([row[2] or 0.0 for row in rows])
        line(axes, index, sizes, means, label=name, markersize=5.5, zorder=3)
        if deviations.any():
            colour = LINES[index % len(LINES)]
            axes.fill_between(sizes, means - deviations, means + deviations, color=colour, alpha=0.15, linewidth=0, zorder=2)
    ticks = sorted({row[0] for rows in points.values() for row in rows})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(word("train_segments", language))
    axes.set_ylabel(word("dev_macro_f1", language))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    localise(axes, "y", language)
    finish(axes, word("learning_curve", language), subtitle, grid="y")
    return figure


def _subtitle(result: EvaluationResult, metrics: TaskMetrics, language: str, with_f1: bool = True) -> str:
    parts = [split_title(result.corpus, result.split, language), f"n = {count(metrics.n, language)}"]
    if with_f1:
        parts.append(f"{word('macro_f1', language)} {number(metrics.macro_f1, language)}")
    return " · ".join(parts)


def _points(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    points = [(point["epoch"], point[name]) for point in history if name in point]
    return [x for x, _ in points], [y for _, y in points]
