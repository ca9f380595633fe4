"""Stand-off annotations: texts cut out by position and verified, with headline and position."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from haltung import labels
from haltung.corpus.readers.standoff import Standoff
from haltung.corpus.readers.union import Union
from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.records import Dyad


@pytest.fixture(scope="module")
def schemes(root: Path) -> dict[str, Scheme]:
    """The shipped label schemes."""
    return {path.stem: labels.load(path) for path in (root / "configs" / "labels").glob("*.yaml")}


def real_news(annotations: Path, texts: Path, rounds: tuple[int, ...] | None = None) -> Union:
    """Return a reader of the stand-off corpora, as in ``corpus=real_news``."""
    places = {"gnad10": "gnad10/test.csv", "wikinews": "wikinews/articles.jsonl", "bundestag": "bundestag"}
    return Union(
        [
            Standoff(str(annotations / f"data/{kind}_stance/annotations.jsonl"), str(texts / place), kind, rounds=rounds)
            for kind, place in places.items()
        ]
    )


def jsonl(path: Path, *rows: Mapping[str, Any]) -> str:
    """Write one object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


SENTENCES = ("Bern warnt Rom.", "Rom winkt ab.", "Es regnet.", "Die Bahn fährt.", "Wien schweigt.")


def mark(text: str, sentence: str, row: int = 0, **more: Any) -> dict[str, Any]:
    """Return an annotation of a sentence in a text."""
    start = text.index(sentence)
    return {
        "id": f"w{row:04d}-{start:02d}",
        "row": row,
        "start": start,
        "end": start + len(sentence),
        "sha1": hashlib.sha1(sentence.encode()).hexdigest()[:10],
        "topic": "diplomacy",
        "stance": "warning",
        "dyads": [{"source": "CHE", "target": "ITA", "stance": "warning"}],
        "annotators": 1,
        "split": "train",
        **more,
    }


def wikinews(tmp_path: Path, text: str, title: str = "123 - Streit am Tunnel (2005-08-05)") -> str:
    """Write a file of texts with one article."""
    return jsonl(tmp_path / "articles.jsonl", {"title": title, "text": text})


