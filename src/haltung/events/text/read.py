"""Read articles from texts, web pages, JSON Lines, sheets, several of these, or standard input.

Unreadable input yields a ``Failure``, and reading continues. Trafilatura extracts a page's main
text: Barbaresi 2021, "Trafilatura: A Web Scraping Library and Command-Line Tool", ACL Demos.
"""

import codecs
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from haltung.corpus.clean import find_markup, repair_encoding, strip_markup
from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import existing, json_object, several
from haltung.corpus.parsing.rows import Fault
from haltung.corpus.readers.sheet import Sheet
from haltung.errors import UserError

_LINES = (".jsonl", ".ndjson", ".json")
SHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".csv", ".tsv", ".parquet", ".sav", ".dta")
_PAGES = (".html", ".htm", ".xhtml")
_TEXTS = (".txt", ".md", ".text")
STANDARD_INPUT = "-"
LONGEST = 500_000  # characters; the longest newspaper articles have some 50,000, longer files are archives
_PAGE = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_ROW = re.compile(r'\s*\{\s*"')
_SHORTEST_PAGE = 50  # characters; a shorter text of a web page is a menu rather than an article
_HEADLINE = 160  # characters; a first line that is longer or ends like a sentence is not a headline
_SENTENCE_END = re.compile(r"[.:;,][\"“”«»)]*$")
# UTF-32 first: its byte order mark begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
# A multi-byte character in UTF-8.
_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_ESCAPED = re.compile("[\udc80-\udcff]+")  # Python's surrogates for bytes that are not UTF-8
# In UTF-16 without a byte order mark, every other byte of Latin text is 0.
_UTF16_SHARE = 0.3
_LOST_SHARE = 0.05  # a file with a larger share of unreadable characters is rejected
# The candidates: German, the languages of Germany's neighbours, and others common in archives.
# With all languages as candidates, short texts are often taken for Luxembourgish or Low German.
LANGUAGES = ("de", "en", "fr", "it", "es", "pt", "nl", "da", "sv", "pl", "cs", "hu", "ro", "hr", "tr", "ru", "uk", "ar", "zh")
_LEAST_LETTERS = 80  # fewer are not enough: a headline of names looks alike in many languages
_SURE = 0.95  # the minimum probability, among the languages above, of an answer
_ENOUGH = 5000  # characters used to detect the language; more do not change the answer


