"""Articles from any source: texts, pages, JSON Lines, folders, in any encoding."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from haltung.corpus.parsing.rows import Fault
from haltung.errors import UserError
from haltung.events.text import read as reading
from haltung.events.text.read import Article, Failure, decode, language
from haltung.events.text.sentences import split

TEXT = "Die Türkei warnt Österreich. „Das wäre ein Fehler“, sagte der Außenminister am Freitag in Ankara, wo er Journalisten empfing."

PAGE = f"""<!DOCTYPE html><html lang="de"><head><meta charset="utf-8"><title>Türkei warnt Österreich</title>
<meta property="article:published_time" content="2026-05-21T10:00:00+02:00"><meta property="og:title" content="Türkei warnt Österreich">
</head><body><nav><ul><li><a href="/">Start</a></li><li><a href="/p">Politik</a></li></ul></nav><article><h1>Türkei warnt Österreich</h1>
<p>{TEXT}</p><p>{TEXT.replace("Freitag", "Montag")} Wien äußerte sich zunächst nicht zu den Vorwürfen, die seit Wochen im Raum stehen.</p>
<p>Der Streit um die Flugrechte währt seit Jahren, und beide Seiten hatten zuletzt vergeblich einen Vermittler gesucht.</p></article>
<footer><p>Impressum</p></footer></body></html>"""


def read(path: Path, **more: int) -> list[Article | Failure]:
    return list(reading.read(reading.find(str(path))[0], **more))


def lines(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize(
    ("raw", "notes"),
    [
        (TEXT.encode(), ()),
        (b"\xef\xbb\xbf" + TEXT.encode(), ()),
        (TEXT.encode("utf-16"), ("read as UTF-16",)),
        (TEXT.encode("utf-16-le"), ("read as UTF-16, though it has no byte order mark",)),
        (TEXT.encode("utf-32"), ("read as UTF-32",)),
        (TEXT.encode("cp1252"), ("read as Windows-1252",)),
        (TEXT[:29].encode() + TEXT[29:].encode("cp1252"), ("mixed encodings: read as UTF-8, and as Windows-1252 where that fails",)),
        (TEXT.encode().decode("cp1252", "ignore").encode(), ("wrongly decoded letters were repaired",)),
    ],
    ids=["utf-8", "bom", "utf-16", "utf-16 bare", "utf-32", "cp1252", "mixed", "mojibake"],
)
def test_a_text_is_read_in_any_encoding(raw: bytes, notes: tuple[str, ...]) -> None:
    """A note names every encoding except UTF-8."""
    text, found = decode(raw)
    assert "Türkei warnt Österreich" in text
    assert found == notes


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b" \n", "contains only white space"),
        (b"\x89PNG\x00\x00" + bytes(range(256)), "is not text"),
        (b"\x81\x8d\x8f" * 40, "is not in a known encoding"),
    ],
)
def test_what_is_no_text_is_refused(raw: bytes, message: str) -> None:
    """It is not labelled."""
    with pytest.raises(Fault, match=message):
        decode(raw)


def test_a_byte_that_is_lost_is_counted() -> None:
    """The article is still read."""
    assert decode(TEXT.encode("cp1252") + b"\x81")[1][-1] == "1 character can't be read; replaced by \ufffd"


def test_a_texts_first_line_is_its_headline_where_it_looks_like_one(tmp_path: Path) -> None:
    """The sentences then begin after it; the text itself is unchanged."""
    path = tmp_path / "a.txt"
    path.write_text(f"Türkei warnt Österreich\n\n{TEXT}\n", encoding="utf-8")
    (article,) = read(path)
    assert isinstance(article, Article)
    assert (article.id, article.headline, article.text[article.body :].strip()) == ("a", "Türkei warnt Österreich", TEXT)


def test_a_text_that_begins_with_a_sentence_has_no_headline(tmp_path: Path) -> None:
    """Its first sentence is labelled like any other."""
    path = tmp_path / "a.txt"
    path.write_text(f"{TEXT}\n\n{TEXT}\n", encoding="utf-8")
    (article,) = read(path)
    assert isinstance(article, Article)
    assert (article.headline, article.body) == ("", 0)


def test_a_page_gives_its_main_text_title_and_date(tmp_path: Path) -> None:
    """Without its menu and its footer."""
    path = tmp_path / "seite.html"
    path.write_text(PAGE, encoding="utf-8")
    (article,) = read(path)
    assert isinstance(article, Article), article
    assert (article.headline, article.date) == ("Türkei warnt Österreich", "2026-05-21")
    assert TEXT in article.text
    assert "Impressum" not in article.text
    assert "Start" not in article.text


def test_a_page_without_a_main_text_is_a_failure(tmp_path: Path) -> None:
    """The reason is one sentence."""
    path = tmp_path / "leer.html"
    path.write_text("<html><body><nav><a href='/'>Start</a></nav></body></html>", encoding="utf-8")
    assert read(path) == [
        Failure(str(path), "no main text was found in the HTML; save the article as text, or check if the page is a list or a login")
    ]


def test_json_lines_give_headline_date_and_source_under_either_name(tmp_path: Path) -> None:
    """``title`` means headline, ``url`` means source; German dates are understood."""
    path = lines(
        tmp_path / "a.jsonl",
        {"id": 7, "text": TEXT, "headline": "H", "date": "2026-05-21", "source": "Bote"},
        {"text": f"<p>{TEXT}</p><p>Nein.</p>", "title": "T", "date": "3.4.2026", "url": "https://example.org"},
        {"text": TEXT, "date": "gestern"},
    )
    first, second, third = read(path)
    assert first == Article("7", TEXT, "H", "2026-05-21", "Bote", f"{path}, line 1")
    assert isinstance(second, Article)
    assert (second.id, second.headline, second.date, second.source) == ("a-2", "T", "2026-04-03", "https://example.org")
    assert second.text.split("\n")[:2] == [TEXT, "Nein."]
    assert isinstance(third, Article)
    assert third.date == ""
    assert "the date 'gestern'" in third.notes[0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": "a', "not JSON ("),
        ("[1]", "one JSON array"),
        ("3", "expected one object"),
        ({"txt": "a"}, "no 'text'; the line has txt"),
        ({"text": 3}, "'text' is a number"),
        ({"text": "  "}, "no 'text'"),
        ('{"text": "\\ud83d"}', "text"),
    ],
)
def test_a_broken_line_is_a_failure_with_its_line(tmp_path: Path, row: object, message: str) -> None:
    """The reason says what was found or expected."""
    (failure,) = read(lines(tmp_path / "a.jsonl", row))
    assert isinstance(failure, Failure)
    assert message in failure.reason
    assert failure.where.startswith(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(("encoding", "end"), [("utf-8-sig", "\n"), ("utf-8", "\r\n"), ("utf-8", "\r"), ("utf-16", "\n"), ("cp1252", "\n")])
def test_json_lines_are_read_line_by_line_in_any_encoding(tmp_path: Path, encoding: str, end: str) -> None:
    """Each article has the number of its line; U+2028 ends no line."""
    path = tmp_path / "a.jsonl"
    mark = "\u2028" if encoding != "cp1252" else ""
    rows = [json.dumps({"id": str(n), "text": f"{TEXT}{mark} {n}"}, ensure_ascii=False) for n in range(3)]
    path.write_bytes(end.join(rows).encode(encoding))
    found = read(path)
    assert [(one.id, one.where) for one in found if isinstance(one, Article)] == [(str(n), f"{path}, line {n + 1}") for n in range(3)]
    assert [one.text for one in found if isinstance(one, Article)] == [f"{TEXT}{mark} {n}" for n in range(3)]


def test_an_archive_of_articles_is_not_read_whole(tmp_path: Path) -> None:
    """Only one line and the ids of articles are held in memory."""
    path = tmp_path / "a.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"{n} {TEXT * 80}"}) + "\n" for n in range(2000))
    tracemalloc.start()
    count = sum(1 for _ in reading.read(reading.find(str(path))[0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2000
    assert peak < path.stat().st_size / 4


def test_a_failure_stops_nothing(tmp_path: Path) -> None:
    """The lines and files after it are still read."""
    lines(tmp_path / "a.jsonl", {"text": TEXT}, "kaputt", {"id": "x", "text": TEXT}, {"id": "x", "text": TEXT})
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / "c.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "d.pdf").write_bytes(b"%PDF")
    articles = read(tmp_path)
    assert [one.id if isinstance(one, Article) else one.reason.partition(";")[0] for one in articles] == [
        "a-1",
        "column 1: not JSON (Expecting value)",
        "x",
        f"the id 'x' is already used by {tmp_path / 'a.jsonl'}, line 3",
        "is empty",
        "c",
    ]
    assert reading.find(str(tmp_path))[1] == ["d.pdf"]


def test_a_folder_and_a_pattern_have_texts_and_sheets(tmp_path: Path) -> None:
    """In the order of their names, with errors of rows and sheets among the articles; a faulty
    sheet that is the only file is refused.
    """
    (tmp_path / "a.csv").write_text(f'Nr;Volltext\n1;"{TEXT}\n{TEXT}"\n2\n3;\n4;{TEXT}\n', encoding="utf-8")
    (tmp_path / "b.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "c.csv").write_text("Nr;Wert\n1;2\n", encoding="utf-8")
    pq.write_table(pa.table({"text": [TEXT, ""], "date": ["2026-05-21", "2026-05-22"]}), tmp_path / "d.parquet")
    (tmp_path / "e.csv").write_bytes(b"")
    (tmp_path / ".f.txt").write_text(TEXT, encoding="utf-8")
    found = read(tmp_path)
    assert [
        one.id if isinstance(one, Article) else (one.where.removeprefix(f"{tmp_path}/"), one.reason.partition(";")[0]) for one in found
    ] == [
        "a-2",
        ("a.csv, line 4", "1 cells, expected 2 (Nr, Volltext)"),
        ("a.csv, line 5", "no 'Volltext'"),
        "a-6",
        "b",
        ("c.csv", "no column 'text'"),
        "d-1",
        ("d.parquet, row 2", "no 'text'"),
        ("e.csv", "is empty"),
    ]
    assert [one.id for one in read(tmp_path / "[b-d].*") if isinstance(one, Article)] == ["b", "d-1"]
    with pytest.raises(UserError, match="no column 'text'"):
        read(tmp_path / "c.csv")


def test_an_article_of_5_mb_is_refused_with_the_limit(tmp_path: Path) -> None:
    """It is probably a whole archive in one file."""
    path = tmp_path / "a.txt"
    path.write_text(f"{TEXT} " * 41_000, encoding="utf-8")
    (failure,) = read(path)
    assert isinstance(failure, Failure)
    assert "but the limit is 500,000" in failure.reason


@pytest.mark.parametrize(("name", "message"), [("artikle.txt", "did you mean 'artikel.txt'"), ("leer", "has no article")])
def test_an_input_that_is_not_there_is_the_users_mistake(tmp_path: Path, name: str, message: str) -> None:
    """Refused before a model is loaded."""
    (tmp_path / "artikel.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "leer").mkdir()
    with pytest.raises(UserError, match=message):
        reading.find(str(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (TEXT, "de"),
        ("The United States warned Russia on Tuesday against closer defence cooperation with North Korea, a spokesman said.", "en"),
        ("Le gouvernement français a mis en garde la Russie contre une coopération plus étroite avec la Corée du Nord.", "fr"),
        ("Macron, Biden, Putin", ""),
        ("", ""),
    ],
)
def test_the_language_is_known_where_there_is_enough_text(text: str, code: str) -> None:
    """A short text gets no language instead of a guessed one."""
    assert language(text).code == code


def test_all_wikinews_articles_are_read_split_and_german(tmp_path: Path, shared: Path) -> None:
    """None fails or is taken for another language; every tenth is split too."""
    articles = read(shared / "wikinews/articles.jsonl")
    assert len(articles) == 998
    assert all(isinstance(article, Article) and article.text for article in articles)
    assert [article.id for article in articles if isinstance(article, Article) and language(article.text).code not in ("", "de")] == []
    for article in articles[::10]:
        assert isinstance(article, Article)
        assert split(article.text)


def test_files_of_several_folders_may_have_the_same_name(tmp_path: Path) -> None:
    """Only the ids of these articles are prefixed with their folders."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "01.txt").write_text("Peru warnt Chile.", encoding="utf-8")
    (tmp_path / "a/02.txt").write_text("Peru lobt Chile.", encoding="utf-8")
    files, _ = reading.find(str(tmp_path / "*/*.txt"))
    assert [one.id for one in reading.read(files) if isinstance(one, Article)] == ["a/01", "02", "b/01"]
