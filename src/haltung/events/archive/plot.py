"""A pair's series as a plot: cooperation above the line, conflict below, intensity apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from haltung.actors.tables import names
from haltung.evaluation.report import style
from haltung.evaluation.report.style import BLUE, INK, ORANGE, SKY, VERMILION
from haltung.events import plover as crosswalk
from haltung.events.archive.i18n import counted, extent, say
from haltung.events.archive.series import UNCLASSED, Month, Series

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Verbal events are light, material ones dark and hatched, to differ without colours too.
_LOOKS: Mapping[int, Mapping[str, Any]] = {
    quad: {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
    for quad, colour, hatch in ((1, SKY, ""), (2, BLUE, "////"), (3, ORANGE, ""), (4, VERMILION, "\\\\\\\\"))
}


def figure(series: Series, directions: str = "summed", language: str = "en") -> Figure:
    """Draw the series; ``directions`` is ``summed``, or ``apart`` for one plot of each."""
    from matplotlib.patches import Patch

    first, second = series.pair
    parts = {"": series.summed} if directions == "summed" else {f"{first} → {second}": series.there, f"{second} → {first}": series.back}
    drawn = style.canvas(9.6, 1.2 + 3.9 * len(parts))
    rows = drawn.subplots(3 * len(parts), 1, sharex=True, height_ratios=[3.2, 0.55, 1.5] * len(parts))
    named = names(series.pair, language)
    title = say(language, "series_title", first=named[first], second=named[second])
    under = [counted(language, "events", len(series.events)), extent(language, series.months[0], series.months[-1])]
    under += [counted(language, "without", series.gaps)] if series.gaps else []
    highest = max(1, *(month.count(1) + month.count(2) for months in parts.values() for month in months))
    lowest = max(1, *(month.count(3) + month.count(4) for months in parts.values() for month in months))
    for index, (name, months) in enumerate(parts.items()):
        counts, warnings, line = rows[3 * index : 3 * index + 3]
        _counts(counts, months, highest, lowest, name, language)
        _warnings(warnings, months, language)
        _intensity(line, months, language)
        gaps = [[number for number, _ in group] for is_gap, group in groupby(enumerate(months), lambda one: one[1].is_gap) if is_gap]
        for axes in (counts, warnings, line):
            for gap in gaps:
                axes.axvspan(gap[0] - 0.5, gap[-1] + 0.5, facecolor="#F4F4F4", edgecolor="#D8D8D8", hatch="////", linewidth=0, zorder=0)
            axes.set_xlim(-0.7, len(months) - 0.3)
            style.finish(axes, title if axes is rows[0] else "", " · ".join(under), grid=None if axes is warnings else "y")
            axes.spines["bottom"].set_visible(False)
    _calendar(rows[-1], series.months)
    # The key has classes that never occur too.
    key: list[Artist] = [Patch(label=say(language, f"quad{quad}"), **_LOOKS[quad]) for quad in crosswalk.QUADS]
    drawn.legend(handles=key, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    return drawn


def _counts(axes: Axes, months: Sequence[Month], highest: int, lowest: int, name: str, language: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for sign, quads in ((1, (1, 2)), (-1, (3, 4))):
        base = np.zeros(len(months))
        # Material events are next to the line, verbal ones outside.
        for quad in reversed(quads):
            values = np.array([sign * month.count(quad) for month in months], dtype=float)
            _bars(axes, values, base, **_LOOKS[quad])
            base += values
    axes.axhline(0, color=INK, linewidth=0.9, zorder=4)
    axes.set_ylim(-1.12 * lowest, 1.12 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    axes.set_ylabel(f"{name}\n{say(language, 'per_month')}" if name else say(language, "per_month"))


def _bars(axes: Axes, values: NDArray[np.float64], bottom: NDArray[np.float64], **style: Any) -> None:
    """Draw a bar for each month with a value; a bar without height would still have an edge."""
    positions = np.flatnonzero(values)
    axes.bar(positions, values[positions], bottom=bottom[positions], width=0.86, zorder=3, **style)


def _warnings(axes: Axes, months: Sequence[Month], language: str) -> None:
    values = [month.count(UNCLASSED) for month in months]
    _bars(axes, np.array(values, dtype=float), np.zeros(len(values)), facecolor="white", edgecolor=INK, linewidth=0.8)
    axes.set_ylim(0, max(1.0, *values) * 1.25)
    axes.set_yticks([0, max(1, *values)])
    axes.set_ylabel(say(language, "warnings"), rotation=0, ha="right", va="center")


def _intensity(axes: Axes, months: Sequence[Month], language: str) -> None:
    values = [np.nan if month.intensity is None else month.intensity for month in months]
    axes.axhline(0, color=INK, linewidth=0.9, zorder=2)
    axes.plot(np.arange(len(months)), values, color=INK, linewidth=1.3, marker="o", markersize=3.2, zorder=3)
    axes.set_ylim(-11, 11)
    axes.set_yticks([-10, 0, 10], ["−10", "0", "10"])
    axes.set_ylabel(say(language, "intensity"))


def _calendar(axes: Axes, months: Sequence[str]) -> None:
    """Write years under long series, every few months under short ones."""
    by_year = len(months) > 30
    if by_year:
        step = max(1, round(len(months) / 12 / 10))
        ticks = [index for index, name in enumerate(months) if name.endswith("-01") and int(name[:4]) % step == 0]
    else:
        ticks = list(range(0, len(months), max(1, round(len(months) / 8))))
    axes.set_xticks(ticks, [months[index][: 4 if by_year else None] for index in ticks])