def gnad10(path: Path, *texts: str) -> str:
    """Write a CSV like that of 10kGNAD: no header, section and text, quotes in the text doubled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("Web;'{}'\n".format(text.replace("'", "''")) for text in texts), encoding="utf-8")
    return str(path)


def test_a_segment_is_cut_out_with_headline_and_date(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """The headline has no number or date, and the context is empty, since it is derived from the
    article later.
    """
    text = " ".join(SENTENCES)
    annotations = jsonl(tmp_path / "a.jsonl", mark(text, SENTENCES[0]))
    (segment,) = Standoff(annotations, wikinews(tmp_path, text), "wikinews").read(schemes["diplomacy"]).segments
    assert (segment.text, segment.headline, segment.context, segment.date) == ("Bern warnt Rom.", "Streit am Tunnel", "", "2005-08-05")
    assert (segment.id, segment.article, segment.source, segment.split) == ("w0000-00", "w0000", "wikinews_stance", "train")
    assert segment.dyads == (Dyad("CHE", "ITA", "warning"),)


def test_an_annotation_knows_its_headline_and_its_position_in_the_text(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """In the order of the text, not of the annotations; each article counts from 0; a missing
    headline is empty.
    """
    text = " ".join(SENTENCES)
    marks = [mark(text, SENTENCES[index], row) for row, index in ((0, 4), (1, 2), (0, 0), (1, 1), (0, 3))]
    texts = jsonl(tmp_path / "articles.jsonl", *({"title": f"{n} - Streit {n} (2005-08-05)", "text": text} for n in range(2)))
    read = Standoff(jsonl(tmp_path / "a.jsonl", *marks), texts, "wikinews").read(schemes["diplomacy"]).segments
    assert sorted((segment.article, segment.position, segment.text, segment.headline) for segment in read) == [
        ("w0000", 0, SENTENCES[0], "Streit 0"),
        ("w0000", 1, SENTENCES[3], "Streit 0"),
        ("w0000", 2, SENTENCES[4], "Streit 0"),
        ("w0001", 0, SENTENCES[1], "Streit 1"),
        ("w0001", 1, SENTENCES[2], "Streit 1"),
    ]
    (segment,) = Standoff(jsonl(tmp_path / "b.jsonl", marks[0]), gnad10(tmp_path / "test.csv", text)).read(schemes["diplomacy"]).segments
    assert (segment.headline, segment.position) == ("", 0)


def test_positions_count_characters_not_bytes(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """An emoji or umlaut before the segment does not shift it."""
    text = "Äöü 🚂 vorab. Wien schweigt."
    annotations = jsonl(tmp_path / "a.jsonl", mark(text, "Wien schweigt."))
    assert Standoff(annotations, wikinews(tmp_path, text), "wikinews").read(schemes["diplomacy"]).segments[0].text == "Wien schweigt."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"sha1": "0123456789"},
            r"a.jsonl, line 1: the SHA-1 of characters 0 to 15 of row 0 of .*articles.jsonl is [0-9a-f]{10}, expected 0123456789",
        ),
        ({"row": 7}, r"line 1: row is 7; .*articles.jsonl has the rows 0 to 0"),
        ({"row": -1}, r"line 1: row is -1"),
        ({"end": 999}, r"line 1: start 0 and end 999 are not within row 0 of .*, which has 15 characters"),
        ({"start": "0"}, r"line 1: 'start' is text; expected a whole number"),
        ({"stance": "warnin"}, r"line 1: unknown stance 'warnin', did you mean 'warning'\?"),
        ({"sha1": None}, r"line 1: the SHA-1 .* expected"),
    ],
)
def test_an_annotation_that_does_not_fit_its_text_is_refused(
    tmp_path: Path, schemes: dict[str, Scheme], change: dict[str, Any], message: str
) -> None:
    """With another version of the texts, all labels would refer to the wrong words."""
    text = SENTENCES[0]
    annotations = jsonl(tmp_path / "a.jsonl", {**mark(text, text), **change})
    with pytest.raises(UserError, match=message):
        Standoff(annotations, wikinews(tmp_path, text), "wikinews").read(schemes["diplomacy"])
    dropped = Standoff(annotations, wikinews(tmp_path, text), "wikinews", on_error="drop").read(schemes["diplomacy"]).dropped
    assert [entry.id for entry in dropped] == ["w0000-00"]


def test_missing_texts_are_named_with_their_public_source(tmp_path: Path, root: Path, schemes: dict[str, Scheme]) -> None:
    """The texts may not be redistributed; the message says where to get them."""
    with pytest.raises(UserError, match=r"test.csv: no such file, and no folder .*; test.csv of 10kGNAD is at github.com/tblock/10kGNAD"):
        real_news(root, tmp_path).read(schemes["diplomacy"])


def test_a_broken_texts_file_is_never_read_past(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """Omitting a text would shift all rows after it, so reading stops even if
    faults are dropped.
    """
    annotations = jsonl(tmp_path / "a.jsonl", mark(SENTENCES[0], SENTENCES[0]))
    texts = tmp_path / "articles.jsonl"
    texts.write_text('{"title": "a"\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"articles.jsonl, line 1: column 14: not JSON"):
        Standoff(annotations, str(texts), "wikinews", on_error="drop").read(schemes["diplomacy"])
    csv = tmp_path / "test.csv"
    csv.write_text("Web;'a';'b'\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"test.csv, line 1: 3 cells, expected 2"):
        Standoff(annotations, str(csv), "gnad10", on_error="drop").read(schemes["diplomacy"])


# Our own texts with the features of the published corpora: quotes, a separator and a line break
# inside a text; several articles, one of them without annotations; umlauts and an emoji.
GNAD10 = (
    "Wien warnt Rom; Bern 'prüft' es.\nDie Grünen fordern Aufklärung. Es regnet.",
    "Niemand hat das hier annotiert.",
    "Brüssel verhängt Zölle. Peking droht mit „Folgen“.",
)
WIKINEWS = (("7 - Öl 🚢 wird knapp (2005-08-05)", "Teheran schließt den Hafen. London protestiert."), ("Ohne Nummer", "Paris lobt Kiew."))


SPEECH = ("ID2000100", "CDU_CSU-M_ller", "Herr Präsident!\nBern warnt Rom.\nWir lehnen das ab.")


def test_three_corpora_of_our_own_texts_are_read_as_one(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """With all features of the published ones: formats, several articles, headlines, positions,
    dates, splits and dyads.
    """
    speech(tmp_path / "texts/bundestag/20/TOP_1/x", *SPEECH)
    jsonl(tmp_path / "data/bundestag_stance/annotations.jsonl", mark(SPEECH[2], "Wir lehnen das ab.", 4, id="b4", speech=SPEECH[0]))
    gnad10(tmp_path / "texts/gnad10/test.csv", *GNAD10)
    jsonl(tmp_path / "texts/wikinews/articles.jsonl", *({"title": title, "text": text} for title, text in WIKINEWS))
    jsonl(
        tmp_path / "data/gnad10_stance/annotations.jsonl",
        mark(GNAD10[2], "Peking droht mit „Folgen“.", 2, id="g2b", split="test"),
        mark(GNAD10[0], "Wien warnt Rom; Bern 'prüft' es.", 0, id="g0a"),
        mark(GNAD10[0], "Die Grünen fordern Aufklärung.", 0, id="g0b", stance="request", dyads=[]),
        mark(GNAD10[2], "Brüssel verhängt Zölle.", 2, id="g2a", split="test"),
    )
    jsonl(
        tmp_path / "data/wikinews_stance/annotations.jsonl",
        mark(WIKINEWS[0][1], "London protestiert.", 0, id="w0"),
        mark(WIKINEWS[1][1], "Paris lobt Kiew.", 1, id="w1", split="test"),
    )
    reading = real_news(tmp_path, tmp_path / "texts").read(schemes["diplomacy"])
    assert reading.dropped == ()
    assert [(one.id, one.article, one.split, one.date, one.headline, one.position, one.text) for one in reading.segments] == [
        ("g2b", "g0002", "test", "", "", 1, "Peking droht mit „Folgen“."),
        ("g0a", "g0000", "train", "", "", 0, "Wien warnt Rom; Bern 'prüft' es."),
        ("g0b", "g0000", "train", "", "", 1, "Die Grünen fordern Aufklärung."),
        ("g2a", "g0002", "test", "", "", 0, "Brüssel verhängt Zölle."),
        ("w0", "w0000", "train", "2005-08-05", "Öl 🚢 wird knapp", 0, "London protestiert."),
        ("w1", "w0001", "test", "", "Ohne Nummer", 0, "Paris lobt Kiew."),
        ("b4", "b0004", "train", "", "Rede im Bundestag (CDU/CSU)", 0, "Wir lehnen das ab."),
    ]
    assert [len(one.dyads) for one in reading.segments] == [1, 1, 0, 1, 1, 1, 1]
    assert {one.source for one in reading.segments} == {"gnad10_stance", "wikinews_stance", "bundestag_stance"}


def speech(folder: Path, id: str, speaker: str, text: str, digest: str = "-898c4f") -> Path:
    """Write a speech as a file of the public source."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{speaker}-{id}{digest}.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("speaker", "headline"),
    [
        ("B_NDNIS_90_DIE_____________________GR_NEN-Emmerich", "Bündnis 90/Die Grünen"),
        ("SPD-Post", "SPD"),
        ("Bundesminister_f_r_Ern_hrung_und_Landwirtschaft-_zdemir", "Bundesminister"),
    ],
)
def test_the_same_speech_in_a_file_of_all_or_of_its_own(tmp_path: Path, schemes: dict[str, Scheme], speaker: str, headline: str) -> None:
    """It is found by its id, in any folder; its headline names the speaker's party or office."""
    text = SPEECH[2]
    annotations = jsonl(tmp_path / "a.jsonl", mark(text, "Bern warnt Rom.", 7, speech="ID7"))
    speech(tmp_path / "checkout/a/b", "ID7", speaker, text, "")
    speech(tmp_path / "checkout/a", "ID8", speaker, "Eine andere.")
    whole = tmp_path / "whole" / "speeches.jsonl.gz"
    whole.parent.mkdir()
    rows = [{"id": "ID8", "speaker": "FDP-X", "text": "Eine andere."}, {"id": "ID7", "speaker": speaker, "text": text}]
    whole.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    readers = [Standoff(annotations, str(place), "bundestag") for place in (tmp_path / "checkout", whole.parent, whole)]
    first, *others = [reader.read(schemes["diplomacy"]).segments for reader in readers]
    assert [(one.article, one.text, one.headline) for one in first] == [("b0007", "Bern warnt Rom.", f"Rede im Bundestag ({headline})")]
    assert others == [first, first]
    assert [path.name for path in readers[0].files()] == ["a.jsonl", f"{speaker}-ID7.txt"]


