"""The pages and plots of an archive, with their words in German and English.

A page is an HTML file with data, style and script that loads nothing else. The plot of a pair's
series has cooperation above the line, conflict below it, and intensity apart.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from haltung.actors.tables import names
from haltung.evaluation.report import i18n, style
from haltung.evaluation.report.style import BLUE, INK, ORANGE, SKY, VERMILION
from haltung.events import plover as crosswalk
from haltung.events.archive.network import UNCLASSED, Network, Series, data, label_name
from haltung.events.archive.read import Archive
from haltung.files import rendered
from haltung.labels import Task

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

# Verbal events are light, material ones dark and hatched, to differ without colours too.
_LOOKS: Mapping[int, Mapping[str, Any]] = {
    quad: {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
    for quad, colour, hatch in ((1, SKY, ""), (2, BLUE, "////"), (3, ORANGE, ""), (4, VERMILION, "\\\\\\\\"))
}


def words(language: str) -> Mapping[str, str]:
    """Return all words of a language by key; ``say`` or a script fills in names in braces."""
    return i18n.words("haltung.events.archive", language, "assets", "words.tsv")


def say(language: str, key: str, **values: object) -> str:
    """Return the words under ``key`` with the values filled in."""
    return words(language)[key].format(**values)


def counted(language: str, key: str, count: int) -> str:
    """Return ``1 event``, ``1,234 events``, ``1.234 Ereignisse``."""
    key = f"{key}_one" if count == 1 and f"{key}_one" in words(language) else key
    return say(language, key, n=i18n.count(count, language, grouped_from=1000))


def extent(language: str, first: str, last: str) -> str:
    """Return two ISO months or days: ``März 2006 bis Mai 2007``, ``Dec 4, 2004 to Mar 6, 2022``."""
    from babel.dates import format_date, format_skeleton

    def written(date: str) -> str:
        if len(date) == 7:
            return str(format_skeleton("yMMM", datetime.date.fromisoformat(f"{date}-01"), locale=language))
        return str(format_date(datetime.date.fromisoformat(date), "medium", language))

    return say(language, "span", **{"from": written(first), "to": written(last)})


def network_page(
    network: Network, archive: Archive, tasks: Mapping[str, Task], language: str, *, fewest: int = 1, notes: Sequence[str] = ()
) -> str:
    """Return the page of a network, with a matrix and a table, as HTML.

    ``tasks`` are ``topic`` and ``stance``, ``fewest`` is how many events an arrow has at least, at
    first, and ``notes`` say what a reader has to know of the selection.
    """
    content = data(network, archive, tasks, language) | {"fewest": fewest}
    months = len(content["months"])
    undated = sum(not event.date for event in network.events)
    of_dates = [say(language, "undated", events=counted(language, "events", undated))] if undated and months > 1 else []
    scripts = ("words.js", "tally.js", "network.js", "panel.js", "matrix.js", "time.js", "page.js")
    return _page(
        "network.html.j2", ("page.css", "network.css"), scripts, content, language,
        summary=summary(network, language), slider="months" if months > 1 else "one_month" if months else "no_dates",
        notes=[*of_dates, *notes, say(language, "machine")],
    )  # fmt: skip


def summary(network: Network, language: str) -> str:
    """Return what is drawn: ``501 events, 149 articles, Dec 4, 2004 to Mar 6, 2022``."""
    articles = len({event.article for event in network.events})
    parts = [counted(language, "events", len(network.events)), counted(language, "articles", articles)]
    dates = sorted(event.date for event in network.events if event.date)
    return ", ".join([*parts, extent(language, dates[0], dates[-1])] if dates else parts)


def series_page(
    series: Series, archive: Archive, stances: Task, language: str, *, directions: str = "summed", notes: Sequence[str] = ()
) -> str:
    """Return the page of a pair's series, as a plot, to read by month, and as a table, as HTML.

    ``directions`` is drawn at first, ``summed`` or ``apart``; the page has both.
    """
    first, second = series.pair
    named = names(series.pair, language)
    all_notes = [counted(language, "gaps", series.gaps)] if series.gaps else []
    all_notes.append(say(language, "zeros"))
    if series.gaps and not archive.is_whole:
        all_notes.append(say(language, "only_tables"))
    if series.undated:
        all_notes.append(say(language, "series_undated", events=counted(language, "events", series.undated)))
    content = {
        "months": series.months,
        "gaps": series.is_gap,
        "directions": {"summed": _rows(series.summed), "there": _rows(series.there), "back": _rows(series.back)},
        "names": {"summed": f"{first} ↔ {second}", "there": f"{first} → {second}", "back": f"{second} → {first}"},
        "events": [
            [
                series.months.index(event.date[:7]), f"{event.source} → {event.target}", event.stance,
                label_name(stances, event.stance, language), round(event.probability, 3), event.text, event.date,
                archive.headline(event.article), event.medium,
            ]
            for event in series.events
        ],
        "first": directions,
    }  # fmt: skip
    return _page(
        "series.html.j2", ("page.css", "series.css"), ("words.js", "series.js"), content, language,
        title=say(language, "series_title", first=named[first], second=named[second]),
        summary=f"{counted(language, 'events', len(series.events))}, {extent(language, series.months[0], series.months[-1])}",
        notes=[*all_notes, *notes, say(language, "machine")],
    )  # fmt: skip


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
    highest, lowest = (max(1, *(months[quads].sum(axis="columns").max() for months in parts.values())) for quads in ([1, 2], [3, 4]))
    for index, (name, months) in enumerate(parts.items()):
        counts, warnings, line = rows[3 * index : 3 * index + 3]
        _counts(counts, months, highest, lowest, name, language)
        _warnings(warnings, months, language)
        _intensity(line, months, language)
        gaps = [[number for number, _ in group] for is_gap, group in groupby(enumerate(series.is_gap), lambda one: one[1]) if is_gap]
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


def _counts(axes: Axes, months: DataFrame, highest: int, lowest: int, name: str, language: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for sign, quads in ((1, (1, 2)), (-1, (3, 4))):
        base = np.zeros(len(months))
        # Material events are next to the line, verbal ones outside.
        for quad in reversed(quads):
            values = sign * months[quad].to_numpy(dtype=float)
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


def _warnings(axes: Axes, months: DataFrame, language: str) -> None:
    highest = max(1, months[UNCLASSED].max())
    _bars(axes, months[UNCLASSED].to_numpy(dtype=float), np.zeros(len(months)), facecolor="white", edgecolor=INK, linewidth=0.8)
    axes.set_ylim(0, highest * 1.25)
    axes.set_yticks([0, highest])
    axes.set_ylabel(say(language, "warnings"), rotation=0, ha="right", va="center")


def _intensity(axes: Axes, months: DataFrame, language: str) -> None:
    axes.axhline(0, color=INK, linewidth=0.9, zorder=2)
    axes.plot(np.arange(len(months)), months["intensity"], color=INK, linewidth=1.3, marker="o", markersize=3.2, zorder=3)
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


def digest(text: str) -> str:
    """Return the name of a style or script in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _rows(months: DataFrame) -> list[list[float | None]]:
    return [[*counts, None if np.isnan(mean) else round(mean, 2)] for *counts, mean in months.itertuples(index=False)]


def _page(template: str, styles: Sequence[str], scripts: Sequence[str], content: Mapping[str, Any], language: str, **values: object) -> str:
    """Return a page: the script draws ``content``, and ``values`` fill the template, escaped."""
    from markupsafe import Markup

    # Style and script are our own text; words and data are escaped as JSON.
    assets = resources.files("haltung.events.archive").joinpath("assets")
    style, script = ("\n".join(assets.joinpath(name).read_text(encoding="utf-8") for name in names) for names in (styles, scripts))
    # A page has only its own style and script and loads nothing; no article's text can add to it.
    policy = f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}"
    policy += "; base-uri 'none'; form-action 'none'"
    return rendered(
        "haltung.events.archive", f"assets/{template}", language=language, word=words(language).__getitem__, policy=policy,
        style=Markup(style), script=Markup(script), words=words(language), data=content, **values,
    )  # fmt: skip
