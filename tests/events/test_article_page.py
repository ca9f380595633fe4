"""Articles with arrows as one HTML file: what it contains and omits, what the command refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny
from articles import events_of
from haltung.events.records import ArticleEvents
from haltung.events.text.read import Article
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.records import Prediction
from haltung.serving import article_page

Command = Callable[..., subprocess.CompletedProcess[str]]


def read(text: str, headline: str = "Streit am Meer", **given: Any) -> ArticleEvents:
    """Return an article whose sentences are all classified as warnings."""

    def classify(segments: Any) -> list[Prediction]:
        shares = {"topic": {"security": 0.75, "economy": 0.25}, "stance": {"warning": 0.912345678, "support": 0.05, "neutral": 0.04}}
        return [Prediction(one.id, {"topic": "security", "stance": "warning"}, shares) for one in segments]

    return events_of(Article("a", text, headline, **given), classify)


def given(page: str) -> dict[str, Any]:
    """Return the data embedded in a page, decoded as in a browser."""
    match = re.search(r'<script type="application/json" id="given">(.*?)</script>', page, re.DOTALL)
    assert match
    return json.loads(match[1])  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that classifies sentences as warning, support or neutral by their verbs."""
    return bundle.save(fit(tiny.segments(300), tiny.scheme(), LinearSpec(), seed=1), tmp_path_factory.mktemp("model") / "bundle")


def test_the_page_holds_what_was_read() -> None:
    """Sentences, events, removed text, notes, the text itself, and the names of labels."""
    events = read("Chile warnt Peru.\n\nAnzeige\n\nEs regnet.", date="2026-05-21")
    data = given(article_page.page([events], tiny.scheme(), "de"))
    (article,) = data["articles"]
    expected = json.loads(json.dumps(events.to_dict()))
    assert {name: article[name] for name in ("events", "removed", "notes", "date")} == {
        name: expected[name] for name in ("events", "removed", "notes", "date")
    }
    assert [segment["text"] for segment in article["segments"]] == ["Chile warnt Peru.", "Es regnet."]
    assert [segment["context"] for segment in article["segments"]][1].endswith("Chile warnt Peru.")
    assert article["segments"][0]["probabilities"]["stance"]["warning"] == 0.9123
    assert article["text"] == "Chile warnt Peru.\n\nAnzeige\n\nEs regnet."
    assert data["tasks"] == tiny.scheme().to_dict()["tasks"]


def test_what_was_read_is_left_as_it_was() -> None:
    """Probabilities are rounded in the page, not in the record."""
    events = read("Chile warnt Peru.")
    article_page.page([events], tiny.scheme(), "de")
    assert events.segments[0].prediction.probabilities["stance"]["warning"] == 0.912345678


def test_markup_in_a_text_stays_text() -> None:
    """No text can close the element that contains it, neither in the data nor in the title."""
    text = "Chile </script><script>alert(1)</script> warnt <!-- Peru & <img src=x onerror=alert(1)>."
    page = article_page.page([read(text, headline="</title><script>alert(2)</script>")], tiny.scheme(), "de")
    assert given(page)["articles"][0]["text"] == text
    assert "alert(1)</script>" not in page
    assert "<img" not in page
    assert "<script>" not in page


