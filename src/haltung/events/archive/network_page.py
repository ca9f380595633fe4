"""The page of an archive: a network of who takes which stance towards whom, a matrix and a table, in one file."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from haltung.events.archive.i18n import counted, say
from haltung.events.archive.network import Network, data
from haltung.events.archive.page import page
from haltung.events.archive.read import Archive
from haltung.labels import Task

_STYLES = ("page.css", "network.css")
_SCRIPTS = ("words.js", "tally.js", "network.js", "panel.js", "matrix.js", "time.js", "page.js")


def network_page(
    drawn: Network, archive: Archive, tasks: Mapping[str, Task], language: str, *, fewest: int = 1, notes: Sequence[str] = ()
) -> str:
    """Return the page as HTML.

    Args:
        drawn: the events and where their actors stand.
        archive: what they were chosen from.
        tasks: ``topic`` and ``stance``, for their labels' names.
        language: ``en`` or ``de``.
        fewest: how many events an arrow has at least, at first.
        notes: what a reader has to know of the choice, beside what the page says by itself.
    """
    content = data(drawn, archive, tasks, language) | {"fewest": fewest}
    months = len(content["months"])
    undated = sum(not event.date for event in drawn.events)
    told = [*notes, say(language, "machine")]
    if undated and months > 1:
        told.insert(0, say(language, "undated", events=counted(language, "events", undated)))
    return page(
        "network.html.j2",
        _STYLES,
        _SCRIPTS,
        content,
        language,
        summary=summary(drawn, language),
        slider="months" if months > 1 else "one_month" if months else "no_dates",
        notes=told,
    )


def summary(drawn: Network, language: str) -> str:
    """Return what is drawn in one line: ``501 events, 149 articles, Dec 4, 2004 to Mar 6, 2022``."""
    from babel.dates import format_date

    articles = len({event.article for event in drawn.events})
    parts = [counted(language, "events", len(drawn.events)), counted(language, "articles", articles)]
    dates = sorted(event.date for event in drawn.events if event.date)
    if dates:
        first, last = (format_date(datetime.date.fromisoformat(date), "medium", language) for date in (dates[0], dates[-1]))
        parts.append(say(language, "span", **{"from": first, "to": last}))
    return ", ".join(parts)
