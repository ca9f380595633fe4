"""The pages of an archive: HTML files with data, style and script that load nothing else."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from haltung.actors.tables import names
from haltung.events.archive.i18n import counted, extent, say, words
from haltung.events.archive.network import Network, data, label_name
from haltung.events.archive.read import Archive
from haltung.events.archive.series import Month, Series
from haltung.files import rendered
from haltung.labels import Task


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
        "gaps": [one.is_gap for one in series.summed],
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


def digest(text: str) -> str:
    """Return the name of a style or script in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def inside(content: Mapping[str, Any]) -> str:
    """Return JSON that can't end the HTML element it is in, whatever it contains."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _rows(months: Sequence[Month]) -> list[list[float | None]]:
    return [[*one.counts, None if one.intensity is None else round(one.intensity, 2)] for one in months]


def _page(template: str, styles: Sequence[str], scripts: Sequence[str], content: Mapping[str, Any], language: str, **values: object) -> str:
    """Return a page: the script draws ``content``, and ``values`` fill the template, escaped."""
    from markupsafe import Markup

    # Style and script are our own text, data is escaped by ``inside``.
    assets = resources.files("haltung.events.archive").joinpath("assets")
    style, script = ("\n".join(assets.joinpath(name).read_text(encoding="utf-8") for name in names) for names in (styles, scripts))
    # A page has only its own style and script and loads nothing; no article's text can add to it.
    policy = f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}"
    policy += "; base-uri 'none'; form-action 'none'"
    return rendered(
        "haltung.events.archive", f"assets/{template}", language=language, word=words(language).__getitem__, policy=policy,
        style=Markup(style), script=Markup(script), words=Markup(inside(words(language))), data=Markup(inside(content)), **values,
    )  # fmt: skip