def test_the_page_asks_nobody() -> None:
    """Its only URL is SVG's namespace, and its security policy allows no request."""
    page = article_page.page([read("Chile warnt Peru.")], tiny.scheme(), "de")
    assert set(re.findall(r"https?://[^\s\"'`)]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page
    assert not re.search(r"<(?:link|script|img)[^>]+(?:href|src)=\"(?!data:)", page)


def test_no_module_is_left_out_of_the_script() -> None:
    """The file contains every module that the server's page imports, and no import statement."""
    page = article_page.page([read("Chile warnt Peru.")], tiny.scheme(), "de")
    script = page.partition('<script type="module">')[2]
    assert not re.search(r"^(?:import|export) ", script, re.MULTILINE)
    assert script.count("function draw(") == script.count("function make(") == 1


def test_only_the_first_articles_are_shown() -> None:
    """The page also states the total number."""
    events = read("Chile warnt Peru.")
    many = [replace(events, article=replace(events.article, id=f"a{number}")) for number in range(article_page.MOST + 3)]
    data = given(article_page.page(many, tiny.scheme(), "en"))
    assert (len(data["articles"]), data["count"]) == (article_page.MOST, article_page.MOST + 3)
    assert given(article_page.page([events], tiny.scheme(), "en", count=900))["count"] == 900


def test_the_command_writes_the_page(haltung: Command, tmp_path: Path, model: Path) -> None:
    """In addition to the other outputs; unreadable files are reported and omitted."""
    folder = tmp_path / "texte"
    folder.mkdir()
    (folder / "a.txt").write_text("Belgien warnt die Marine in Chile .", encoding="utf-8")
    (folder / "b.txt").write_bytes(b"")
    done = haltung("events", f"bundle={model}", "input=texte", "page=seite.html", "table=t.csv", "language=de", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 event in 1 article written to t.csv and seite.html" in done.stdout
    data = given((tmp_path / "seite.html").read_text(encoding="utf-8"))
    assert [article["id"] for article in data["articles"]] == ["a"]
    assert data["language"] == "de"


def test_the_command_says_what_the_page_leaves_out(haltung: Command, tmp_path: Path, model: Path) -> None:
    """The page is for human readers, so it shows at most 200 articles."""
    rows = [json.dumps({"text": f"Belgien warnt die Marine in Chile {number} ."}) for number in range(article_page.MOST + 2)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    done = haltung("events", f"bundle={model}", "input=a.jsonl", "page=p.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "p.html shows the first 200 of 202 articles; output=FILE.jsonl has all" in done.stderr
    assert len(given((tmp_path / "p.html").read_text(encoding="utf-8"))["articles"]) == article_page.MOST


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("page=nirgends/p.html",), "nirgends: no such folder; make it, or name a file in one that exists"),
        (("page=ordner",), "ordner is a directory; name a file"),
        (("page=p.html", "table=./p.html"), "p.html is named for two outputs; give each of output=, table= and page= its own file"),
        (("page=p.html", "language=fr"), "language"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_the_work(
    haltung: Command, tmp_path: Path, model: Path, words: tuple[str, ...], message: str
) -> None:
    """The message is one sentence, and nothing is written."""
    (tmp_path / "ordner").mkdir()
    (tmp_path / "a.txt").write_text("Belgien warnt die Marine in Chile .", encoding="utf-8")
    done = haltung("events", f"bundle={model}", "input=a.txt", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "ordner"]


def test_a_page_of_nothing_says_so(haltung: Command, tmp_path: Path, model: Path) -> None:
    """If no article could be read, the page is still written, as an empty table is."""
    (tmp_path / "a.txt").write_bytes(b"")
    done = haltung("events", f"bundle={model}", "input=a.txt", "page=p.html", cwd=tmp_path)
    assert done.returncode == 1
    assert given((tmp_path / "p.html").read_text(encoding="utf-8"))["articles"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file's name is Unicode")
def test_a_file_whose_name_is_no_unicode_loses_nothing(haltung: Command, tmp_path: Path, model: Path) -> None:
    """Every output has its article, with the undecodable bytes of its name escaped."""
    folder = tmp_path / "texte"
    folder.mkdir()
    (folder / os.fsdecode(b"stra\xdfe.txt")).write_text("Belgien warnt die Marine in Chile .", encoding="utf-8")
    done = haltung("events", f"bundle={model}", "input=texte", "output=o.jsonl", "table=t.csv", "page=p.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    name = os.fsdecode(b"stra\xdfe")
    assert json.loads((tmp_path / "o.jsonl").read_text(encoding="utf-8"))["id"] == name
    assert given((tmp_path / "p.html").read_text(encoding="utf-8"))["articles"][0]["id"] == name
    assert ",stra\\udcdfe," in (tmp_path / "t.csv").read_text(encoding="utf-8")
