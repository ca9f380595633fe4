"""Plots as matplotlib ``Figure`` objects, without pyplot and its global state; colour-blind readers can tell the colours apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.metrics.minimal_pairs import ALL
from haltung.evaluation.metrics.results import EvaluationResult, TaskMetrics
from haltung.evaluation.report.i18n import count, number, place, word
from haltung.files import atomic_file
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), "Color Universal Design"; used in this order.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
_LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
_MARKS = ("o", "s", "^", "D", "v", "P")
INK, SOFT, FAINT = "#222222", "#666666", "#DDDDDD"
_DPI = 150
# x in the data, y from 0 (the axes' lower edge) to 1.
_EDGE = ("data", "axes fraction")


def confusion(evaluation: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw a single-label task's confusion matrix: counts written in, coloured by their share of the row (the gold label)."""
    figures = evaluation.tasks[task.name]
    counts = np.array(figures.confusion)
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
    bar.ax.set_yticklabels([f"{percent} %" if language == "de" else f"{percent}%" for percent in (0, 25, 50, 75, 100)])
    bar.set_label(word("share", language), fontsize=8, color=SOFT)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    finish(axes, f"{task.title(language)}: {word('confusion', language)}", _under(evaluation, figures, language), frame=False)
    return figure


def per_label(evaluation: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw F1 as a bar with its interval for each label, precision and recall as marks, support beside the name, macro-F1 as a line."""
    figures = evaluation.tasks[task.name]
    names = {label.id: label.name(language) for label in task.labels}
    rows = np.arange(len(task))
    figure = canvas(7.6, 1.75 + 0.36 * len(task))
    axes = figure.add_subplot()
    f1 = [label.f1 for label in figures.labels]
    axes.barh(rows, f1, height=0.62, color=SKY, label=word("f1", language), zorder=2)
    ends = [label.intervals.get("f1") for label in figures.labels]
    # A whisker would have a negative length where rounding puts an end past the figure.
    below = [max(0.0, value - end.low) if end else 0.0 for value, end in zip(f1, ends, strict=True)]
    above = [max(0.0, end.high - value) if end else 0.0 for value, end in zip(f1, ends, strict=True)]
    if any(ends):
        axes.errorbar(f1, rows, xerr=[below, above], fmt="none", ecolor=SOFT, elinewidth=1.1, capsize=2.5, zorder=3)
    # A label that is never predicted has no precision, one that never occurs no recall; a mark at 0 would say otherwise.
    precision = [label.precision if label.predicted else np.nan for label in figures.labels]
    recall = [label.recall if label.support else np.nan for label in figures.labels]
    for values, mark, colour, what in ((precision, "D", BLUE, "precision"), (recall, "o", VERMILION, "recall")):
        style: dict[str, Any] = {"marker": mark, "color": colour, "edgecolor": "white", "linewidth": 0.7, "clip_on": False, "zorder": 4}
        axes.scatter(values, rows, s=30, label=word(what, language), **style)
    axes.axvline(
        figures.macro_f1,
        color=INK,
        linestyle=(0, (4, 3)),
        linewidth=1,
        label=f"{word('macro_f1', language)} {number(figures.macro_f1, language)}",
    )
    for row, label in enumerate(figures.labels):
        value = number(label.f1, language, 2) if label.support or label.predicted else "–"
        axes.annotate(value, (1.03, row), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK, annotation_clip=False)
    axes.annotate(
        word("f1", language), (1.03, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", va="bottom", fontsize=8, color=SOFT
    )
    axes.set_yticks(rows, [f"{names[label.label]}  ({count(label.support, language)})" for label in figures.labels])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.margins(y=0.02)
    axes.set_ylabel(f"{word('label', language)} ({word('support', language)})")
    numbered(axes, language)
    axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=0)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.6 / (len(task) + 1) - 0.01), ncols=4, frameon=False, fontsize=8.5, handletextpad=0.5
    )
    finish(axes, f"{task.title(language)}: F1 {word('per_label', language)}", _under(evaluation, figures, language))
    return figure


def phenomena(evaluation: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw, for each phenomenon of a challenge set, the share of pairs with both right as a bar and the accuracy as a mark on it."""
    rows = evaluation.phenomena[task.name]
    places = np.arange(len(rows))
    figure = canvas(7.6, 1.75 + 0.36 * len(rows))
    axes = figure.add_subplot()
    bars = axes.barh(places, [row.both for row in rows], height=0.62, color=SKY, label=word("both", language), zorder=2)
    axes.bar_label(bars, [number(row.both, language, 2) for row in rows], padding=3, fontsize=9, color=INK)
    style: dict[str, Any] = {"marker": "o", "color": VERMILION, "edgecolor": "white", "linewidth": 0.7, "clip_on": False, "zorder": 4}
    axes.scatter([row.accuracy for row in rows], places, s=30, label=word("accuracy", language), **style)
    names = [word("all", language) if row.phenomenon == ALL else row.phenomenon for row in rows]
    axes.set_yticks(places, [f"{name}  ({count(row.pairs, language)})" for name, row in zip(names, rows, strict=True)])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_ylabel(f"{word('phenomenon', language)} ({word('pairs', language)})")
    numbered(axes, language)
    axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / (len(rows) + 1) - 0.01), ncols=2, frameon=False, fontsize=8.5)
    finish(axes, f"{task.title(language)} {word('phenomena', language)}", _under(evaluation, evaluation.tasks[task.name], language))
    return figure


