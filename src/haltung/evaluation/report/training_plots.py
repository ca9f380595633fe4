"""Plots of a training and of many trainings as matplotlib ``Figure`` objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.report import style
from haltung.evaluation.report.i18n import number, word
from haltung.labels import Scheme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    figure, axes = style.panel(7.6, 4.0)
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
    style.finish(axes, word("sweep_history", language), subtitle, "y", language)
    return figure


def importance(shares: Mapping[str, float], subtitle: str, language: str = "en") -> Figure:
    """Draw how much of the scores' variance each key explains (fANOVA), the largest share above."""
    names = sorted(shares, key=shares.__getitem__, reverse=True)
    figure, axes = style.rows(names, 1.6 + 0.38 * len(names))
    bars = axes.barh(range(len(names)), [shares[name] for name in names], height=0.62, color=style.SKY, zorder=2)
    axes.bar_label(bars, [number(shares[name], language, 2) for name in names], padding=3, fontsize=9, color=style.INK)
    axes.set(xlim=(0, max(1e-9, *shares.values()) * 1.12), xlabel=word("importance_share", language))
    style.finish(axes, word("importance", language), subtitle, "x", language)
    return figure


def learning_curve(points: Mapping[str, Sequence[tuple[float, float, float | None]]], subtitle: str, language: str = "en") -> Figure:
    """Draw macro-F1 on dev over the number of training segments, on a logarithmic axis.

    A task's points are size, mean and standard deviation (None for a single seed).
    """
    figure, axes = style.panel(7.6, 4.4)
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
    style.finish(axes, word("learning_curve", language), subtitle, "y", language)
    return figure


def _points(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    points = [(point["epoch"], point[name]) for point in history if name in point]
    return [x for x, _ in points], [y for _, y in points]