@dataclass(frozen=True)
class Article:
    """An article; ``where`` names file and line, ``notes`` what was odd, ``date`` is ISO or "".

    The sentences to label begin at ``body``: after the headline if that is the first line.
    """

    id: str
    text: str
    headline: str = ""
    date: str = ""
    source: str = ""
    where: str = ""
    body: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Input that can't be read; ``{where}: {reason}`` is a sentence, ``row`` the line's content."""

    where: str
    reason: str
    row: object = field(default="", compare=False)


@dataclass(frozen=True)
class Language:
    """A language's ISO 639-1 code and its probability among ``LANGUAGES``.

    The code is "" if the text is short or the answer uncertain. Models know German news only.
    """

    code: str
    probability: float


def find(given: str, skip: Callable[[Path], bool] = lambda path: False) -> tuple[list[Path], list[str]]:
    """Return the files to read, and the names of other files; ``UserError`` if there are none."""
    if given == STANDARD_INPUT:
        return [Path(given)], []
    if (found := several(given)) is None:
        hint = "name a text, an HTML page, JSON Lines, a sheet, a folder of these or a pattern such as 'news/*.txt', or - for stdin"
        return [existing(given, hint, may_be_empty=True)], []
    files = [file for file in found if file.is_file() and not skip(file)]
    if not (known := [file for file in files if file.suffix.lower() in _LINES + _PAGES + _TEXTS + SHEETS]):
        raise UserError(f"{given} has no articles; expected *.txt, *.html, *.jsonl, *.csv, *.parquet or another kind of sheet")
    return known, [file.name for file in files if file not in known]


def read(files: Sequence[Path], longest: int = LONGEST, sheet: Sheet | None = None) -> Iterator[Article | Failure]:
    """Yield the articles of files in order, and a failure for each file or line that can't be read.

    JSON Lines have ``text``, and optionally ``id``, ``headline`` (or ``title``), ``date`` and
    ``source`` (or ``url``); so do sheets, read with the options of ``sheet``. An article of more
    than ``longest`` characters or with an earlier one's id is a failure. Raises ``UserError`` for a
    web page if trafilatura is not installed, or if the only file is a sheet that can't be read.
    """
    seen, stems = dict[str, str](), Counter(path.stem for path in files)
    folder = os.path.commonpath(files) if len(stems) < len(files) else ""
    for path in files:
        of_sheet = path.suffix.lower() in SHEETS
        # In several folders files may have the same name.
        name = path.stem if stems[path.stem] == 1 else path.relative_to(folder).with_suffix("").as_posix()
        for one in _sheet(replace(sheet or Sheet(""), path=str(path)), len(files) == 1) if of_sheet else _file(path, name):
            if isinstance(one, Failure):
                yield one
            elif len(one.text) > longest:
                yield Failure(one.where, f"has {len(one.text):,} characters, but the limit is {longest:,}; split it into its articles")
            elif (before := seen.setdefault(one.id, one.where)) != one.where:
                yield Failure(one.where, f"the id '{one.id}' is already used by {before}; give each article its own id")
            else:
                yield one


def _file(path: Path, name: str) -> Iterator[Article | Failure]:
    from_input = str(path) == STANDARD_INPUT
    where, name, suffix = ("standard input", "input", "") if from_input else (str(path), name, path.suffix.lower())
    try:
        with nullcontext(sys.stdin.buffer) if from_input else path.open("rb") as file:
            first = file.readline()
            is_lines = suffix in _LINES or (suffix == "" and _ROW.match(first.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")))
            # Text in UTF-16 or UTF-32 has NULs, and its lines can't be split by bytes.
            if is_lines and first.strip() and b"\0" not in first:
                yield from _rows(chain([first], file), where, name)
                return
            text, notes = decode(first + file.read())
    except (OSError, Fault) as error:
        yield Failure(where, f"can't be read ({error.strerror or error})" if isinstance(error, OSError) else str(error))
        return
    if suffix in _LINES or (suffix == "" and _ROW.match(text)):
        yield from _rows([text.encode("utf-8", "surrogatepass")], where, name, notes)
    elif suffix in _PAGES or _PAGE.match(text):
        yield _page(text, where, name, notes)
    else:
        yield article_of(text, name, where=where, notes=notes)


def article_of(text: str, id: str, headline: str = "", date: str = "", where: str = "", notes: tuple[str, ...] = ()) -> Article:
    """Return a text as an article; a short first line is its headline, unless one is given."""
    found, body = (headline, 0) if headline else _first_line(text)
    return Article(id, text, found, date, where=where, body=body, notes=notes)


def _page(html: str, where: str, name: str, notes: tuple[str, ...]) -> Article | Failure:
    """Return the article of a web page, without menus, advertising and comments."""
    try:
        from trafilatura import bare_extraction
    except ImportError as error:
        raise UserError(f"reading HTML needs trafilatura, which can't be imported ({error}); pip install 'haltung[events]'") from None
    page = bare_extraction(html, favor_precision=True, include_comments=False, include_tables=False, with_metadata=True)
    text, title, date, url, site = (str(getattr(page, key, "") or "") for key in ("text", "title", "date", "url", "sitename"))
    if len(text.strip()) < _SHORTEST_PAGE:
        return Failure(where, "no main text was found in the HTML; save the article as text, or check if the page is a list or a login")
    return Article(name, text, " ".join(title.split()), date[:10], url or site, where, notes=notes)


def _rows(raw: Iterable[bytes], where: str, name: str, notes: tuple[str, ...] = ()) -> Iterator[Article | Failure]:
    # Only these end a line of JSON; U+2028 and the like may occur inside a string.
    lines = (line for part in raw for line in re.split(rb"\r\n|\n|\r", part.removesuffix(b"\n").removesuffix(b"\r")))
    for number, line in enumerate(lines, 1):
        if number == 1 and line.lstrip().startswith(b"["):
            yield Failure(where, "is one JSON array; expected JSON Lines, one object per line (jq -c '.[]' converts it)")
            return
        if line.strip():
            line_of = f"{where}, line {number}"
            try:
                text, odd = decode(line)
                yield _row(Fields(json_object(text), {}), line_of, f"{name}-{number}", notes + odd)
            except Fault as error:
                yield Failure(line_of, str(error), line.decode("utf-8", "backslashreplace"))


def _sheet(sheet: Sheet, alone: bool) -> Iterator[Article | Failure]:
    try:
        rows, columns = sheet.opened()
        columns["id"] = sheet.columns.get("id") or ""  # a recognised id is often that of a person
        for row in rows:
            try:
                yield _row(Fields(row.fields(), columns), row.where, row.made_id, ())
            except Fault as error:
                yield Failure(row.where, str(error), row.raw if row.fault else row.data)
    except UserError as error:
        if alone:
            raise
        yield Failure(str(sheet.path), str(error).removeprefix(str(sheet.path)).lstrip(":, "))


def _row(fields: Fields, where: str, made_id: str, notes: tuple[str, ...]) -> Article:
    text = fields.text("text")
    if not text.strip():
        column = fields.columns.get("text", "text")
        found = "it is empty" if column in fields.data else f"the line has {', '.join(fields.data) or 'nothing'}"
        raise Fault("missing_field", f"no '{column}'; {found}")
    if find_markup(text).startswith("<"):
        # Line by line, since line breaks separate paragraphs.
        text = "\n".join(strip_markup(part) for part in re.sub(r"<(?:/p|br\s*/?|/h[1-6]|/li)>", "\n", text).split("\n"))
        notes = (*notes, "HTML tags were removed from the text")
    given, date = str(fields.get("date") or "").strip(), ""
    for one in (given, given[:10]):  # a time in an unusual format may follow
        with suppress(Fault):
            date = date or Fields({"date": one}, {}).date()
    if given and not date:  # the article is kept nonetheless
        notes = (*notes, f"the date {given[:40]!r} can't be parsed, expected YYYY-MM-DD; the article is treated as undated")
    headline = fields.text("headline") or fields.text("title")
    source = fields.text("source") or fields.text("url")
    return Article(fields.word("id") or made_id, text, " ".join(headline.split()), date, source, where, notes=notes)


def _first_line(text: str) -> tuple[str, int]:
    """Return the first line and the position after it if it is a headline, else "" and 0."""
    match = re.match(r"\s*([^\r\n]+)(?:\r\n|\n|\r)\s*(?=\S)", text)
    line = match[1].strip() if match else ""
    if match is None or len(line) > _HEADLINE or _SENTENCE_END.search(line):
        return "", 0
    # A text with hard line breaks has a headline only if an empty line follows the first line.
    rest = text[match.end() :].partition("\n")[0].strip()
    apart = len(re.findall(r"\r\n|\n|\r", text[match.end(1) : match.end()])) > 1
    return (line, match.end()) if apart or len(rest) > _HEADLINE else ("", 0)


def decode(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the text of a file, and notes on its encoding, none for plain UTF-8.

    The order is: a byte order mark, UTF-16 without one, UTF-8, and last UTF-8 with Windows-1252 (a
    superset of Latin-1) for all bytes that are not UTF-8, which reads files in either encoding or
    in a mixture. Mojibake ("fÃ¼r") is repaired. Raises ``Fault`` if the text is empty or binary,
    or if a share of more than ``_LOST_SHARE`` of its characters can't be read.
    """
    text, notes = _decoded(raw)
    if not text.strip():
        raise Fault("no_text", "is empty" if not raw else "contains only white space")
    if "\0" in text:
        raise Fault("no_text", f"is not text (a NUL at character {text.index(chr(0)) + 1:,}); expected text, HTML or JSON Lines")
    if (better := repair_encoding(text)) != text:
        text = better
        notes.append("wrongly decoded letters were repaired")
    if (lost := text.count("\ufffd")) > _LOST_SHARE * len(text):
        raise Fault("no_text", f"is not in a known encoding ({lost:,} of {len(text):,} characters can't be read); save it as UTF-8")
    if lost:
        notes.append(f"{lost:,} {'character' if lost == 1 else 'characters'} can't be read; replaced by \ufffd")
    return text.removeprefix("\ufeff"), tuple(notes)


