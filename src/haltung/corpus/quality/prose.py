"""Whether a written corpus reads like prose: repetition, openings, variety, typography, spelling, and how its labels are covered.

These are the faults of texts that were made in series; a corpus of real texts has hardly any of them.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

from haltung.corpus.deduplicate import NearIndex, sketches
from haltung.corpus.quality import spelling
from haltung.corpus.quality.typography import faults
from haltung.corpus.repetition import excerpt
from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.records import Segment

# Words with their hyphens and apostrophes, as they are counted here.
_WORD = re.compile(r"\w+(?:[-’']\w+)*")

# The blocks over which variety is averaged, since both measures fall with the length of a text.
BLOCK_WORDS, BLOCK_BYTES = 1_000, 100_000

Row = TypeVar("Row", list[str], bytes)

# In a code of the label standard, this parts the state from the role inside it.
_ROLE = "-"


@dataclass(frozen=True)
class Limits:
    """What a corpus is held to; null switches a check off.

    ``jaccard``: no two segments share more of their character 5-grams. ``sequence``: no sequence of six words stands in more segments.
    ``opening``: no three opening words begin a larger share of the segments. ``type_token`` and ``compression`` are the measures of real
    news (see ``variety``), from which ours may differ by the share ``tolerance``. ``spelling`` is a file of allowed words, one a line.
    ``labels``: the fewest segments of each label of a task. ``pairs``: the fewest of each pair of a label of its ``rows`` task with
    the ``largest`` labels of its ``columns`` task. ``states`` and ``organisations``: the fewest different actors in the dyads;
    ``organisation_codes`` tells the two apart.
    """

    jaccard: float | None = None
    sequence: int | None = None
    opening: float | None = None
    type_token: float | None = None
    compression: float | None = None
    tolerance: float = 0.1
    typography: bool = True
    spelling: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    pairs: Mapping[str, str | int] = field(default_factory=dict)
    states: int = 0
    organisations: int = 0
    organisation_codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """One check: what was measured, what is allowed, whether it holds, and every single fault where there are such."""

    name: str
    found: str
    allowed: str
    holds: bool
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variety:
    """How varied a text is.

    ``type_token`` is the mean share of different words in each ``BLOCK_WORDS`` running words, lower-cased (Johnson 1944, the mean segmental
    type-token ratio); ``compression`` the mean of compressed to plain size (zlib, level 9) over each ``BLOCK_BYTES`` bytes of UTF-8.
    Texts of less than one block are one block.
    """

    type_token: float
    compression: float


def inspect(
    segments: Sequence[Segment], limits: Limits, scheme: Scheme, countries: Mapping[str, str], spells: bool = True
) -> Iterator[Measure]:
    """Hold a corpus against its limits, one measure at a time.

    Args:
        segments: the corpus, in its own order.
        limits: what it is held to.
        scheme: of its labels.
        countries: maps an article to ``DE``, ``AT`` or ``CH``, whose spelling it has; ``DE`` for the others.
        spells: whether spelling is checked too.

    Raises:
        UserError: a task or label of the limits is not of the scheme, or spelling can't be checked.
    """
    words = [_WORD.findall(segment.text) for segment in segments]
    if limits.jaccard is not None:
        yield _alike(segments, limits.jaccard)
    if limits.sequence is not None:
        yield _sequences(words, limits.sequence)
    if limits.opening is not None:
        yield _openings(words, limits.opening)
    measured = variety(segments) if limits.type_token is not None or limits.compression is not None else None
    if measured is not None and limits.type_token is not None:
        yield _near("different words in 1,000", measured.type_token, limits.type_token, limits.tolerance)
    if measured is not None and limits.compression is not None:
        yield _near("compressed to", measured.compression, limits.compression, limits.tolerance)
    if limits.typography:
        yield _typography(segments, countries)
    if limits.spelling is not None and spells:
        unknown = spelling.unknown(
            ((segment, countries.get(segment.article, "DE")) for segment in segments), spelling.allowed(limits.spelling)
        )
        told = tuple(f"{word}  in {segment.id}: {excerpt(segment.text, segment.text.find(word))}" for word, segment in unknown)
        yield Measure("unknown words", str(len(told)), "0", not told, told)
    yield from _coverage(segments, limits, scheme)


def variety(segments: Iterable[Segment]) -> Variety:
    """Return the two measures over the texts in their order."""
    texts = [segment.text for segment in segments]
    words = [word.lower() for text in texts for word in _WORD.findall(text)]
    raw = "\n".join(texts).encode("utf-8", "surrogatepass")
    types = [len(set(block)) / len(block) for block in _blocks(words, BLOCK_WORDS)]
    sizes = [len(zlib.compress(block, 9)) / len(block) for block in _blocks(raw, BLOCK_BYTES)]
    return Variety(sum(types) / max(1, len(types)), sum(sizes) / max(1, len(sizes)))


def _blocks(whole: Row, size: int) -> list[Row]:
    starts = range(0, len(whole) - size + 1, size) if len(whole) > size else range(min(1, len(whole)))
    return [whole[start : start + size] for start in starts]


def _alike(segments: Sequence[Segment], limit: float) -> Measure:
    index = NearIndex(limit)
    told: list[str] = []
    for place, sketch in enumerate(sketches([segment.text for segment in segments])):
        text = segments[place].text
        for other, score in index.find(text, sketch, None):
            if score > limit:
                told.append(f"{score:.2f}  {segments[other].id} {excerpt(segments[other].text)} and {segments[place].id} {excerpt(text)}")
        index.add(place, text, sketch, None)
    return Measure("pairs of segments that are too much alike", str(len(told)), f"none above {limit}", not told, tuple(told))


def _sequences(words: Sequence[Sequence[str]], limit: int, length: int = 6) -> Measure:
    counts = Counter(
        gram for row in words for gram in {tuple(word.lower() for word in row[i : i + length]) for i in range(len(row) - length + 1)}
    )
    told = tuple(f"{count} ×  {' '.join(gram)}" for gram, count in counts.most_common() if count > limit)
    most = counts.most_common(1)[0][1] if counts else 0
    return Measure("segments with the same six words in a row", str(most), f"at most {limit}", not told, told)


def _openings(words: Sequence[Sequence[str]], limit: float, length: int = 3) -> Measure:
    counts = Counter(tuple(word.lower() for word in row[:length]) for row in words if len(row) >= length)
    told = tuple(f"{count} ×  {' '.join(opening)} …" for opening, count in counts.most_common() if count > limit * len(words))
    most = counts.most_common(1)[0][1] / len(words) if counts else 0.0
    return Measure("segments that open with the same three words", f"{most:.2%}", f"at most {limit:.0%}", not told, told)


def _near(name: str, found: float, real: float, tolerance: float) -> Measure:
    low, high = real * (1 - tolerance), real * (1 + tolerance)
    return Measure(name, f"{found:.3f}", f"{low:.3f} to {high:.3f} (real news: {real:.3f})", low <= found <= high)


def _typography(segments: Sequence[Segment], countries: Mapping[str, str]) -> Measure:
    told = []
    for article, members in groupby(segments, key=lambda segment: segment.article or segment.id):
        rows = list(members)
        for place, fault in faults([row.text for row in rows], countries.get(article, "DE")):
            told.append(f"{rows[place].id}: {fault}: {excerpt(rows[place].text)}")
    return Measure("faults of typography", str(len(told)), "0", not told, tuple(told))


def _coverage(segments: Sequence[Segment], limits: Limits, scheme: Scheme) -> Iterator[Measure]:
    for name, least in limits.labels.items():
        task = scheme[name]
        counts = Counter(segment.labels.get(name) for segment in segments)
        told = tuple(f"{label}: {counts[label]}" for label in task.ids if counts[label] < least)
        yield Measure(f"segments of the rarest {name}", str(min(counts[label] for label in task.ids)), f"at least {least}", not told, told)
    if limits.pairs:
        yield _pairs(segments, limits, scheme)
    codes = {code for segment in segments for dyad in segment.dyads for code in (dyad.source, dyad.target) if code}
    organisations = codes & set(limits.organisation_codes)
    if limits.states:
        states = {code.split(_ROLE)[0] for code in codes} - set(limits.organisation_codes)
        yield Measure("different states in dyads", str(len(states)), f"at least {limits.states}", len(states) >= limits.states)
    if limits.organisations:
        enough = len(organisations) >= limits.organisations
        yield Measure("different organisations in dyads", str(len(organisations)), f"at least {limits.organisations}", enough)


def _pairs(segments: Sequence[Segment], limits: Limits, scheme: Scheme) -> Measure:
    try:
        rows, columns = scheme[str(limits.pairs["rows"])], scheme[str(limits.pairs["columns"])]
        largest, least = int(limits.pairs["largest"]), int(limits.pairs["least"])
    except KeyError as error:
        raise UserError(f"limits.pairs lacks {error}; it has the keys rows, columns, largest, least") from None
    sizes = Counter(segment.labels.get(columns.name) for segment in segments)
    top = sorted(columns.ids, key=lambda label: -sizes[label])[:largest]
    counts = Counter((segment.labels.get(rows.name), segment.labels.get(columns.name)) for segment in segments)
    cells = {(row, column): counts[row, column] for row in rows.ids for column in top}
    told = tuple(f"{row} × {column}: {count}" for (row, column), count in cells.items() if count < least)
    name = f"segments of the rarest {rows.name} within the {largest} largest {columns.name}s"
    return Measure(name, str(min(cells.values())), f"at least {least}", not told, told)
