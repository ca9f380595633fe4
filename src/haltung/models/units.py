"""Units of sentences that a model of articles reads, with candidates for dyads; needs no torch."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from haltung.actors.candidates import ITSELF, MAX_CANDIDATES, ROLES, Candidate, candidates
from haltung.actors.finder import Actors
from haltung.encoders.tokens import Tokens
from haltung.inference.client import grouped
from haltung.records import ActorAnswer, Segment

SLOTS = MAX_CANDIDATES + 1  # per sentence; the first candidate is nobody
CUES = 8192  # cues are hashed by CRC-32 to numbers below it (0: padding), which needs no vocabulary
Array = TypeVar("Array")


@dataclass(frozen=True)
class Unit:
    """Sentences that are read together, in order.

    ``rows`` has the index of each sentence's segment, None for a headline or a context, which is
    not labelled. ``named`` has the candidates for the sides of each sentence's dyads; ``before``
    in them is the index of a sentence of the unit.
    """

    sentences: tuple[Segment, ...]
    rows: tuple[int | None, ...]
    named: tuple[tuple[Candidate, ...], ...] = ()

    @property
    def labelled(self) -> int:
        """The number of sentences to label."""
        return sum(row is not None for row in self.rows)


class ActorBatch(NamedTuple, Generic[Array]):
    """The candidates of all sentences that have any, nobody first.

    ``rows`` ``[sentences]`` are their indices among the labelled sentences; ``sentence`` and
    ``slot`` ``[candidates]`` are each candidate's place in a table ``[sentences, SLOTS]``; ``cues``
    ``[candidates, cues]`` are their numbers. ``tokens`` are the tokens of mentions, as indices into
    the flattened tokens of all parts; ``mention`` is twice the index of the candidate that each
    mentions, plus 1 if the mention is in a sentence before the candidate's.
    """

    rows: Array
    sentence: Array
    slot: Array
    cues: Array
    tokens: Array
    mention: Array


def units(
    segments: Sequence[Segment], window: int, alone: Callable[[str], bool] = lambda article: False, actors: Actors | None = None
) -> list[Unit]:
    """Return the units to read: the segments of an article by position, after its headline.

    A segment without article or position is read alone, after its context. An article longer than
    ``window`` is split into parts, each after the headline; one for which ``alone`` is true into
    single sentences without headline or context. ``alone`` gets the id of a segment that has no
    article. With ``actors`` the candidates of each sentence are found in the whole article.
    """
    places = [
        ("", None, "", "") if alone(one.article or one.id) else (one.article, one.position, one.headline, one.context) for one in segments
    ]
    return [part for before, rows in grouped(places) for part in _parts(before, rows, segments, window, actors)]


def _parts(before: str, rows: Sequence[int], segments: Sequence[Segment], window: int, actors: Actors | None) -> list[Unit]:
    first = [Segment("", before)] if before else []
    sentences, labelled = [*first, *(segments[row] for row in rows)], [*(None for _ in first), *rows]
    named: list[tuple[Candidate, ...]] = []
    if actors is not None:
        texts = [sentence.text for sentence in sentences]
        mentions = actors.article(texts, sentences[-1].date)
        named = [() if row is None else candidates(texts, mentions, number) for number, row in enumerate(labelled)]
    out = []
    for start in range(len(first), len(sentences), window):
        chosen = [*range(len(first)), *range(start, min(start + window, len(sentences)))]
        number_of = {old: new for new, old in enumerate(chosen)}
        found = [tuple(_moved(one, number_of) for one in named[number]) for number in chosen] if named else []
        out.append(Unit(tuple(sentences[number] for number in chosen), tuple(labelled[number] for number in chosen), tuple(found)))
    return out


def _moved(candidate: Candidate, number_of: Mapping[int, int]) -> Candidate:
    if candidate.before is None or candidate.before[0] not in number_of:
        return replace(candidate, before=None)
    return replace(candidate, before=(number_of[candidate.before[0]], candidate.before[1]))


def actor_batch(
    chosen: Sequence[Unit], tokens: Sequence[Tokens], starts: Sequence[int], asked: Callable[[int], bool] = lambda row: True
) -> ActorBatch[np.ndarray]:
    """Return the candidates of sentences that have any, if ``asked`` is true for the segment's row.

    ``tokens`` are those of the units' sentences, ``starts`` the flat indices of their first tokens.
    """
    rows: list[int] = []
    places: list[tuple[int, int]] = []
    cues: list[list[int]] = []
    mentions: list[tuple[int, int]] = []
    row = first = 0
    for unit in chosen:
        for number, segment in enumerate(unit.rows):
            if segment is None:
                continue
            named = unit.named[number] if unit.named and asked(segment) else ()
            for slot, one in enumerate(named):
                spans = [(0, number, span) for span in one.spans] + ([(1, *one.before)] if one.before else [])
                for which, sentence, span in spans:
                    found = tokens[first + sentence].within(*span)
                    mentions += [(starts[first + sentence] + token, 2 * len(places) + which) for token in found]
                places.append((len(rows), slot))
                cues.append([zlib.crc32(cue.encode()) % (CUES - 1) + 1 for cue in one.cues])
            rows += [row] if named else []
            row += 1
        first += len(unit.rows)
    longest = max(map(len, cues), default=0)
    sentence_of, slots = np.array(places, np.int64).reshape(-1, 2).T.copy()
    token_of, mention_of = np.array(mentions, np.int64).reshape(-1, 2).T.copy()
    numbers = np.array([one + [0] * (longest - len(one)) for one in cues], np.int64).reshape(len(places), longest)
    return ActorBatch(np.array(rows, np.int64), sentence_of, slots, numbers, token_of, mention_of)


def actor_answers(named: Sequence[Candidate], sides: np.ndarray) -> tuple[ActorAnswer, ...]:
    """Return a sentence's candidates with their probabilities, given ``[2, SLOTS * roles]``."""
    source, target = sides.reshape(2, SLOTS, len(ROLES))
    roles = [(ITSELF,), *([ROLES] * (len(named) - 1))]
    return tuple(
        ActorAnswer(one.code, one.spans, *(dict(zip(of, map(float, side[slot]), strict=False)) for side in (source, target)))
        for slot, (one, of) in enumerate(zip(named, roles, strict=True))
    )
