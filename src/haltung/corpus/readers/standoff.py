"""Stand-off annotations: labels on character positions of texts that may not be shipped."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import existing, json_rows, lines
from haltung.corpus.parsing.rows import Fault, Intake, Reading, SourceRow
from haltung.corpus.readers.tables import Csv
from haltung.errors import UserError, kind, one_of, short
from haltung.labels import Scheme
from haltung.records import Segment

PUBLIC = {  # where to get the texts of each kind
    "gnad10": "test.csv of 10kGNAD is at github.com/tblock/10kGNAD",
    "wikinews": "the Wikinews articles are at github.com/uhh-lt/german-news-quotation-attribution-2024",
    "bundestag": "the speeches are the files *.txt of github.com/mathias-goebel/plenarsitzungsprotokolle",
}
# "10022 - Neil Armstrong wird 75 (2005-08-05)"
_TITLE = re.compile(r"^(?:\d+ - )?(?P<headline>.*?)(?: \((?P<date>\d{4}-\d{2}-\d{2})\))?$", re.DOTALL)
# "B_NDNIS_90_DIE_GR_NEN-Mihalic-ID20100300-898c4f.txt"; only some names end in a digest.
_SPEECH_FILE = re.compile(r"^(?P<speaker>.+)-(?P<id>ID\d+)(?:-[0-9a-f]+)?\.txt$")
# Names of speech files have _ for every character but ASCII letters and digits.
_PARTIES = {"CDU_CSU": "CDU/CSU", "B_NDNIS_90_DIE_GR_NEN": "Bündnis 90/Die Grünen", "DIE_LINKE": "Die Linke"}


@dataclass(frozen=True)
class Standoff:
    """Annotations (JSONL: id, row, start, end, sha1, labels, dyads, split) of articles in a file.

    ``kind`` is the format of the texts: ``gnad10`` (the CSV of 10kGNAD), ``wikinews`` (JSONL with
    title and text) or ``bundestag`` (a folder with one file ``SPEAKER-ID.txt`` per speech, or with
    the file ``speeches.jsonl.gz`` of id, speaker and text; or one such file). ``row`` is the index
    of an article from 0, but speeches are found by ``speech``, their id; ``start`` and ``end`` are
    character offsets, ``sha1`` is the first ten hex digits of the SHA-1 of the segment in UTF-8.

    ``rounds`` selects rounds of annotation (null: all), so that metrics stay comparable with those
    from before a corpus grew. 10kGNAD has no headlines. A speech's headline names the speaker's
    party or office.
    """

    annotations: str
    texts: str
    kind: str = "gnad10"
    rounds: Sequence[int] | None = None
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read: annotations, and texts (of speeches, those annotated)."""
        public = PUBLIC[one_of("kind", self.kind, PUBLIC)]
        annotations = existing(self.annotations)
        folder = Path(self.texts).expanduser()
        if self.kind == "bundestag" and folder.is_dir():
            return annotations, *_speech_files(folder, annotations)
        return annotations, existing(folder, f"{public}; its texts may not be shipped")

    def read(self, scheme: Scheme) -> Reading:
        """Read all annotations (see ``Reader``); an annotated text that has changed is a fault."""
        annotations, *files = self.files()
        texts = Path(self.texts).expanduser()
        # A faulty text always stops the reading: dropping it would shift all later rows.
        articles = _articles(self.kind, files, annotations, Intake(scheme, str(texts)))
        intake = Intake(scheme, str(annotations), self.on_error)
        annotated: list[SourceRow] = []
        for row in json_rows(annotations):
            with intake.row(row):
                if self.rounds is None or row.fields().get("round") in self.rounds:
                    annotated.append(_annotated(row, self.kind, articles, texts))
        if self.rounds is not None and not annotated:
            # Speeches were added in the second round; in a union, the other parts have the first.
            return Reading(())
        order = sorted(annotated, key=lambda row: [row.data[name] for name in ("row", "start", "end")])
        positions = {id(row): place for _, group in groupby(order, lambda row: row.data["row"]) for place, row in enumerate(group)}
        for row in annotated:
            fields = Fields({**row.data, "position": positions[id(row)]}, {})
            with intake.row(replace(row, made_id=fields.word("id"))):
                intake.add(fields.segment(scheme, row))
        return intake.reading()


