"""How two actors treat each other by month: cooperation against conflict, and mean intensity."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haltung.actors.tables import names
from haltung.errors import UserError, listed, nearest
from haltung.events import plover as crosswalk
from haltung.events.archive.network import months
from haltung.events.archive.read import Archive
from haltung.events.records import Event

if TYPE_CHECKING:
    from pandas import DataFrame

# The class of events without one in PLOVER, which are warnings.
UNCLASSED = 0
CLASSES = (*crosswalk.QUADS, UNCLASSED)


@dataclass(frozen=True)
class Series:
    """A pair's months, summed and of each direction, its dated ``events``, and how many are not.

    Each table has a row a month (``2006-03``): the number of events of each of ``CLASSES``, and
    their mean ``intensity`` from -10 (conflict) to 10 (cooperation), NaN where no event has one.
    ``is_gap`` says of each month that the archive has no article of it, so nothing is known.
    """

    pair: tuple[str, str]
    summed: DataFrame
    there: DataFrame
    back: DataFrame
    is_gap: tuple[bool, ...]
    events: tuple[Event, ...]
    undated: int

    @property
    def months(self) -> tuple[str, ...]:
        """The names of the months, such as ``2006-03``."""
        return tuple(self.summed.index)

    @property
    def gaps(self) -> int:
        """How many months have no article."""
        return sum(self.is_gap)


def series(events: Sequence[Event], archive: Archive, pair: tuple[str, str], since: str = "", until: str = "") -> Series:
    """Return the series of two actors, from the archive's first month to its last.

    ``since`` and ``until`` are other limits (ISO days, inclusive), ``events`` the selected ones.
    Raises ``UserError`` if a code is unknown, the pair has no event, or none with a date.
    """
    import pandas as pd

    known = {code for event in events for code in (event.source, event.target)}
    for code in pair:
        if code not in known:
            counts = Counter(code for event in events for code in dict.fromkeys((event.source, event.target)))
            frequent = f"the most frequent are {listed(code for code, _ in counts.most_common(8))}"
            raise UserError(f"pair: '{code}' is in no selected event{_meant(code, known)}; {frequent}")
    first, second = pair
    if not (between := [event for event in events if {event.source, event.target} == {first, second}]):
        raise UserError(f"no event is between {first} and {second}; {_partners(events, pair)}")
    if not (dated := [event for event in between if event.date]):
        raise UserError(f"none of the {len(between):,} events between {first} and {second} has a date, so there is no series of months")
    days = [day for day in (origin.date for origin in archive.articles.values()) if day and since <= day and (not until or day <= until)]
    days += [event.date for event in dated]
    calendar, covered = months(days), {day[:7] for day in days}
    rows = pd.DataFrame(dated).astype({"quad": float, "intensity": float}).fillna({"quad": UNCLASSED})

    def by_month(*sources: str) -> DataFrame:
        own = rows[rows["source"].isin(sources)]
        month = own["date"].str[:7]
        counts = pd.crosstab(month, own["quad"]).reindex(index=calendar, columns=CLASSES, fill_value=0)
        return counts.assign(intensity=own["intensity"].groupby(month).mean())

    return Series(
        pair, by_month(first, second), by_month(first), by_month(second), tuple(month not in covered for month in calendar),
        tuple(sorted(dated, key=lambda event: event.date)), len(between) - len(dated),
    )  # fmt: skip


def _meant(code: str, known: set[str]) -> str:
    """Return a hint: the code of the actor with this name or a similar one, or the nearest code."""
    named = {name.upper(): other for language in ("de", "en") for other, name in names(sorted(known), language).items()}
    name = next(iter(difflib.get_close_matches(code, named, n=1, cutoff=0.8)), "")
    return f", did you mean '{named[name]}'?" if name else nearest(code, sorted(known))


def _partners(events: Sequence[Event], pair: tuple[str, str]) -> str:
    parts = []
    for code in pair:
        counts = Counter(event.target if event.source == code else event.source for event in events if code in (event.source, event.target))
        del counts[code]
        parts.append(f"{code} has some with {listed(other for other, _ in counts.most_common(5))}")
    return ", and ".join(parts)
