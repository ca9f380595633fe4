"""Stand-off annotations: labels on character positions of texts that may not be shipped."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, csv_rows, existing, json_rows, lines
from haltung.corpus.parsing.rows import Fault, Intake, Reading, SourceRow
from haltung.errors import UserError, kind, one_of
from haltung.labels import Scheme

# Where to get the texts of each kind.
PUBLIC = {
    "gnad10": "test.csv of 10kGNAD is at github.com/tblock/10kGNAD",
    "wikinews": "the Wikinews articles are at github.com/uhh-lt/german-news-quotation-attribution-2024",
    "bundestag": "the speeches are the files *.txt of github.com/mathias-goebel/plenarsitzungsprotokolle",
}

# "10022 - Neil Armstrong wird 75 (2005-08-05)"
_TITLE = re.compile(r"^(?:\d+ - )?(?P<headline>.*?)(?: \((?P<date>\d{4}-\d{2}-\d{2})\))?$", re.DOTALL)

# "B_NDNIS_90_DIE_GR_NEN-Mihalic-ID20100300-898c4f.txt"; only some names end in a digest.
_SPEECH_FILE = re.compile(r"^(?P<speaker>.+)-(?P<id>ID\d+)(?:-[0-9a-f]+)?\.txt$")

# Its file names have _ for whatever is neither an ASCII letter nor a digit.
_PARTIES = {"CDU_CSU": "CDU/CSU", "B_NDNIS_90_DIE_GR_NEN": "Bündnis 90/Die Grünen", "DIE_LINKE": "Die Linke"}


@dataclass(frozen=True)
class Standoff:
    """Annotations (JSONL: id, row, start, end, sha1, labels, dyads, split) on a file of articles.

    ``kind`` is the kind of text file: ``gnad10`` (the CSV of 10kGNAD), ``wikinews`` (JSONL with
    title and text) or ``bundestag`` (a folder with a file ``SPEAKER-ID.txt`` for each speech, or
    with the file ``speeches.jsonl.gz`` of id, speaker and text; or such a file). ``row`` counts
    its articles from 0, but speeches are found by ``speech``, their id; ``start`` and ``end`` are
    characters, ``sha1`` is the first ten hex digits of the digest of the segment in UTF-8.

    ``rounds`` keeps the segments of these rounds of annotation alone (null: all), so that metrics
    can be compared with those from before a corpus has grown. 10kGNAD has no headlines. A speech's
    headline is who speaks.
    """

    annotations: str
    texts: str
    kind: str = "gnad10"
    rounds: Sequence[int] | None = None
    on_error: str = "stop"
    max_line_bytes: int = MAX_LINE_BYTES

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read: annotations and texts, of speeches the annotated ones."""
        annotations = existing(self.annotations)
        folder = Path(self.texts).expanduser()
        if self.kind == "bundestag" and folder.is_dir():
            return annotations, *_speech_files(folder, annotations, self.max_line_bytes)
        hint = f"{PUBLIC[self.kind]}; its texts may not be shipped" if self.kind in PUBLIC else ""
        return annotations, existing(folder, hint)

    def read(self, scheme: Scheme) -> Reading:
        """Read all annotations (see ``Reader``); texts other than those annotated are faults."""
        one_of("kind", self.kind, PUBLIC)
        annotations, *files = self.files()
        texts, articles = Path(self.texts).expanduser(), _articles(self.kind, files, annotations, self.max_line_bytes)
        intake = Intake(scheme, str(annotations), self.on_error)
        annotated: list[_Annotation] = []
        for row in json_rows(annotations, max_line_bytes=self.max_line_bytes):
            with intake.row(row):
                if self.rounds is None or row.fields().get("round") in self.rounds:
                    annotated.append(_annotation(row, articles, texts))
        if self.rounds is not None and not annotated:
            # Speeches came with the second round; in a union the other parts have the first.
            return Reading(())
        order = sorted(annotated, key=lambda span: (span.article, span.start, span.end))
        positions = {id(span): place for _, group in groupby(order, lambda span: span.article) for place, span in enumerate(group)}
        for span in annotated:
            article = articles[span.article]
            with intake.row(replace(span.row, made_id=Fields(span.row.data, {}).word("id"))):
                data = {
                    **span.row.data,
                    "text": article.text[span.start : span.end],
                    "article": f"{self.kind[0]}{span.article:04d}",
                    "headline": article.headline,
                    "position": positions[id(span)],
                    "date": article.date,
                    "source": f"{self.kind}_stance",
                }
                intake.add(Fields(data, {}).segment(scheme, span.row))
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


