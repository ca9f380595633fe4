"""Articles read as by ``haltung events``, with labels that a test supplies."""

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
    """Return the events of an article whose segments ``classify`` labels. By default, word order
    finds the dyads.
    """
    prepared = prepare(article, Actors.load())
    return finish(prepared, classify(prepared.segments), dyads or word_order)
