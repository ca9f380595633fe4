"""The style of plots: colours, frame, labels; without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from haltung.evaluation.report.i18n import localised
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.files import atomic_file, table
from haltung.labels import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# For colour-blind readers: Okabe and Ito (2008), "Color Universal Design"; used in this order.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
INK, SOFT, FAINT = "#222222", "#666666", "#DDDDDD"
LINES, MARKERS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY), ("o", "s", "^", "D", "v", "P")
DASHED = (0, (4, 3))


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG (150 dpi), atomically, and return its path."""
    target = path.with_suffix(".png")
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as scratch:
        # Omit matplotlib's version, so that the same figure gives the same bytes.
        figure.savefig(scratch, format="png", dpi=150, metadata={"Software": None})
    return target


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def panel(width: float, height: float) -> Axes:
    """Return the only axes of a figure of this size in inches."""
    return canvas(width, height).add_subplot()


def finish(
    axes: Axes, title: str = "", subtitle: str = "", grid: Literal["x", "y", "both"] | None = None, language: str = "", frame: bool = True
) -> Figure:
    """Write title and subtitle, draw the grid, hide the top and right spines; return the figure.

    If ``language`` is given, tick labels along the grid are in its format.
    """
    from matplotlib.ticker import FuncFormatter

    for name, spine in axes.spines.items():
        spine.set_visible(frame and name in ("left", "bottom"))
        spine.set_color("#999999")
    axes.tick_params(labelsize=9, colors=INK, length=0)
    if grid:
        axes.grid(axis=grid, color=FAINT, linewidth=0.7, zorder=0)
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        axis.label.set(fontsize=9.5, color=SOFT)
        if language and grid in (name, "both"):
            axis.set_major_formatter(FuncFormatter(lambda value, _: localised(f"{value:g}", language)))
    if title:
        axes.set_title(subtitle, loc="left", fontsize=9, color=SOFT, pad=8)
        axes.annotate(title, (0, 1), (0, 24), xycoords="axes fraction", textcoords="offset points", size=12.5, weight="bold", color=INK)
    return cast("Figure", axes.figure)


def reach(values: Sequence[float], intervals: Sequence[Interval | None]) -> np.ndarray:
    """Return how far each interval, if any, extends below and above its value, ``[2, n]``."""
    ends = [(value - end.low, end.high - value) if end else (0.0, 0.0) for value, end in zip(values, intervals, strict=True)]
    # Rounding may move an end past the value; matplotlib raises for negative lengths.
    return np.maximum(ends, 0).T


def beside(axes: Axes, row: float, text: str) -> None:
    """Write ``text`` to the right of a row."""
    axes.annotate(text, (1.03, row), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK, annotation_clip=False)


def tint(task: Task) -> dict[str, str]:
    """Return a pale colour per label: its own in ``tints.tsv``, or one from there by position."""
    known = dict(table("haltung.evaluation.report", "tints.tsv"))
    return {label: known.get(label, list(known.values())[place % len(known)]) for place, label in enumerate(task.ids)}