def distribution(evaluation: EvaluationResult, task: Task, language: str = "en") -> Figure:
    """Draw how many segments have each label, beside how many are given it."""
    figures = evaluation.tasks[task.name]
    rows = np.arange(len(task))
    figure = canvas(7.6, 1.75 + 0.42 * len(task))
    axes = figure.add_subplot()
    parts = (
        ("gold", [label.support for label in figures.labels], BLUE, -0.2),
        ("predicted", [label.predicted for label in figures.labels], ORANGE, 0.2),
    )
    for name, values, colour, offset in parts:
        bars = axes.barh(rows + offset, values, height=0.38, color=colour, label=word(name, language), zorder=2)
        axes.bar_label(bars, [count(value, language) for value in values], padding=3, fontsize=8, color=INK)
    axes.set_yticks(rows, [label.name(language) for label in task.labels])
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.02)
    axes.set_xlim(left=0)
    axes.set_xlabel(word("segments", language))
    _whole(axes)
    axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=0)
    axes.legend(frameon=False, fontsize=9, loc="best")
    finish(axes, f"{task.title(language)}: {word('distribution', language)}", _under(evaluation, figures, language, with_f1=False))
    return figure


def curves(history: Sequence[Mapping[str, float]], title: str = "", language: str = "en", scheme: Scheme | None = None) -> Figure:
    """Draw the training loss, and each task's macro-F1 on dev, over the epochs.

    Args:
        history: points such as ``{"epoch": 1.0, "loss": …}`` and ``{"epoch": 1.0, "dev_stance_macro_f1": …, "dev_score": …}``; the epoch
            with the highest ``dev_score`` is marked, and the score drawn where it is not one of the tasks'.
        title: of the plot's second line, such as the run's name.
        language: ``en`` or ``de``.
        scheme: gives the tasks' names in that language; without it their ids are written.
    """
    figure = canvas(7.6, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.25])
    loss = [(point["epoch"], point["loss"]) for point in history if "loss" in point]
    above.plot(*_xy(loss), color=INK, linewidth=1.6)
    above.set_ylabel(word("training_loss", language))
    above.set_ylim(bottom=0)
    names = list(dict.fromkeys(name for point in history for name in point if name.startswith("dev_") and name.endswith("_macro_f1")))
    for place_, name in enumerate(names):
        points = [(point["epoch"], point[name]) for point in history if name in point]
        style: dict[str, Any] = {"color": _LINES[place_ % len(_LINES)], "marker": _MARKS[place_ % len(_MARKS)]}
        task = name.removeprefix("dev_").removesuffix("_macro_f1")
        title_ = scheme[task].title(language) if scheme and task in scheme.names else task
        below.plot(*_xy(points), **style, markersize=5, linewidth=1.6, label=title_)
    scores = [(point["epoch"], point["dev_score"]) for point in history if "dev_score" in point]
    if scores:
        tasks = [[point[name] for point in history if name in point] for name in names]
        if [score for _, score in scores] not in tasks:
            below.plot(*_xy(scores), color=SOFT, linestyle=(0, (4, 3)), linewidth=1.2, label=word("score", language))
        epoch, best = max(scores, key=lambda point: point[1])
        for axes in (above, below):
            axes.axvline(epoch, color=SOFT, linewidth=0.9, linestyle=":", zorder=1)
        said = f"{word('chosen', language)}: {epoch:g} ({number(best, language)})"
        early = epoch < max(point["epoch"] for point in history) / 2
        offset, side = (4, "left") if early else (-4, "right")
        above.annotate(said, (epoch, 1), (offset, -4), xycoords=_EDGE, textcoords="offset points", ha=side, va="top", fontsize=8.5)
    below.set_ylabel(word("dev_macro_f1", language))
    below.set_ylim(0, 1)
    below.set_xlabel(word("epoch", language))
    _whole(below)
    if names:
        below.legend(frameon=False, fontsize=9, loc="best")
    for axes in (above, below):
        axes.grid(color=FAINT, linewidth=0.7)
        numbered(axes, language, axis="y")
    finish(above, word("curves", language)[0].upper() + word("curves", language)[1:], title)
    finish(below, "", "")
    return figure


