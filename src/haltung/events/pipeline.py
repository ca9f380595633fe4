"""From an article to its events: sentences, boilerplate, actors, labels, dyads, in this order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from haltung.actors.finder import Actors, Mention
from haltung.corpus.parsing.contexts import context
from haltung.events import plover as crosswalk
from haltung.events.records import ArticleEvents, Dyads, Event, LabelledSegment, Span
from haltung.events.text.boilerplate import Cleaned, clean
from haltung.events.text.language import Language, language
from haltung.events.text.read import Article
from haltung.events.text.sentences import Sentence, split
from haltung.records import Prediction, Segment

Classify = Callable[[Sequence[Segment]], list[Prediction]]

# A segment's context as the models are trained with it: the headline, the lead, and the sentence before.
BEFORE, LEAD = 1, True


@dataclass(frozen=True)
class Prepared:
    """An article before it is labelled: its segments with their places and actors, in one order, and what was found on the way."""

    article: Article
    language: Language
    segments: tuple[Segment, ...]
    sentences: tuple[Sentence, ...]
    mentions: tuple[tuple[Mention, ...], ...]
    cleaned: Cleaned
    headline: tuple[Mention, ...] = ()


def events_of(article: Article, classify: Classify, actors: Actors, dyads: Dyads) -> ArticleEvents:
    """Return what happens in an article.

    Args:
        article: from ``reading``.
        classify: labels segments; any model of the label scheme with ``topic`` and ``stance``.
        actors: finds who is named.
        dyads: tells who of them takes the stance towards whom.

    Raises:
        UserError: a library is not installed.
    """
    prepared = prepare(article, actors)
    return finish(prepared, classify(prepared.segments) if prepared.segments else [], dyads)


def prepare(article: Article, actors: Actors) -> Prepared:
    """Return the article's segments with their context and actors; to be labelled together with those of other articles."""
    offset = article.body
    found = [Sentence(one.start + offset, one.end + offset, one.text) for one in split(article.text[offset:])]
    cleaned = clean(found)
    segments: list[Segment] = []
    told: list[str] = []
    for number, sentence in enumerate(cleaned.sentences):
        # One character for one, so that places in the segment stay those in the sentence.
        plain = re.sub(r"\s", " ", sentence.text)
        before = context(article.headline, told, BEFORE, LEAD)
        segments.append(
            Segment(f"{article.id}-{number:02d}", plain, context=before, article=article.id, date=article.date, source=article.source)
        )
        told.append(plain)
    headline, *mentions = actors.article([article.headline, *told], article.date)
    rows = tuple(tuple(row) for row in mentions)
    return Prepared(article, language(article.text), tuple(segments), cleaned.sentences, rows, cleaned, tuple(headline))


def finish(prepared: Prepared, predictions: Sequence[Prediction], dyads: Dyads) -> ArticleEvents:
    """Return what happens in an article whose segments are labelled.

    Raises:
        UserError: a stance is not of the crosswalk.
    """
    article = prepared.article
    pairs = dyads.pairs(prepared.segments, prepared.mentions, predictions, prepared.headline) if prepared.segments else []
    labelled: list[LabelledSegment] = []
    events: list[Event] = []
    rows = zip(prepared.segments, prepared.sentences, predictions, prepared.mentions, pairs, strict=True)
    for segment, sentence, prediction, mentions, found in rows:
        labelled.append(LabelledSegment(segment, sentence.start, sentence.end, prediction, mentions, tuple(found)))
        for dyad in found:
            plover = crosswalk.event(dyad.stance, segment.text)
            source_span, target_span = _moved(dyad.source_span, sentence.start), _moved(dyad.target_span, sentence.start)
            event = Event(
                article.id, segment.id, article.date, article.source, dyad.source, dyad.target, dyad.stance,
                str(prediction.labels.get("topic", "")), dyad.probability, plover.event, plover.mode, plover.quad, plover.intensity,
                sentence.start, sentence.end, source_span, target_span, segment.text,
            )  # fmt: skip
            events.append(event)
    return ArticleEvents(article, prepared.language, tuple(labelled), tuple(events), prepared.cleaned.removed, _notes(prepared))


def _moved(span: Span | None, by: int) -> Span | None:
    return None if span is None else (span[0] + by, span[1] + by)


def _notes(prepared: Prepared) -> tuple[str, ...]:
    notes = list(prepared.article.notes)
    if prepared.language.is_foreign:
        name, sure = prepared.language.name, prepared.language.probability
        notes.append(f"is in {name} (probability {sure:.2f}); the models know German news only, so take its events for guesses")
    if not prepared.segments:
        notes.append("has no sentence beside boilerplate" if prepared.cleaned.removed else "has no sentence")
    elif not any(prepared.mentions):
        notes.append("names no actor that is known, so its events have no source or target")
    return tuple(notes)
