"""Dyads held against gold: what is found in the segments of whole articles, and the choice of dyads that does best on dev."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from haltung.actors.finder import Actors, Mention
from haltung.errors import UserError
from haltung.evaluation.metrics import minimal_pairs as challenge
from haltung.evaluation.metrics.dyads import PARTS, WHOLE
from haltung.events.dyads.features import ITSELF, ROLES, STATE, Candidate
from haltung.events.dyads.model import Trained
from haltung.events.dyads.thresholds import Choice
from haltung.events.pipeline import Classify
from haltung.events.records import Dyads, ScoredDyad
from haltung.records import Dyad, Prediction, Segment

# What each number of the choice is tried with, one after the other, so many times over.
GRID: Mapping[str, tuple[float, ...]] = {
    "neutral": (0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0),
    "nobody": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0),
    "alike": (0.03, 0.1, 0.3, 0.6, 1.0),
    "least": (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8),
}
_ROUNDS = 2

# The two figures whose mean is to be as high as possible.
AIMS = (WHOLE, "source, stance")


@dataclass(frozen=True)
class Read:
    """Segments with the sentence model's predictions, and of each article the places of its segments and their mentions."""

    segments: tuple[Segment, ...]
    predictions: tuple[Prediction, ...]
    articles: tuple[tuple[tuple[int, ...], tuple[tuple[Mention, ...], ...], tuple[Mention, ...]], ...]

    @property
    def gold(self) -> list[tuple[Dyad, ...]]:
        """The gold dyads of each segment."""
        return [segment.dyads for segment in self.segments]

    @property
    def names(self) -> list[str]:
        """The article of each segment, as a bootstrap by article wants them."""
        return [segment.article or segment.id for segment in self.segments]


@dataclass(frozen=True)
class Asked:
    """What the dyad model was asked about one segment, and its answers."""

    found: tuple[Candidate, ...]
    answers: tuple[Prediction, ...]

    @property
    def codes(self) -> set[str]:
        """All codes that could have been told."""
        return {candidate.code_as(label) for candidate in self.found for label in (ITSELF, STATE, *ROLES)}


def read(segments: Sequence[Segment], classify: Classify, actors: Actors) -> Read:
    """Label the segments and find who is named in them; those of an article are read together, a minimal pair's two each by itself.

    Raises:
        UserError: no segment has dyads.
    """
    if not any(segment.dyads for segment in segments):
        raise UserError(
            f"none of the {len(segments)} segments has a gold dyad, so there is nothing to hold against them; choose another corpus"
        )
    alone = challenge.is_challenge(segments)
    places: dict[str, list[int]] = {}
    for place, segment in enumerate(segments):
        places.setdefault(segment.id if alone or not segment.article else segment.article, []).append(place)
    articles = []
    for own in places.values():
        first = segments[own[0]]
        headline, *mentions = actors.article([first.context, *(segments[place].text for place in own)], first.date)
        articles.append((tuple(own), tuple(map(tuple, mentions)), tuple(headline)))
    return Read(tuple(segments), tuple(classify(segments)), tuple(articles))


def by(read: Read, dyads: Dyads) -> list[list[Dyad]]:
    """Return the dyads of each segment, found by anything that finds dyads."""
    out: list[list[Dyad]] = [[] for _ in read.segments]
    for own, mentions, headline in read.articles:
        rows = dyads.pairs([read.segments[place] for place in own], mentions, [read.predictions[place] for place in own], headline)
        for place, row in zip(own, rows, strict=True):
            out[place] = [one.dyad for one in row]
    return out


