"""Articles read as ``haltung events`` reads them, with labels that a test decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from haltung.actors.finder import Actors
from haltung.events.dyads import word_order
from haltung.events.pipeline import finish, prepare
from haltung.events.records import ArticleEvents, DyadFinder
from haltung.events.text.read import Article
from haltung.records import Prediction, Segment


def events_of(
    article: Article, classify: Callable[[Sequence[Segment]], list[Prediction]], dyads: DyadFinder | None = None
) -> ArticleEvents:
    """Return what happens in an article whose segments ``classify`` labels; dyads by word order
    where none are given.
    """
    prepared = prepare(article, Actors.load())
    return finish(prepared, classify(prepared.segments), dyads or word_order)