def _articles(kind: str, files: Sequence[Path], annotations: Path, max_line_bytes: int) -> Mapping[int, _Article]:
    """Return the articles by row; of speeches only those that are annotated."""
    if kind == "bundestag":
        if not (rows := _speech_rows(annotations, max_line_bytes)):
            raise UserError(f"{annotations} names no 'speech' and its 'row'; annotations of speeches name each by its id in the records")
        return {rows[id]: speech for path in files for id, speech in _speeches(path, max_line_bytes) if id in rows}
    read = _wikinews if kind == "wikinews" else _gnad10
    return dict(enumerate(read(files[0], max_line_bytes)))


def _gnad10(path: Path, max_line_bytes: int) -> Iterator[_Article]:
    for number, cells in csv_rows(path, separator=";", quotechar="'", max_line_bytes=max_line_bytes):
        if len(cells) != 2:
            raise UserError(f"{path}, line {number}: {len(cells)} cells, expected 2 (section;'text'); is this test.csv of 10kGNAD?")
        yield _Article(cells[1])


def _wikinews(path: Path, max_line_bytes: int) -> Iterator[_Article]:
    for row in json_rows(path, max_line_bytes=max_line_bytes):
        with _unbroken(row) as fields:
            title = _TITLE.match(fields.text("title"))
            headline, date = (title["headline"], title["date"] or "") if title else ("", "")
            yield _Article(fields.text("text", required=True), headline.strip(), date)


def _speeches(path: Path, max_line_bytes: int) -> Iterator[tuple[str, _Article]]:
    """Yield the speeches of a file with their ids; a text file is one speech."""
    if name := _SPEECH_FILE.match(path.name):
        text = "".join(line.text for line in lines(path, max_line_bytes=max_line_bytes))
        yield name["id"], _Article(text, _speaker(name["speaker"]))
        return
    for row in json_rows(path, max_line_bytes=max_line_bytes):
        with _unbroken(row) as fields:
            yield fields.word("id"), _Article(fields.text("text", required=True), _speaker(fields.text("speaker")))


def _speaker(name: str) -> str:
    """Return the party, or the office as far as its name is whole, as "Bundesministerin"."""
    affiliation = re.sub("__+", "_", name.partition("-")[0])
    return f"Rede im Bundestag ({_PARTIES.get(affiliation) or affiliation.partition('_')[0]})"


def _speech_files(folder: Path, annotations: Path, max_line_bytes: int) -> tuple[Path, ...]:
    """Return the one file of all speeches in a folder, or the files of the annotated ones by id."""
    if (whole := folder / "speeches.jsonl.gz").is_file():
        return (whole,)
    wanted = _speech_rows(annotations, max_line_bytes)
    names = ((match["id"], path) for path in sorted(folder.rglob("*-ID*.txt")) if (match := _SPEECH_FILE.match(path.name)))
    found = {id: path for id, path in names if id in wanted}
    if not found:
        raise UserError(f"{folder} has neither speeches.jsonl.gz nor a file SPEAKER-ID.txt of an annotated speech; {PUBLIC['bundestag']}")
    return tuple(found[id] for id in sorted(found))


def _speech_rows(annotations: Path, max_line_bytes: int) -> dict[str, int]:
    """Return the row of each annotated speech by its id, without those that are broken."""
    rows = {}
    for row in json_rows(annotations, max_line_bytes=max_line_bytes):
        speech, number = row.data.get("speech"), row.data.get("row")
        if isinstance(speech, str) and isinstance(number, int):
            rows[speech] = number
    return rows


@contextmanager
def _unbroken(row: SourceRow) -> Iterator[Fields]:
    """Give the row's fields; a fault ends the reading: without a text all later rows shift."""
    try:
        yield Fields(row.fields(), {})
    except Fault as fault:
        raise UserError(f"{row.where}: {fault.detail}") from None


def _annotation(row: SourceRow, articles: Mapping[int, _Article], texts: Path) -> _Annotation:
    """Return the part of an article, or raise a ``Fault`` if it is not what was annotated."""
    data = row.fields()
    id = Fields(data, {}).word("id")
    article, start, end = (_whole(data, name, id) for name in ("row", "start", "end"))
    if article not in articles:
        speech = Fields(data, {}).text("speech")
        rows = f"row is {article}; {texts} has the rows 0 to {len(articles) - 1}"
        raise Fault("no_such_text", f"speech is {speech}, which {texts} does not have" if speech else rows, id)
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
