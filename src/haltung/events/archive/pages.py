"""Render the page and the plot of an archive, in German or English.

The page is one self-contained HTML file with data, style and script. The plot of a pair's series
shows cooperation above the zero line, conflict below it, and intensity in a panel of its own.
"""

import datetime
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from haltung.actors.tables import names
from haltung.evaluation.report import i18n, style
from haltung.evaluation.report.style import BLUE, INK, ORANGE, SKY, VERMILION
from haltung.events.archive.network import UNCLASSED, Network, Series, data
from haltung.events.archive.read import Archive
from haltung.files import rendered
from haltung.labels import Scheme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {1: SKY, 2: BLUE, 3: ORANGE, 4: VERMILION}  # verbal events are light, material dark


def words(language: str) -> Mapping[str, str]:
    """Return all texts of a language by key; ``say`` or a script fills in the names in braces."""
    return i18n.words("haltung.events.archive", language, "assets", "words.tsv")


def say(language: str, key: str, **values: object) -> str:
    """Return the text under ``key`` with the values filled in."""
    return words(language)[key].format(**values)


def counted(language: str, key: str, count: int) -> str:
    """Return ``1 event``, ``1,234 events``, ``1.234 Ereignisse``."""
    key = f"{key}_one" if count == 1 and f"{key}_one" in words(language) else key
    return say(language, key, n=i18n.count(count, language, grouped_from=1000))


def extent(language: str, first: str, last: str) -> str:
    """Format two ISO months or days: ``März 2006 bis Mai 2007``, ``Dec 4, 2004 to Mar 6, 2022``."""
    from babel.dates import format_date, format_skeleton

    def written(date: str) -> str:
        if len(date) == 7:
            return str(format_skeleton("yMMM", datetime.date.fromisoformat(f"{date}-01"), locale=language))
        return str(format_date(datetime.date.fromisoformat(date), "medium", language))

    return say(language, "span", **{"from": written(first), "to": written(last)})


def network_page(network: Network, archive: Archive, scheme: Scheme, language: str, *, fewest: int = 1, notes: Sequence[str] = ()) -> str:
    """Return the page of a network, with a matrix and a table, as HTML.

    ``scheme`` names topics and stances, ``fewest`` is the initial minimum of events per arrow, and
    ``notes`` tell the reader about the selection.
    """
    content = data(network, archive, scheme, language) | {"fewest": fewest}
    months = len(content["months"])
    undated = sum(not event.date for event in network.events)
    of_dates = [say(language, "undated", events=counted(language, "events", undated))] if undated and months > 1 else []
    # Style and script are our own and trusted; words and data are escaped as JSON.
    assets = resources.files("haltung.events.archive").joinpath("assets")
    styles, scripts = ("page.css", "network.css"), ("words.js", "tally.js", "network.js", "panel.js", "matrix.js", "time.js", "page.js")
    style, script = ("\n".join(assets.joinpath(name).read_text(encoding="utf-8") for name in names) for names in (styles, scripts))
    return rendered(
        "haltung.events.archive", "assets/network.html.j2", language=language, word=words(language).__getitem__,
        style=Markup(style), script=Markup(script), words=words(language),
        data=content, summary=summary(network, language), slider="months" if months > 1 else "one_month" if months else "no_dates",
        notes=[*of_dates, *notes, say(language, "machine")],
    )  # fmt: skip


def summary(network: Network, language: str) -> str:
    """Summarise what is drawn: ``501 events, 149 articles, Dec 4, 2004 to Mar 6, 2022``."""
    articles = len({event.article for event in network.events})
    parts = [counted(language, "events", len(network.events)), counted(language, "articles", articles)]
    dates = sorted(event.date for event in network.events if event.date)
    return ", ".join([*parts, extent(language, dates[0], dates[-1])] if dates else parts)


def figure(series: Series, language: str = "en") -> "Figure":
    """Draw the events of each month by class, and their mean intensity below."""
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    drawn, months = style.canvas(9.6, 4.7), series.table
    counts, line = drawn.subplots(2, 1, sharex=True, height_ratios=[3.2, 1.5])
    named = names(series.pair, language)
    title = say(language, "series_title", first=named[series.pair[0]], second=named[series.pair[1]])
    under = [counted(language, "events", series.events), extent(language, months.index[0], months.index[-1])]
    beside = {"unclassed": int(months[UNCLASSED].sum()), "dateless": series.undated, "without": sum(series.is_gap)}
    under += [counted(language, key, count) for key, count in beside.items() if count]
    highest, lowest = (max(1, months[quads].sum(axis="columns").max()) for quads in ([1, 2], [3, 4]))
    gaps = [[number for number, _ in group] for is_gap, group in groupby(enumerate(series.is_gap), lambda one: one[1]) if is_gap]
    for sign, quads in ((1, (2, 1)), (-1, (4, 3))):  # material events are next to the line
        base = np.zeros(len(months))
        for quad in quads:
            heights = sign * months[quad].to_numpy()
            drawable = np.flatnonzero(heights)  # one mistyped date makes a calendar of thousands of months
            counts.bar(drawable, heights[drawable], bottom=base[drawable], width=0.86, color=_COLOURS[quad], zorder=3)
            base += heights
    counts.set_ylim(-1.12 * lowest, 1.12 * highest)
    counts.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, steps=[1, 2, 5, 10]))
    counts.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    counts.set_ylabel(say(language, "per_month"))
    line.plot(np.arange(len(months)), months["intensity"], color=INK, linewidth=1.3, marker="o", markersize=3.2, zorder=3)
    line.set_ylim(-11, 11)
    line.set_yticks([-10, 0, 10], ["−10", "0", "10"])
    line.set_ylabel(say(language, "intensity"))
    for axes in (counts, line):
        axes.axhline(0, color=INK, linewidth=0.9, zorder=4 if axes is counts else 2)
        for gap in gaps:
            axes.axvspan(gap[0] - 0.5, gap[-1] + 0.5, facecolor="#F4F4F4", edgecolor="#D8D8D8", hatch="////", linewidth=0, zorder=0)
        axes.set_xlim(-0.7, len(months) - 0.3)
        style.finish(axes, title if axes is counts else "", " · ".join(under), grid="y")
        axes.spines["bottom"].set_visible(False)
    by_year = len(months) > 30  # years under long series, every few months under short ones
    step = max(1, round(len(months) / (120 if by_year else 8)))
    years = [at for at, name in enumerate(months.index) if name.endswith("-01") and int(name[:4]) % step == 0]
    ticks = years if by_year else list(range(0, len(months), step))
    line.set_xticks(ticks, [months.index[at][: 4 if by_year else None] for at in ticks])
    # The legend also has classes that never occur.
    key = [Patch(facecolor=colour, label=say(language, f"quad{quad}")) for quad, colour in _COLOURS.items()]
    drawn.legend(handles=key, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    return drawn
