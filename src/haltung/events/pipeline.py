"""From an article to its events: sentences, boilerplate, actors, labels, dyads, in this order.

predictor, actors = load_predictor(folder), Actors.load()
finder = dyad_finder(predictor, folder, actors)
prepared = prepare(article, actors)
events = finish(prepared, predictor.predict(prepared.segments), finder)
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from haltung.actors.finder import Actors, Mention
from haltung.errors import UserError, listed
from haltung.events import dyads as dyad_model
from haltung.events import plover as crosswalk
from haltung.events.records import ArticleEvents, DyadFinder, Event, LabelledArticle, LabelledSegment
from haltung.events.text.read import Article, Failure, Language, language
from haltung.events.text.sentences import Removed, Sentence, clean, split
from haltung.labels import STANCE, Scheme
from haltung.models import bundle
from haltung.models.predictor import Predictor
from haltung.records import Prediction, Segment, Span, in_context


@dataclass(frozen=True)
class ArticleSegments:
    """An article's sentences without boilerplate, also as segments with context."""

    sentences: tuple[Sentence, ...]
    removed: tuple[Removed, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class PreparedArticle(ArticleSegments):
    """An article ready to be labelled, with the actors of each segment."""

    article: Article
    language: Language
    mentions: tuple[tuple[Mention, ...], ...]


def lacks_stances(scheme: Scheme) -> str:
    """Return what a scheme has instead of the stances of events; "" if it has them."""
    if STANCE not in scheme.names:
        return f"the tasks {listed(scheme.names)}"
    unknown = [label for label in scheme[STANCE].ids if label not in crosswalk.load()]
    return f"the stances {listed(unknown)}" if unknown else ""


def load_predictor(folder: Path) -> Predictor:
    """Load a bundle with the stances of events; ``UserError`` if it has others or is invalid."""
    predictor = bundle.load(folder, graph=True)
    check_stances(predictor.scheme, folder)
    return predictor


def check_stances(scheme: Scheme, model: Path | str) -> None:
    """Raise ``UserError`` if a model has no stances, or one that is not in the crosswalk."""
    if found := lacks_stances(scheme):
        wanted = f"name a bundle with the task 'stance' and labels of the crosswalk: {listed(crosswalk.load())}"
        raise UserError(f"{model} has {found}, which can't be turned into events; {wanted}")


def dyad_finder(predictor: Predictor, folder: Path, actors: Actors) -> DyadFinder:
    """Return the finder of dyads: the model of a bundle if it reads actors, else word order.

    Sets ``predictor.actors``, so that the model and the pipeline find the same names. Dyads are
    chosen by the thresholds in the bundle's folder; ``UserError`` if these are invalid.
    """
    if not predictor.finds_dyads:
        return dyad_model.word_order
    predictor.actors = actors
    return dyad_model.load(folder)


def segments_of(article: Article) -> ArticleSegments:
    """Cut an article into segments as in training; ``UserError`` if SoMaJo is not installed."""
    offset = article.body
    sentences, removed = clean(Sentence(one.start + offset, one.end + offset, one.text) for one in split(article.text[offset:]))
    segments = [
        # Replace character by character, so that positions in segment and sentence are the same.
        Segment(
            f"{article.id}-{number:02d}", re.sub(r"\s", " ", sentence.text), article=article.id, date=article.date, source=article.source,
            headline=article.headline, position=number,
        )
        for number, sentence in enumerate(sentences)
    ]  # fmt: skip
    return ArticleSegments(sentences, removed, tuple(in_context(segments)))


def prepare(article: Article, actors: Actors) -> PreparedArticle:
    """Return an article ready to be labelled; ``UserError`` if a library is not installed."""
    parts = segments_of(article)
    mentions = actors.article([segment.text for segment in parts.segments], article.date, article.headline)
    return PreparedArticle(parts.sentences, parts.removed, parts.segments, article, language(article.text), tuple(map(tuple, mentions)))


def events_of(
    articles: Iterable[Article | Failure], predictor: Predictor, actors: Actors, dyads: DyadFinder
) -> Iterator[ArticleEvents | Failure]:
    """Yield the events of each article, labelled together, and failures unchanged.

    ``predictor`` labels topic and stance (``load_predictor``). Raises ``UserError`` if a library is
    not installed, or a stance is not in the crosswalk.
    """
    read = [one if isinstance(one, Failure) else prepare(one, actors) for one in articles]
    segments = [segment for one in read if not isinstance(one, Failure) for segment in one.segments]
    predictions = iter(predictor.predict(segments) if segments else [])
    for one in read:
        yield one if isinstance(one, Failure) else finish(one, [next(predictions) for _ in one.segments], dyads)


def finish(prepared: PreparedArticle, predictions: Sequence[Prediction], finder: DyadFinder) -> ArticleEvents:
    """Return an article's events, given its predictions; ``UserError`` for an unknown stance."""
    article = prepared.article
    labelled: list[LabelledSegment] = []
    events: list[Event] = []
    dyads = finder(LabelledArticle(prepared.segments, prepared.mentions, predictions))
    rows = zip(prepared.segments, prepared.sentences, predictions, prepared.mentions, dyads, strict=True)
    for segment, sentence, prediction, mentions, scored in rows:
        labelled.append(LabelledSegment(segment, sentence.start, sentence.end, prediction, mentions, tuple(scored)))
        for dyad in scored:
            plover = crosswalk.event(dyad.stance, segment.text)
            events.append(Event(
                article.id, segment.id, article.date, article.source, dyad.source, dyad.target, dyad.stance,
                str(prediction.labels.get("topic", "")), dyad.probability, plover.event, plover.mode, plover.quad, plover.intensity,
                sentence.start, sentence.end, _moved(dyad.source_span, sentence.start), _moved(dyad.target_span, sentence.start),
                segment.text,
            ))  # fmt: skip
    return ArticleEvents(article, prepared.language, tuple(labelled), tuple(events), prepared.removed, _notes(prepared))


def _moved(span: Span | None, by: int) -> Span | None:
    return None if span is None else (span[0] + by, span[1] + by)


def _notes(prepared: PreparedArticle) -> tuple[str, ...]:
    notes = list(prepared.article.notes)
    code = prepared.language.code
    if code not in ("", "de"):
        from babel import Locale

        foreign = f"{Locale('en').languages.get(code, code)} (probability {prepared.language.probability:.2f})"
        notes.append(f"is in {foreign}; the models only know German news, so treat its events as guesses")
    if not prepared.segments:
        notes.append("has no sentence besides boilerplate" if prepared.removed else "has no sentence")
    elif not any(prepared.mentions):
        notes.append("names no known actor, so its events have no source or target")
    return tuple(notes)
