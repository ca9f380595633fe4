"""A pair's series as a page: the plot, month by month to read, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence

from haltung.actors.names import names
from haltung.events.archive.i18n import counted, extent, say
from haltung.events.archive.months import month
from haltung.events.archive.page import page
from haltung.events.archive.read import Archive
from haltung.events.archive.series import Month, Series
from haltung.events.records import Event
from haltung.labels import Task


def series_page(
    found: Series, archive: Archive, stances: Task, language: str, *, directions: str = "summed", notes: Sequence[str] = ()
) -> str:
    """Return the page as HTML.

    Args:
        found: from ``series``.
        archive: gives the articles' headlines.
        stances: names the stances.
        language: ``en`` or ``de``.
        directions: what is drawn at first, ``summed`` or ``apart``; the page has both.
        notes: what a reader has to know of the choice of events.
    """
    first, second = found.pair
    named = names(found.pair, language)
    told = [counted(language, "gaps", found.gaps)] if found.gaps else []
    told.append(say(language, "zeros"))
    if found.gaps and not found.is_whole:
        told.append(say(language, "only_tables"))
    if found.undated:
        told.append(say(language, "series_undated", events=counted(language, "events", found.undated)))
    summary = [counted(language, "events", found.total), extent(language, found.months)]
    return page(
        "series.html.j2",
        ("page.css", "series.css"),
        ("words.js", "series.js"),
        {
            "months": found.months,
            "gaps": [one.is_gap for one in found.summed],
            "directions": {"summed": _rows(found.summed), "there": _rows(found.there), "back": _rows(found.back)},
            "names": {"summed": f"{first} ↔ {second}", "there": f"{first} → {second}", "back": f"{second} → {first}"},
            "events": [_event(event, found, archive, stances, language) for event in found.events],
            "first": directions,
        },
        language,
        title=say(language, "series_title", first=named[first], second=named[second]),
        summary=", ".join(summary),
        notes=[*told, *notes, say(language, "machine")],
    )


def _rows(months: Sequence[Month]) -> list[list[float | None]]:
    return [[*month.counts, None if month.intensity is None else round(month.intensity, 2)] for month in months]


def _event(event: Event, found: Series, archive: Archive, stances: Task, language: str) -> list[object]:
    stance = next((one.name(language) for one in stances.labels if one.id == event.stance), event.stance)
    where = [event.date, archive.headline(event.article), event.medium]
    return [
        found.months.index(month(event.date)),
        f"{event.source} → {event.target}",
        event.stance,
        stance,
        round(event.probability, 3),
        event.text,
        *where,
    ]
