"""Which boilerplate is removed from an article, and which sentences must stay."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from haltung import files
from haltung.events.text.sentences import Sentence, clean, patterns, split


def kinds(text: str) -> list[str]:
    return [removed.kind for removed in clean(split(text))[1]]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Anzeige | Zum Weiterlesen scrollen", "advert"),
        ("Anzeige", "advert"),
        ("Nach der Anzeige geht es weiter", "advert"),
        ("Lesen Sie auch: Wie es in Minsk weitergeht", "related"),
        ("Mehr zum Thema", "related"),
        ("Mehr zum Thema: Stahlzölle", "related"),
        ("Weiterlesen »", "related"),
        ("Newsletter abonnieren", "newsletter"),
        ("Jetzt kostenlos Newsletter bestellen", "newsletter"),
        ("Foto: dpa", "credit"),
        ("Bild: Kay Nietfeld/dpa", "credit"),
        ("© 2026 Beispielverlag", "credit"),
        ("picture alliance / dpa", "credit"),
        ("(dpa/rtr)", "agency"),
        ("(APA, 12.2. 2016)", "agency"),
        ("(Erika Muster aus Brüssel, 14.12.2015)", "agency"),
        ("Mit Material der dpa", "agency"),
        ("Teilen", "share"),
        ("Facebook Twitter WhatsApp E-Mail", "share"),
        ("12 Kommentare", "share"),
        ("Wir verwenden Cookies, um Inhalte zu personalisieren.", "cookies"),
        ("Alle akzeptieren", "cookies"),
        ("Stand: 27.02.2025, 18:23 Uhr", "time"),
        ("Lesezeit: 3 Min.", "time"),
    ],
)
def test_boilerplate_is_removed_and_its_kind_told(text: str, kind: str) -> None:
    """The sentences around it stay."""
    sentences, boilerplate = clean(split(f"Chile warnt Peru.\n\n{text}\n\nPeru lenkt ein."))
    assert [sentence.text for sentence in sentences] == ["Chile warnt Peru.", "Peru lenkt ein."]
    assert [(removed.text, removed.kind) for removed in boilerplate] == [(text, kind)]


@pytest.mark.parametrize(
    "text",
    [
        "Die Anzeige gegen den Minister wurde zurückgezogen.",
        "Lesen Sie die Verträge, forderte der Kanzler die Abgeordneten auf.",
        "Die Minister teilen die Sorge der Kommission.",
        "Der dpa sagte der Sprecher, Berlin lehne das ab.",
        "Foto und Video zeigen den Angriff auf die Botschaft.",
        "Quelle des Streits ist der Staudamm.",
        "Die Reuters-Korrespondentin wurde in Minsk festgenommen.",
        "Die Regierung verbietet Cookies auf Seiten von Behörden.",
        "Mehr zum Thema Abrüstung werde in Wien gesagt, sagte Lawrow.",
        "Der Stand der Verhandlungen sei ernst.",
        "Twitter sperrte das Konto des Präsidenten.",
        "Der Newsletter der Regierung warnte vor Reisen.",
        "Er (AP) lehnte ab.",
    ],
)
def test_a_true_sentence_is_never_removed(text: str) -> None:
    """Even if it contains a word that is typical of boilerplate."""
    assert kinds(text) == []


def test_an_agencys_mark_is_cut_from_the_end_of_a_sentence() -> None:
    """The rest of the sentence stays; both parts have correct positions."""
    sentences, boilerplate = clean([Sentence(10, 34, "Peru lenkt ein (dpa/rtr)")])
    assert sentences == (Sentence(10, 24, "Peru lenkt ein"),)
    assert [(removed.start, removed.end, removed.text) for removed in boilerplate] == [(25, 34, "(dpa/rtr)")]


def test_the_acceptance_article_loses_its_advertising_alone(shared: Path) -> None:
    """One line is removed, and none of its 13 segments."""
    _, boilerplate = clean(split((shared / "seed/article.txt").read_text(encoding="utf-8")))
    assert [removed.text for removed in boilerplate] == ["Anzeige | Zum Weiterlesen scrollen"]


def test_our_own_corpus_loses_nothing() -> None:
    """It has neither boilerplate nor agency marks."""
    texts = [
        segment["text"]
        for file in sorted((files.shipped("data") / "diplomacy").glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
        for segment in json.loads(line)["segments"]
    ]
    removed = [one.text for text in texts for one in clean([Sentence(0, len(text), text)])[1]]
    assert removed == []


def test_of_labelled_news_nothing_but_agency_marks_is_removed(shared: Path) -> None:
    """2,966 segments of an Austrian newspaper, each of them labelled as a sentence."""
    with (shared / "gnad10/test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row[1] for row in csv.reader(file, delimiter=";", quotechar="'")]
    rows = [json.loads(line) for line in (shared / "gnad10_stance/annotations.jsonl").read_text(encoding="utf-8").splitlines()]
    segments = [Sentence(row["start"], row["end"], texts[row["row"]][row["start"] : row["end"]]) for row in rows]
    assert {removed.kind for removed in clean(segments)[1]} <= {"agency"}


def test_every_pattern_has_a_kind_and_takes_no_empty_text() -> None:
    """A pattern that matches the empty string could remove everything."""
    for kind, pattern in (*patterns("all"), *patterns("end")):
        assert kind
        assert not pattern.fullmatch("")