def _articles(kind: str, files: Sequence[Path], annotations: Path, intake: Intake) -> Mapping[int, Segment]:
    """Return the articles by row number; of speeches, only the annotated ones."""
    if kind == "bundestag":
        if not (rows := _speech_rows(annotations)):
            raise UserError(f"{annotations} has no 'speech' with its 'row'; annotations of speeches name each by its id in the records")
        return {rows[speech.id]: speech for path in files for speech in _speeches(path, intake) if speech.id in rows}
    articles, path = list[Segment](), files[0]
    for row in json_rows(path) if kind == "wikinews" else Csv("", separator=";", quotechar="'", names=["section", "text"]).rows(path):
        with intake.row(row):
            fields = Fields(row.fields(), {})
            title = _TITLE.match(fields.text("title"))
            headline, date = (title["headline"], title["date"] or "") if title else ("", "")
            articles.append(Segment("", fields.text("text", required=True), headline=headline.strip(), date=date))
    return dict(enumerate(articles))


def _speeches(path: Path, intake: Intake) -> Iterator[Segment]:
    """Yield the speeches of a file; a text file is one speech."""
    if name := _SPEECH_FILE.match(path.name):
        yield Segment(name["id"], "".join(lines(path)), headline=_speaker(name["speaker"]))
        return
    for row in json_rows(path):
        with intake.row(row):
            fields = Fields(row.fields(), {})
            yield Segment(fields.word("id"), fields.text("text", required=True), headline=_speaker(fields.text("speaker")))


def _speaker(name: str) -> str:
    """Return a headline with the party, or the office's first word ("Bundesministerin")."""
    affiliation = re.sub("__+", "_", name.partition("-")[0])
    return f"Rede im Bundestag ({_PARTIES.get(affiliation) or affiliation.partition('_')[0]})"


def _speech_files(folder: Path, annotations: Path) -> tuple[Path, ...]:
    """Return the file of all speeches in a folder, or the annotated ones' files, sorted by id."""
    if (whole := folder / "speeches.jsonl.gz").is_file():
        return (whole,)
    wanted = _speech_rows(annotations)
    speeches = ((path, _SPEECH_FILE.match(path.name)) for path in sorted(folder.rglob("*-ID*.txt")))
    if not (found := {name["id"]: path for path, name in speeches if name and name["id"] in wanted}):
        raise UserError(f"{folder} has neither speeches.jsonl.gz nor a file SPEAKER-ID.txt of an annotated speech; {PUBLIC['bundestag']}")
    return tuple(found[id] for id in sorted(found))


def _speech_rows(annotations: Path) -> dict[str, int]:
    """Return the row number of each annotated speech by id; faulty annotations are skipped."""
    found = ((row.data.get("speech"), row.data.get("row")) for row in json_rows(annotations))
    return {speech: number for speech, number in found if isinstance(speech, str) and isinstance(number, int)}


def _annotated(row: SourceRow, kind: str, articles: Mapping[int, Segment], texts: Path) -> SourceRow:
    """Return the row with the annotated text; raise a ``Fault`` if it is missing or has changed."""
    fields = Fields(row.fields(), {})
    id = fields.word("id")
    number, start, end = (_whole(row.data, name, id) for name in ("row", "start", "end"))
    if number not in articles:
        speech = fields.text("speech")
        rows = f"row is {number}; {texts} has the rows 0 to {len(articles) - 1}"
        raise Fault("no_such_text", f"speech is {short(speech)}, which {texts} does not have" if speech else rows, id)
    article = articles[number]
    if not 0 <= start < end <= len(article.text):
        wrong = f"start {start} and end {end} are not within row {number} of {texts}"
        raise Fault("no_such_text", f"{wrong}, which has {len(article.text)} characters", id)
    expected, text = fields.text("sha1", required=True), article.text[start:end]
    if (found := hashlib.sha1(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]) != expected:
        wrong = f"the SHA-1 of characters {start} to {end} of row {number} of {texts} is {found}, expected {expected or '(none)'}"
        raise Fault("other_text", f"{wrong}; this is not the version of the text that was annotated", id)
    added = {"text": text, "article": f"{kind[0]}{number:04d}", "headline": article.headline, "date": article.date}
    return replace(row, data={**row.data, **added, "source": f"{kind}_stance"})


def _whole(data: Mapping[str, object], name: str, id: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Fault("wrong_type", f"'{name}' is {kind(value)}; expected a whole number", id)
    return value
