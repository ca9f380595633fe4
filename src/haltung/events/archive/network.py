"""Compute the network of an archive (actors, their positions, and the data of the page's script),
and the monthly series of two actors: cooperation, conflict and mean intensity.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.actors.tables import names
from haltung.errors import UserError, listed, nearest
from haltung.events import plover as crosswalk
from haltung.events.archive.read import Archive
from haltung.events.records import Event
from haltung.labels import Scheme

if TYPE_CHECKING:
    from pandas import DataFrame

STEPS = (10, 20, 40, 80)  # numbers of actors that a page offers; it starts with 40, or 20 on a phone
# Line styles that distinguish stances without colours: siding, asking or warning, opposing.
FAMILIES: Mapping[str, str] = {
    "support": "sides", "cooperation": "sides", "concession": "sides", "request": "asks", "warning": "asks",
    "threat": "opposes", "criticism": "opposes", "rejection": "opposes", "coercion": "opposes", "neutral": "neutral",
}  # fmt: skip
UNCLASSED = 0  # the class of events without a class in PLOVER, which are warnings
CLASSES = (*crosswalk.QUADS, UNCLASSED)
Point = tuple[float, float]


@dataclass(frozen=True)
class Network:
    """The events of a page and its actors, those with the most events with others first.

    ``positions`` maps each number of drawn actors to their positions in a square from -1 to 1.
    """

    events: tuple[Event, ...]
    actors: tuple[str, ...]
    positions: Mapping[int, tuple[Point, ...]]


def months(dates: Iterable[str]) -> list[str]:
    """Return all months from the first ISO date to the last (``2006-03``), ignoring ""."""
    known = sorted({date[:7] for date in dates if date})
    return np.arange(known[0], np.datetime64(known[-1]) + 1, dtype="datetime64[M]").astype(str).tolist() if known else []


def network(events: Sequence[Event], fewest: int = 1) -> Network:
    """Return the network; ``UserError`` if no pair of different actors has ``fewest`` events."""
    if not (pairs := Counter((event.source, event.target) for event in events if event.source != event.target)):
        within_one = f"each of {len(events):,} is within one actor; inside=keep separates a state from actors inside it"
        raise UserError(f"no event can be drawn: {within_one}")
    (source, target), most = pairs.most_common(1)[0]
    if most < fewest:
        raise UserError(f"no arrow can be drawn: none has min_events={fewest} events; the largest, {source} → {target}, has {most}")
    between = Counter(code for pair, count in pairs.items() for code in pair for _ in range(count))
    within = Counter(event.source for event in events if event.source == event.target)
    actors = tuple(sorted(between.keys() | within.keys(), key=lambda code: (-between[code], -within[code], code)))
    steps = [step for step in STEPS if step < len(actors)] + [len(actors)]
    return Network(tuple(events), actors, {step: layout(actors[:step], pairs) for step in steps})


def layout(actors: Sequence[str], pairs: Collection[tuple[str, str]]) -> tuple[Point, ...]:
    """Return each actor's position, close to its partners in events (Kamada and Kawai, 1989)."""
    import networkx as nx

    if len(actors) < 3:
        return tuple((2.0 * number - 1.0, 0.0) if len(actors) > 1 else (0.0, 0.0) for number in range(len(actors)))
    graph = nx.Graph()
    graph.add_nodes_from(actors)
    graph.add_edges_from(pair for pair in pairs if all(code in graph for code in pair))
    # Unconnected actors are one step farther apart than the most distant connected ones.
    hops = dict(nx.all_pairs_shortest_path_length(graph))
    far = max(length for row in hops.values() for length in row.values()) + 1
    distances = {one: {other: hops[one].get(other, far) for other in actors} for one in actors}
    points = nx.kamada_kawai_layout(graph, dist=distances, pos=nx.circular_layout(graph))
    places = np.array([points[code] for code in actors])  # [actors, 2]
    # Scale to [-1, 1], averaged with evenly spaced ranks to spread a crowded centre.
    stretched = (places - places.min(axis=0)) / np.maximum(np.ptp(places, axis=0), 1e-9)
    ranks = places.argsort(axis=0, kind="stable").argsort(axis=0)
    return tuple((x, y) for x, y in (stretched + ranks / (len(actors) - 1) - 1.0).round(3).tolist())