def _decoded(raw: bytes) -> tuple[str, list[str]]:
    for mark, codec in _MARKS.items():
        if raw.startswith(mark):
            return raw.decode(codec, "replace"), [] if mark == codecs.BOM_UTF8 else [f"read as {codec.upper()}"]
    for codec, zeros in (("utf-16-le", raw[1:2000:2]), ("utf-16-be", raw[0:2000:2])):
        if len(raw) > 1 and zeros.count(0) > _UTF16_SHARE * len(zeros):
            return raw.decode(codec, "replace"), ["read as UTF-16, though it has no byte order mark"]
    text = raw.decode("utf-8", "surrogateescape")
    text, odd = _ESCAPED.subn(lambda run: run[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace"), text)
    how = "mixed encodings: read as UTF-8, and as Windows-1252 where that fails" if _UTF8.search(raw) else "read as Windows-1252"
    return text, [how] if odd else []


def language(text: str) -> Language:
    """Return the language of a text; raise ``UserError`` if py3langid is not installed."""
    plain = " ".join(text[:_ENOUGH].split())
    if sum(character.isalpha() for character in plain) < _LEAST_LETTERS:
        return Language("", 0.0)
    code, probability = _identifier().classify(plain)
    return Language(str(code) if probability >= _SURE else "", float(probability))


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("finding an article's language needs py3langid, which is not installed; pip install 'haltung[events]'") from None
    # A separate instance, because the library's own is shared, including its set of languages.
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
