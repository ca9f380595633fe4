"""Stand-off annotations: labels on character positions of texts that may not be shipped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haltung.corpus.parsing.fields import Fields, kind
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, csv_rows, existing, json_rows
from haltung.corpus.parsing.rows import Fault, Intake, Reading, SourceRow
from haltung.errors import UserError, one_of
from haltung.labels import Scheme
from haltung.records import context

# Where to get the texts of each kind.
PUBLIC = {
    "gnad10": "test.csv of 10kGNAD is at github.com/tblock/10kGNAD",
    "wikinews": "the Wikinews articles are at github.com/uhh-lt/german-news-quotation-attribution-2024",
}

# Text between two annotated segments belongs to the context only if it may be one sentence.
GAP = 300

# "10022 - Neil Armstrong wird 75 (2005-08-05)"
_TITLE = re.compile(r"^(?:\d+ - )?(?P<headline>.*?)(?: \((?P<date>\d{4}-\d{2}-\d{2})\))?$", re.DOTALL)


@dataclass(frozen=True)
class Standoff:
    """Annotations (JSONL: id, row, start, end, sha1, labels, dyads, split) on a file of articles.

    ``kind`` is the kind of text file: ``gnad10`` (the CSV of 10kGNAD) or ``wikinews`` (JSONL with
    title and text). ``row`` counts its articles from 0, ``start`` and ``end`` are characters,
    ``sha1`` is the first ten hex digits of the digest of the segment in UTF-8.

    The ``context`` of a segment is its article's headline and up to ``before`` texts before it: the
    annotated segments, and what is between them if it is shorter than 300 characters; with ``lead``
    also the first of them, however far away. 10kGNAD has no headlines; there the article's first
    annotated segment, as a rule the lead, stands in.
    """

    annotations: str
    texts: str
    kind: str = "gnad10"
    before: int = 3
    lead: bool = False
    on_error: str = "stop"
    max_line_bytes: int = MAX_LINE_BYTES

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``): annotations and texts."""
        hint = f"{PUBLIC[self.kind]}; its texts may not be shipped" if self.kind in PUBLIC else ""
        return existing(self.annotations), existing(self.texts, hint)

    def read(self, scheme: Scheme) -> Reading:
        """Read all annotations (see ``Reader``); texts other than those annotated are faults."""
        one_of("kind", self.kind, PUBLIC)
        if self.before < 0:
            raise UserError(f"before is {self.before}; expected 0 or more")
        annotations, texts = self.files()
        articles = _wikinews(texts, self.max_line_bytes) if self.kind == "wikinews" else _gnad10(texts, self.max_line_bytes)
        intake = Intake(scheme, str(annotations), self.on_error)
        annotated: list[_Annotation] = []
        for row in json_rows(annotations, max_line_bytes=self.max_line_bytes):
            with intake.row(row.where, row.made_id):
                annotated.append(_annotation(row, articles, texts))
        contexts = _contexts(annotated, articles, self.before, self.lead)
        for span in annotated:
            article = articles[span.article]
            id = Fields(span.row.data, {}).word("id")
            with intake.row(span.row.where, id):
                data = {
                    **span.row.data,
                    "text": article.text[span.start : span.end],
                    "context": contexts[span.start, span.end, span.article],
                    "article": f"{self.kind[0]}{span.article:04d}",
                    "date": article.date,
                    "source": f"{self.kind}_stance",
                }
                intake.add(Fields(data, {}).segment(scheme, span.row.where, span.row.made_id))
        return intake.reading()


@dataclass(frozen=True)
class _Article:
    text: str
    headline: str = ""
    date: str = ""


@dataclass(frozen=True)
class _Annotation:
    article: int
    start: int
    end: int
    row: SourceRow


def _gnad10(path: Path, max_line_bytes: int) -> list[_Article]:
    articles = []
    for number, cells in csv_rows(path, separator=";", quotechar="'", max_line_bytes=max_line_bytes):
        if len(cells) != 2:
            raise UserError(f"{path}, line {number}: {len(cells)} cells, expected 2 (section;'text'); is this test.csv of 10kGNAD?")
        articles.append(_Article(cells[1]))
    return articles


def _wikinews(path: Path, max_line_bytes: int) -> list[_Article]:
    articles = []
    for row in json_rows(path, max_line_bytes=max_line_bytes):
        try:
            fields = Fields(row.fields(), {})
            title = _TITLE.match(fields.text("title"))
            headline, date = (title["headline"], title["date"] or "") if title else ("", "")
            articles.append(_Article(fields.text("text", required=True), headline.strip(), date))
        except Fault as fault:
            # Leaving out a text would shift all later rows.
            raise UserError(f"{row.where}: {fault.detail}") from None
    return articles


def _annotation(row: SourceRow, articles: Sequence[_Article], texts: Path) -> _Annotation:
    """Return the part of an article, or raise a ``Fault`` if it is not what was annotated."""
    data = row.fields()
    id = Fields(data, {}).word("id")
    article, start, end = (_whole(data, name, id) for name in ("row", "start", "end"))
    if not 0 <= article < len(articles):
        raise Fault("no_such_text", f"row is {article}; {texts} has the rows 0 to {len(articles) - 1}", id)
    text = articles[article].text
    if not 0 <= start < end <= len(text):
        wrong = f"start {start} and end {end} are no part of row {article} of {texts}"
        raise Fault("no_such_text", f"{wrong}, which has {len(text)} characters", id)
    expected = Fields(data, {}).text("sha1", required=True)
    found = hashlib.sha1(text[start:end].encode("utf-8", "surrogatepass")).hexdigest()[:10]
    if found != expected:
        wrong = f"the SHA-1 of characters {start} to {end} of row {article} of {texts} is {found}, expected {expected or '(none)'}"
        raise Fault("other_text", f"{wrong}; this is not the version of the text that was annotated", id)
    return _Annotation(article, start, end, row)


def _whole(data: Mapping[str, object], name: str, id: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Fault("wrong_type", f"'{name}' is {kind(value)}; expected a whole number", id)
    return value


def _contexts(annotated: Sequence[_Annotation], articles: Sequence[_Article], before: int, lead: bool) -> dict[tuple[int, int, int], str]:
    """Return the context of each span by its start, end and article."""
    grouped: dict[int, list[_Annotation]] = {}
    for span in sorted(annotated, key=lambda span: (span.article, span.start, span.end)):
        grouped.setdefault(span.article, []).append(span)
    contexts = {}
    for number, group in grouped.items():
        article = articles[number]
        earlier, end = list[str](), 0
        for span in group:
            gap = " ".join(article.text[end : span.start].split())
            if 0 < len(gap) < GAP:
                earlier.append(gap)
            headline = article.headline
            if not headline and span is not group[0]:
                first = article.text[group[0].start : group[0].end]
                headline = "" if before and first in earlier[-before:] else first
            # If the lead stands in for the headline, it is already included.
            contexts[span.start, span.end, number] = context(headline, earlier, before, lead and bool(article.headline))
            earlier.append(article.text[span.start : span.end])
            end = max(end, span.end)
    return contexts