def data(drawn: Network, archive: Archive, scheme: Scheme, language: str) -> dict[str, Any]:
    """Return what the page's script draws: each event is a row of indices into the other lists."""
    calendar = months(event.date for event in drawn.events)
    stances = [stance for stance in crosswalk.load() if any(event.stance == stance for event in drawn.events)]
    # An unknown label is its own name.
    stance_names, topic_names = ({one.id: one.name(language) for one in scheme[task].labels} for task in ("stance", "topic"))
    topics = sorted({event.topic for event in drawn.events if event.topic})
    actors = {code: index for index, code in enumerate(drawn.actors)}
    at = {name: index for index, name in enumerate(calendar)}
    sentences: dict[tuple[str, str, str], int] = {}
    articles: dict[tuple[str, str], int] = {}
    rows = [
        [
            actors[event.source], actors[event.target], stances.index(event.stance), topics.index(event.topic) if event.topic else -1,
            at.get(event.date[:7], -1), round(event.probability, 3),
            sentences.setdefault((event.article, event.segment, event.text), len(sentences)),
            articles.setdefault((event.article, event.medium), len(articles)), event.date,
        ]
        for event in drawn.events
    ]  # fmt: skip
    return {
        "actors": [list(pair) for pair in names(drawn.actors, language).items()],
        # The first three letters differ between stances.
        "stances": [[one, name := stance_names.get(one, one), name[:3], FAMILIES.get(one, "neutral")] for one in stances],
        "topics": [topic_names.get(topic, topic) for topic in topics],
        "months": calendar,
        "events": rows,
        "sentences": [text for *_, text in sentences],
        "articles": [[archive.headline(article), medium] for article, medium in articles],
        "places": {str(step): points for step, points in drawn.positions.items()},
    }


@dataclass(frozen=True)
class Series:
    """The months of a pair, both directions summed, and its number of dated and undated events.

    The table has one row per month (``2006-03``): the number of events in each of ``CLASSES``, and
    their mean ``intensity`` from -10 (conflict) to 10 (cooperation), NaN if no event has one.
    ``is_gap`` marks the months without an article in the archive, so nothing is known of them.
    """

    pair: tuple[str, str]
    table: "DataFrame"
    is_gap: tuple[bool, ...]
    events: int
    undated: int


def series(events: Sequence[Event], archive: Archive, pair: tuple[str, str], since: str = "", until: str = "") -> Series:
    """Return the series of two actors, from the archive's first month to its last.

    ``since`` and ``until`` limit the months (ISO days, inclusive), ``events`` are those selected.
    Raises ``UserError`` if a code is unknown, or the pair has no events or only undated ones.
    """
    import pandas as pd

    counts = Counter(code for event in events for code in dict.fromkeys((event.source, event.target)))
    for code in pair:
        if code not in counts:
            frequent = f"the most frequent are {listed(code for code, _ in counts.most_common(8))}"
            raise UserError(f"pair: '{code}' is not in any selected event{nearest(code, counts)}; {frequent}")
    first, second = pair
    if not (between := [event for event in events if {event.source, event.target} == {first, second}]):
        raise UserError(f"no selected event is between {first} and {second}; name two others with pair=, or select more events")
    if not (dated := [event for event in between if event.date]):
        raise UserError(f"none of the {len(between):,} events between {first} and {second} has a date, so there is no series of months")
    days = [day for day in (origin.date for origin in archive.articles.values()) if day and since <= day and (not until or day <= until)]
    days += [event.date for event in dated]
    calendar, covered = months(days), {day[:7] for day in days}
    rows = pd.DataFrame(dated).astype({"quad": float, "intensity": float}).fillna({"quad": UNCLASSED})

    month = rows["date"].str[:7]
    table = pd.crosstab(month, rows["quad"]).reindex(index=calendar, columns=CLASSES, fill_value=0)
    table = table.assign(intensity=rows["intensity"].groupby(month).mean())
    return Series(pair, table, tuple(one not in covered for one in calendar), len(dated), len(between) - len(dated))