def save(figure: Figure, path: Path, svg: bool = False) -> list[Path]:
    """Write the figure as PNG (150 dpi), and as SVG beside it if asked; each file appears whole or not at all."""
    import matplotlib

    out = []
    for kind in ("png", "svg") if svg else ("png",):
        target = path.with_suffix(f".{kind}")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Neither date nor random ids: the same figure gives the same bytes.
        with atomic_file(target) as scratch, matplotlib.rc_context({"svg.hashsalt": target.stem, "svg.fonttype": "none"}):
            figure.savefig(scratch, format=kind, dpi=_DPI, metadata={"Date": None} if kind == "svg" else {"Software": None})
        out.append(target)
    return out


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def finish(axes: Axes, title: str, under: str, frame: bool = True) -> None:
    """Write the title and what stands under it, and leave of the frame only what is needed (nothing without ``frame``)."""
    for name, spine in axes.spines.items():
        spine.set_visible(frame and name in ("left", "bottom"))
        spine.set_color("#999999")
    axes.tick_params(labelsize=9, colors=INK, length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=9.5, color=SOFT)
    if title:
        axes.set_title(under, loc="left", fontsize=9, color=SOFT, pad=8)
        axes.annotate(
            title, (0, 1), (0, 24), xycoords="axes fraction", textcoords="offset points", fontsize=12.5, fontweight="bold", color=INK
        )


def _under(evaluation: EvaluationResult, figures: TaskMetrics, language: str, with_f1: bool = True) -> str:
    parts = [place(evaluation.corpus, evaluation.split, language), f"n = {count(figures.n, language)}"]
    if with_f1:
        parts.append(f"{word('macro_f1', language)} {number(figures.macro_f1, language)}")
    return " · ".join(parts)


def numbered(axes: Axes, language: str, axis: str = "x") -> None:
    """Write an axis's numbers as the language does."""
    from matplotlib.ticker import FuncFormatter

    def written(value: float, _: object) -> str:
        return f"{value:g}".replace(".", ",") if language == "de" else f"{value:g}"

    getattr(axes, f"{axis}axis").set_major_formatter(FuncFormatter(written))


def _whole(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _xy(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
