"""Our own corpora, JSONL with nested segments: invented articles, and minimal pairs."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import json_rows, jsonl_files
from haltung.corpus.parsing.rows import Fault, Intake, Reading, SourceRow, check_unique
from haltung.errors import UserError, kind
from haltung.labels import Scheme
from haltung.records import Segment

# The part of all articles for training, and that for training and dev together; the rest is test.
TRAIN, DEV = 0.7, 0.8


@dataclass(frozen=True)
class Articles:
    """JSONL: ``{"article", "date", "genre", "title", "segments": [{"text", "topic", …}]}``.

    ``path`` is a file or a folder of files. The split follows from the article's id alone (70 %
    train, 10 % dev, 20 % test), so that it never changes when others are added. ``max_segments``
    limits the corpus to whole articles with at most so many segments together, in an order that
    also follows from their ids: a smaller limit gives a part of a larger.
    """

    path: str
    max_segments: int | None = None
    source: str = "diplomacy"
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``), by name."""
        return jsonl_files(self.path, "articles")

    def read(self, scheme: Scheme) -> Reading:
        """Read all segments of all articles (see ``Reader``)."""
        if self.max_segments is not None and self.max_segments < 1:
            raise UserError(f"max_segments is {self.max_segments}; expected at least 1, or null for all")
        reading = _read_all(self, scheme, "article", self._add_article)
        return reading if self.max_segments is None else replace(reading, segments=_first(reading.segments, self.max_segments))

    def countries(self) -> dict[str, str]:
        """Return ``DE``, ``AT`` or ``CH``, which decides spelling, by article if it names one."""
        out: dict[str, str] = {}
        for path in self.files():
            for row in json_rows(path):
                fields = Fields(row.fields(), {})
                if country := fields.text("country"):
                    out[fields.word("article")] = country
        return out

    def _add_article(self, id: str, article: Fields, row: SourceRow, intake: Intake) -> None:
        segments = row.data.get("segments")
        if not isinstance(segments, list) or not segments:
            found = "an empty list" if segments == [] else kind(segments)
            raise Fault("wrong_type", f"'segments' is {found}; expected a list of at least one segment", id)
        common = {"article": id, "date": article.date(), "genre": article.text("genre"), "source": self.source, "split": split_of(id)}
        title = article.text("title").strip()
        for number, segment in enumerate(segments):
            inner = SourceRow(f"{row.where}, segment {number + 1}", f"{id}-{number:02d}", {})
            with intake.row(inner):
                if not isinstance(segment, Mapping):
                    raise Fault("wrong_type", f"the segment is {kind(segment)}; expected an object")
                data = {**segment, **common, "id": inner.made_id, "headline": title, "position": number}
                intake.add(Fields(data, {}).segment(intake.scheme, inner))


@dataclass(frozen=True)
class Pairs:
    """Minimal pairs: two segments that differ in one thing and, because of it, in their label.

    JSONL: ``{"pair", "phenomenon", "context", "segments": [{"text", "topic", …}, {…}]}``;
    ``path`` is a file or a folder of files. A pair's id becomes the ``article`` of its segments and
    the phenomenon their ``genre``, so that evaluation can count by both. All of it is test.
    """

    path: str
    source: str = "challenge"
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``), by name."""
        return jsonl_files(self.path, "minimal pairs")

    def read(self, scheme: Scheme) -> Reading:
        """Read both segments of all pairs (see ``Reader``)."""
        return _read_all(self, scheme, "pair", self._add_pair)

    def _add_pair(self, id: str, pair: Fields, row: SourceRow, intake: Intake) -> None:
        if not (phenomenon := pair.text("phenomenon").strip()):
            raise Fault("missing_field", "no 'phenomenon'; every pair names the difference of its two segments", id)
        segments = row.data.get("segments")
        if not isinstance(segments, list) or len(segments) != 2:
            found = f"a list of {len(segments)}" if isinstance(segments, list) else kind(segments)
            raise Fault("wrong_type", f"'segments' is {found}; expected a list of two segments", id)
        both = []
        for side, segment in zip("ab", segments, strict=True):
            if not isinstance(segment, Mapping):
                raise Fault("wrong_type", f"segment {side} is {kind(segment)}; expected an object", id)
            common = {"id": f"{id}-{side}", "article": id, "genre": phenomenon, "source": self.source, "split": "test"}
            data = {**segment, **common, "context": pair.text("context").strip()}
            inner = SourceRow(f"{row.where}, segment {side}", f"{id}-{side}", data)
            try:
                both.append(Fields(data, {}).segment(intake.scheme, inner))
            except Fault as fault:
                raise Fault(fault.reason, f"segment {side}: {fault.detail}", id) from None
        # Added only now: a pair with one broken segment is dropped as a whole.
        for made in both:
            intake.add(made)


def _read_all(reader: Articles | Pairs, scheme: Scheme, unit: str, add: Callable[[str, Fields, SourceRow, Intake], None]) -> Reading:
    """Read the articles or pairs (``unit`` is the column of their ids) of all files."""
    intake, seen = Intake(scheme, reader.path, reader.on_error), dict[str, str]()
    for path in reader.files():
        for row in json_rows(path):
            with intake.row(row):
                fields = Fields(row.fields(), {})
                if not (id := fields.word(unit)):
                    raise Fault("missing_field", f"no '{unit}'; every {unit} needs a unique id")
                check_unique(unit, id, row.where, seen, f"every {unit} needs a unique id")
                add(id, fields, row, intake)
    return intake.reading()


def _first(segments: Sequence[Segment], limit: int) -> tuple[Segment, ...]:
    sizes = Counter(segment.article for segment in segments)
    # Another hash than that of the split, so that each split shrinks alike.
    order = sorted(sizes, key=lambda article: hashlib.sha1(f"most {article}".encode()).hexdigest())
    totals = accumulate(sizes[article] for article in order)
    chosen = {article for article, total in zip(order, totals, strict=True) if total <= limit}
    return tuple(segment for segment in segments if segment.article in chosen)


def split_of(article: str) -> str:
    """Return the split of an article by a hash of its id, evenly spread over [0, 1)."""
    value = int(hashlib.sha1(article.encode("utf-8")).hexdigest()[:8], 16) / 16**8
    return "train" if value < TRAIN else "dev" if value < DEV else "test"