def ask(read: Read, model: Trained) -> list[Asked]:
    """Return the model's answers to all segments, so that several choices can be tried on them."""
    asked: dict[int, tuple[tuple[Candidate, ...], list[Segment]]] = {}
    for own, mentions, headline in read.articles:
        predictions = [read.predictions[place] for place in own]
        asked |= zip(own, model.asked([read.segments[place] for place in own], mentions, predictions, headline), strict=True)
    questions = [row for place in range(len(read.segments)) for row in asked[place][1]]
    answers = iter(model.predict(questions) if questions else [])
    return [Asked(asked[place][0], tuple(next(answers) for _ in asked[place][1])) for place in range(len(read.segments))]


def chosen(read: Read, asked: Sequence[Asked], choice: Choice) -> list[list[Dyad]]:
    """Return the dyads of each segment by this choice."""
    return [[one.dyad for one in row] for row in scored(read, asked, choice)]


def scored(read: Read, asked: Sequence[Asked], choice: Choice) -> list[list[ScoredDyad]]:
    """Return the dyads of each segment by this choice, with their probabilities."""
    model = Trained(_nothing, choice)
    return [
        model.chosen(one.found, one.answers, prediction.probabilities["stance"])
        for one, prediction in zip(asked, read.predictions, strict=True)
    ]


def tune(read: Read, asked: Sequence[Asked], start: Choice | None = None) -> tuple[Choice, float]:
    """Return the choice with the highest mean of the F1 of ``AIMS``, and that mean; searched number by number over ``GRID``.

    Args:
        read: a split that the dyad model was not trained on, and that nothing will be reported on.
        asked: the model's answers to it.
        start: where the search begins.
    """
    best = start or Choice()
    high = _aim(read.gold, chosen(read, asked, best))
    for choice in _tried():
        # Each number is tried on the best of those before it.
        trial = replace(best, **choice)
        value = _aim(read.gold, chosen(read, asked, trial))
        if value > high:
            best, high = trial, value
    return best, high


def swapped(segments: Sequence[Segment], found: Sequence[Collection[Dyad]]) -> dict[str, Any] | None:
    """Return how consistent role swaps are, over the minimal pairs whose gold dyads are each other's with source and target exchanged.

    Returns:
        ``pairs``; ``apart``, the share of them in which what was found in one is what was found in the other, exchanged; and ``both``,
        the share with (source, target) right in both; None where there is no such pair.
    """
    if not challenge.is_challenge(segments):
        return None
    sides: dict[str, dict[str, int]] = {}
    for place, segment in enumerate(segments):
        sides.setdefault(segment.article, {})[segment.id[-1]] = place
    apart = both = count = 0
    for pair in sides.values():
        one, other = pair["a"], pair["b"]
        gold = [{(dyad.source, dyad.target) for dyad in segments[place].dyads} for place in (one, other)]
        if not gold[0] or gold[0] == gold[1] or {(target, source) for source, target in gold[0]} != gold[1]:
            continue
        given = [{(dyad.source, dyad.target) for dyad in found[place]} for place in (one, other)]
        count += 1
        apart += bool(given[0]) and {(target, source) for source, target in given[0]} == given[1]
        both += given == gold
    return {"pairs": count, "apart": apart / count, "both": both / count} if count else None


def _tried() -> Iterator[dict[str, float]]:
    for _ in range(_ROUNDS):
        for name, values in GRID.items():
            for value in values:
                yield {name: value}


def _aim(gold: Sequence[Collection[Dyad]], found: Sequence[Collection[Dyad]]) -> float:
    """Return the mean F1 of ``AIMS``, without intervals."""
    total = 0.0
    for name in AIMS:
        key = PARTS[name]
        wanted = [{key(dyad) for dyad in row} for row in gold]
        given = [{key(dyad) for dyad in row} for row in found]
        right = sum(len(one & other) for one, other in zip(wanted, given, strict=True))
        total += 2 * right / max(1, sum(map(len, wanted)) + sum(map(len, given)))
    return total / len(AIMS)


def _nothing(segments: Sequence[Segment]) -> list[Prediction]:
    """Stand in for a model where its answers are there already."""
    raise AssertionError(f"{len(segments)} segments asked about")
