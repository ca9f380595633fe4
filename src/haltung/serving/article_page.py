"""Render articles and their dyads as one HTML file: the page of ``haltung serve`` with answers."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

from markupsafe import Markup

from haltung import __version__
from haltung.events.records import ArticleEvents
from haltung.files import rendered
from haltung.labels import Scheme

MOST = 200  # articles that a person may look through; output=FILE.jsonl is for archives
_STYLES = ("theme.css", "haltung.css", "result.css", "arrows.css")  # in this order
_ENTRY = "standalone.js"
_IMPORT = re.compile(r'^import (?:[^"\n]+ from )?"\./([a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def page(articles: Sequence[ArticleEvents], scheme: Scheme, language: str, count: int | None = None) -> str:
    """Return a page that needs no network, with at most ``MOST`` articles and their texts escaped.

    It opens in ``language``, ``de`` or ``en``, which a reader can change. ``count`` is the number
    of articles read, if more than ``articles``.
    """
    script, style = "\n" + _script() + "\n", "\n" + "\n".join(map(_read, _STYLES)) + "\n"
    shown = articles[:MOST]
    given = {
        "language": language, "count": max(count or 0, len(articles)), "tasks": scheme.to_dict()["tasks"],
        "articles": [_article(one) for one in shown],
    }  # fmt: skip
    title = shown[0].article.headline or shown[0].article.id if len(shown) == 1 else "Haltung"
    return rendered(
        "haltung.serving", "article_page.html.j2", language=language, title=title, foot=f"Haltung {__version__} · {scheme.name}.",
        style=Markup(style), script=Markup(script), given=given,
    )  # fmt: skip


def _article(events: ArticleEvents) -> dict[str, Any]:
    """Return an article in the format of ``POST /events``, together with its text."""
    out = events.to_dict()
    for segment, labelled in zip(out["segments"], events.segments, strict=True):
        segment["context"] = labelled.segment.context
        for values in segment["probabilities"].values():
            values.update({label: round(value, 4) for label, value in values.items()})
    return {**out, "text": events.article.text, "body": events.article.body}


def _script() -> str:
    """Return the page's modules as one script, each after those that it imports."""
    order: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in order:
            source = _read(name)
            for other in _IMPORT.findall(source):
                add(other)
            order[name] = _EXPORT.sub("", _IMPORT.sub("", source))

    add(_ENTRY)
    return "\n".join(order.values())


def _read(name: str) -> str:
    return resources.files("haltung.serving").joinpath("page", name).read_text(encoding="utf-8")
