"""Our own corpora, JSONL with nested segments: invented articles, and minimal pairs."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.rows import Dropped, Fault, Reading, SourceRow, check_unique
from haltung.corpus.readers.tables import Jsonl
from haltung.errors import kind
from haltung.labels import Scheme

TRAIN, DEV = 0.7, 0.8  # cumulative shares of train and dev; the rest is test
_SEGMENT = ", segment "  # follows the line of an article or pair in the place of a segment


@dataclass(frozen=True)
class Articles(Jsonl):
    """JSONL: ``{"article", "date", "genre", "title", "segments": [{"text", "topic", …}]}``.

    ``path`` is a file or a folder of files. The split follows from the article's id alone (70 %
    train, 10 % dev, 20 % test), so that it never changes when others are added.
    """

    source: str = "diplomacy"

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the segments of the articles of one file."""

        def shared(article: Fields) -> dict[str, object]:
            common = {"date": article.date(), "genre": article.text("genre"), "headline": article.text("title").strip()}
            return {**common, "source": self.source, "split": split_of(article.word("article"))}

        return _segments(super().rows(path), "article", shared)


@dataclass(frozen=True)
class Pairs(Jsonl):
    """Minimal pairs: two segments that differ in one thing and, because of it, in their label.

    JSONL: ``{"pair", "phenomenon", "context", "segments": [{"text", "topic", …}, {…}]}``;
    ``path`` is a file or a folder of files. A pair's id becomes the ``article`` of its segments and
    the phenomenon their ``genre``, so that evaluation can group by both. All of it is test.
    """

    source: str = "challenge"

    def read(self, scheme: Scheme) -> Reading:
        """Read all pairs (see ``Reader``); if a segment is dropped, so is the other of its pair."""
        reading = super().read(scheme)
        broken = {row.where.partition(_SEGMENT)[0] for row in reading.dropped}
        halves = [segment for segment in reading.segments if segment.where.partition(_SEGMENT)[0] in broken]
        dropped = [Dropped(half.id, half.where, "broken_pair", "the other segment of its pair is dropped") for half in halves]
        whole = tuple(segment for segment in reading.segments if segment.where.partition(_SEGMENT)[0] not in broken)
        return replace(reading, segments=whole, dropped=(*reading.dropped, *dropped))

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the segments of the pairs of one file."""

        def shared(pair: Fields) -> dict[str, object]:
            if not (phenomenon := pair.text("phenomenon").strip()):
                raise Fault("missing_field", "no 'phenomenon'; every pair must name the difference between its two segments")
            return {"genre": phenomenon, "context": pair.text("context").strip(), "source": self.source, "split": "test", "position": None}

        return _segments(super().rows(path), "pair", shared, sides="ab")


def _segments(
    rows: Iterable[SourceRow], unit: str, shared: Callable[[Fields], Mapping[str, object]], sides: str = ""
) -> Iterator[SourceRow]:
    """Yield the segments of the articles or pairs (``unit`` is the column of their ids) as rows.

    ``shared`` returns the fields common to an article's or pair's segments; ``sides`` names these
    if their number is fixed. An article or pair that is itself faulty is a row with a ``Fault``.
    """
    seen: dict[str, str] = {}
    for row in rows:
        id = ""
        try:
            fields = Fields(row.fields(), {})
            if not (id := fields.word(unit)):
                raise Fault("missing_field", f"no '{unit}'; every {unit} needs a unique id")
            check_unique(unit, id, row.where, seen, f"every {unit} needs a unique id")
            common, segments = shared(fields), row.data.get("segments")
            if not isinstance(segments, list) or not segments or len(segments) != len(sides or segments):
                found = f"a list of {len(segments)}" if isinstance(segments, list) else kind(segments)
                expected = "two segments" if sides else "at least one segment"
                raise Fault("wrong_type", f"'segments' is {found}; expected a list of {expected}")
        except Fault as fault:
            yield replace(row, made_id=id or row.made_id, data={}, fault=fault)
            continue
        for number, segment in enumerate(segments):
            side = sides[number : number + 1]
            where, made = f"{row.where}{_SEGMENT}{side or number + 1}", f"{id}-{side or f'{number:02d}'}"
            if isinstance(segment, Mapping):
                yield SourceRow(where, made, {**segment, "position": number, **common, "id": made, "article": id})
            else:
                yield SourceRow(where, made, {}, Fault("wrong_type", f"the segment is {kind(segment)}; expected an object"))


def split_of(article: str) -> str:
    """Return the split of an article by a hash of its id, uniformly distributed over [0, 1)."""
    value = int(hashlib.sha1(article.encode("utf-8")).hexdigest()[:8], 16) / 16**8
    return "train" if value < TRAIN else "dev" if value < DEV else "test"
