"""The embedded corpus: invented articles, one a line, each with its labelled segments."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from haltung.corpus.parsing.fields import Fields, kind
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, json_rows, jsonl_files
from haltung.corpus.parsing.rows import Fault, Intake, Reading, Row
from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.records import Segment, context

# Which part of all articles is for training, and which for training and dev together; the rest is test.
TRAIN, DEV = 0.7, 0.8


@dataclass(frozen=True)
class Articles:
    """A JSONL file, or a folder of them: ``{"article", "date", "genre", "title", "segments": [{"text", "topic", "stance", "dyads"}]}``.

    A segment's ``context`` is the title, with ``lead`` the first segment, and up to ``before`` segments before it. The split follows
    from the article's id alone (70 % train, 10 % dev, 20 % test), so that an article never changes its split when others are added.
    With ``most``, only so many whole articles are taken as have at most that many segments together, in an order that also follows
    from their ids: a smaller ``most`` gives a part of a larger.
    """

    path: str
    before: int = 3
    lead: bool = False
    most: int | None = None
    source: str = "diplomacy"
    on_error: str = "stop"
    max_line_bytes: int = MAX_LINE_BYTES

    def files(self) -> tuple[Path, ...]:
        """The files that are read, by name.

        Raises:
            UserError: there is none.
        """
        return jsonl_files(self.path, "articles")

    def read(self, scheme: Scheme) -> Reading:
        """Read all segments of all articles.

        Raises:
            UserError: a file, article or segment is broken, an article's id stands twice, or a label is not of the scheme.
        """
        if self.before < 0:
            raise UserError(f"before is {self.before}; expected 0 or more")
        if self.most is not None and self.most < 1:
            raise UserError(f"most is {self.most}; expected a number of segments of at least 1, or null for all")
        intake = Intake(scheme, self.path, self.on_error)
        seen: dict[str, str] = {}
        for path in self.files():
            for row in json_rows(path, max_line_bytes=self.max_line_bytes):
                with intake.row(row.where, row.made_id):
                    self._article(row, seen, intake)
        reading = intake.reading()
        return reading if self.most is None else replace(reading, segments=_some(reading.segments, self.most))

    def countries(self) -> dict[str, str]:
        """Return the country whose spelling an article has (``DE``, ``AT``, ``CH``), of those that name one.

        Raises:
            UserError: as ``read``.
        """
        out: dict[str, str] = {}
        for path in self.files():
            for row in json_rows(path, max_line_bytes=self.max_line_bytes):
                fields = Fields(row.fields(), {})
                if country := fields.text("country"):
                    out[fields.word("article")] = country
        return out

    def _article(self, row: Row, seen: dict[str, str], intake: Intake) -> None:
        article = Fields(row.fields(), {})
        id = article.word("article")
        if not id:
            raise Fault("missing_field", "no 'article'; every article needs an id of its own")
        if seen.setdefault(id, row.where) != row.where:
            raise Fault("duplicate_id", f"the article '{id}' stands already at {seen[id]}; every article needs an id of its own", id)
        segments = row.data.get("segments")
        if not isinstance(segments, list) or not segments:
            found = "an empty list" if segments == [] else kind(segments)
            raise Fault("wrong_type", f"'segments' is {found}; expected a list of at least one segment", id)
        common = {
            "article": id,
            "date": article.date(),
            "genre": article.text("genre"),
            "source": self.source,
            "split": split_of(id),
        }
        title = article.text("title").strip()
        told: list[str] = []
        for number, segment in enumerate(segments):
            where, made = f"{row.where}, segment {number + 1}", f"{id}-{number:02d}"
            with intake.row(where, made):
                if not isinstance(segment, Mapping):
                    raise Fault("wrong_type", f"the segment is {kind(segment)}; expected an object")
                data = {**segment, **common, "id": made, "context": context(title, told, self.before, self.lead)}
                fields = Fields(data, {})
                told.append(fields.text("text", required=True).strip())
                intake.add(fields.segment(intake.scheme, where, made))


def _some(segments: Sequence[Segment], most: int) -> tuple[Segment, ...]:
    sizes = Counter(segment.article for segment in segments)
    # Another hash than the split's, so that each split shrinks alike.
    order = sorted(sizes, key=lambda article: hashlib.sha1(f"most {article}".encode()).hexdigest())
    total, taken = 0, set()
    for article in order:
        total += sizes[article]
        if total > most:
            break
        taken.add(article)
    return tuple(segment for segment in segments if segment.article in taken)


def split_of(article: str) -> str:
    """Return the split of an article: a hash of its id, evenly spread over [0, 1)."""
    place = int(hashlib.sha1(article.encode("utf-8")).hexdigest()[:8], 16) / 16**8
    return "train" if place < TRAIN else "dev" if place < DEV else "test"