def test_speeches_that_are_not_there_are_named(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """A missing speech is named by its id, a missing folder with the public source, and a broken
    archive as such.
    """
    annotations = jsonl(tmp_path / "a.jsonl", mark("Nein.", "Nein.", 0, speech="ID1"), mark("Nein.", "Nein.", 1, speech="ID2"))
    texts = tmp_path / "texts"
    texts.mkdir()
    with pytest.raises(UserError, match=r"texts has neither speeches.jsonl.gz nor .*github.com/mathias-goebel/plenarsitzungsprotokolle"):
        Standoff(annotations, str(texts), "bundestag").read(schemes["diplomacy"])
    speech(texts, "ID1", "SPD-Post", "Nein.")
    with pytest.raises(UserError, match=r"line 2: speech is ID2, which .*texts does not have"):
        Standoff(annotations, str(texts), "bundestag").read(schemes["diplomacy"])
    row = {"id": "ID1", "speaker": "SPD-Post", "text": "Nein."}
    (texts / "speeches.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    bare = jsonl(tmp_path / "bare.jsonl", mark("Nein.", "Nein.", 0))
    with pytest.raises(UserError, match=r"bare\.jsonl has no 'speech'"):
        Standoff(bare, str(texts), "bundestag").read(schemes["diplomacy"])
    (texts / "speeches.jsonl.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    with pytest.raises(UserError, match=r"speeches.jsonl.gz: not a complete gzip file"):
        Standoff(annotations, str(texts), "bundestag").read(schemes["diplomacy"])


def test_rounds_of_annotation_can_be_told_apart(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """Later rounds are omitted, and positions counted without them; a part without the round is
    empty.
    """
    text = " ".join(SENTENCES)
    rows = [mark(text, sentence, round=1 + index % 2) for index, sentence in enumerate(SENTENCES)]
    annotations, texts = jsonl(tmp_path / "a.jsonl", *rows), wikinews(tmp_path, text)
    read = {
        rounds: Standoff(annotations, texts, "wikinews", rounds=rounds).read(schemes["diplomacy"]) for rounds in ((1,), (1, 2), (3,), None)
    }
    assert [(one.text, one.position) for one in read[1,].segments] == list(zip(SENTENCES[::2], range(3), strict=True))
    assert read[1, 2] == read[None]
    assert read[3,].segments == ()


@pytest.mark.parametrize(
    ("name", "train", "test", "first"),
    [("gnad10_stance", 10155, 839, 521), ("wikinews_stance", 9593, 675, 425), ("bundestag_stance", 2383, 180, 0)],
)
def test_the_shipped_annotations_are_sound(root: Path, schemes: dict[str, Scheme], name: str, train: int, test: int, first: int) -> None:
    """Unique ids and spans, known labels, no article in two splits; texts are not needed."""
    rows = [json.loads(line) for line in (root / "data" / name / "annotations.jsonl").read_text(encoding="utf-8").splitlines()]
    assert Counter(row["split"] for row in rows) == {"train": train, "test": test}
    assert sum(row["split"] == "test" and row["round"] == 1 for row in rows) == first
    assert len({row["id"] for row in rows}) == len({(row["row"], row["start"], row["end"]) for row in rows}) == len(rows)
    assert {row["stance"] for row in rows} <= set(schemes["diplomacy"]["stance"].ids)
    assert {row["topic"] for row in rows} <= set(schemes["diplomacy"]["topic"].ids)
    assert len({(row["row"], row["split"]) for row in rows}) == len({row["row"] for row in rows})


def test_all_real_annotations_match_their_texts(root: Path, shared: Path, schemes: dict[str, Scheme]) -> None:
    """Every SHA-1 matches, only gnad10 lacks headlines, and no article is in two splits."""
    reading = real_news(root, shared).read(schemes["diplomacy"])
    counts = Counter((segment.source, segment.split) for segment in reading.segments)
    assert counts == {
        ("gnad10_stance", "train"): 10155,
        ("gnad10_stance", "test"): 839,
        ("wikinews_stance", "train"): 9593,
        ("wikinews_stance", "test"): 675,
        ("bundestag_stance", "train"): 2383,
        ("bundestag_stance", "test"): 180,
    }
    assert reading.dropped == ()
    assert all(segment.date for segment in reading.segments if segment.source == "wikinews_stance")
    assert {segment.source for segment in reading.segments if not segment.headline} == {"gnad10_stance"}
    splits = {(segment.article, segment.split) for segment in reading.segments}
    assert len(splits) == len({article for article, _ in splits})
