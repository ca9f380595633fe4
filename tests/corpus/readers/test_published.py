"""Published sources: x-stance, 10kGNAD, GerNTSA, and the embedded corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from haltung import labels
from haltung.corpus.readers.articles import Articles, split_of
from haltung.corpus.readers.published import GerNTSA, Gnad10
from haltung.corpus.readers.xstance import XStance
from haltung.errors import UserError
from haltung.labels import Scheme


@pytest.fixture(scope="module")
def schemes(root: Path) -> dict[str, Scheme]:
    """The shipped label schemes."""
    return {path.stem: labels.load(path) for path in (root / "configs" / "labels").glob("*.yaml")}


def jsonl(path: Path, *rows: Mapping[str, Any]) -> str:
    """Write one object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


# x-stance


def comment(number: int, **more: Any) -> dict[str, Any]:
    """Return a row of x-stance."""
    return {
        "id": number,
        "language": "de",
        "question_id": 1,
        "question": "Soll der Bund mehr Bahnhöfe bauen?",
        "comment": f"Das ist Meinung {number}.",
        "label": "FAVOR",
        "author": f"a{number}",
        "topic": "Economy",
        **more,
    }


def test_a_comment_of_xstance_has_its_question_as_target(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """Splits by held-out target can use the question, and the author is the group."""
    jsonl(tmp_path / "train.jsonl", comment(1), comment(2, language="fr"))
    (segment,) = XStance(str(tmp_path), split_files={"train": ["train.jsonl"]}).read(schemes["xstance"]).segments
    assert (segment.text, segment.target) == ("Das ist Meinung 1.", "Soll der Bund mehr Bahnhöfe bauen?")
    assert (segment.id, segment.article, segment.split, segment.source) == ("1", "author-a1", "train", "xstance")
    assert segment.labels == {"topic": "Economy", "stance": "FAVOR"}


def test_a_row_without_id_and_author_has_a_stable_id_and_its_question_as_group(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """The few-shot rows keep their ids if the file is reordered."""
    rows = [{key: value for key, value in comment(number).items() if key not in ("id", "author")} for number in (1, 2)]
    jsonl(tmp_path / "a" / "few.jsonl", *rows)
    jsonl(tmp_path / "b" / "few.jsonl", *reversed(rows))
    readings = [XStance(str(tmp_path / name), split_files={"train": ["few.jsonl"]}).read(schemes["xstance"]) for name in "ab"]
    assert {segment.text: segment.id for segment in readings[0].segments} == {segment.text: segment.id for segment in readings[1].segments}
    assert {segment.article for segment in readings[0].segments} == {"question-1"}


def hub(folder: Path) -> str:
    """Return a folder that ``datasets`` reads like the hub's data set, which lacks the column
    test_set.
    """
    jsonl(folder / "train.jsonl", comment(1), comment(2, language="fr"))
    jsonl(folder / "validation.jsonl", comment(3))
    jsonl(folder / "test.jsonl", comment(4), comment(5, question_id=9), comment(6, question_id=8, topic="Healthcare"))
    return str(folder)


@pytest.mark.parametrize(
    ("test_set", "expected"), [("new_comments", ["4"]), ("new_questions", ["5"]), ("new_topics", ["6"]), ("all", ["4", "5", "6"])]
)
def test_the_test_sets_of_the_hub_follow_from_training(
    tmp_path: Path, schemes: dict[str, Scheme], monkeypatch: pytest.MonkeyPatch, test_set: str, expected: list[str]
) -> None:
    """The hub lacks the column, but it follows from what is new compared with training."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    reading = XStance(hub=hub(tmp_path / "x_stance"), revision=None, test_set=test_set).read(schemes["xstance"])
    assert [segment.id for segment in reading.segments if segment.split == "test"] == expected
    assert [segment.split for segment in reading.segments if segment.split != "test"] in (["train", "dev"], ["dev", "train"])


def test_an_unreachable_hub_is_named_with_the_way_out(schemes: dict[str, Scheme], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message suggests local files."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=r"the data set haltung/absent could not be loaded from the hub .*; go online, or read local files with reader.path"
    ):
        XStance(hub="haltung/absent").read(schemes["xstance"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give exactly one of the two"),
        ({"path": "somewhere", "hub": "someone/something"}, "give exactly one of the two"),
        ({"path": "somewhere"}, r"somewhere is not a folder; expected one with valid.jsonl, train_fewshot.jsonl, test_new_comments.jsonl"),
        ({"path": ".", "test_set": "new_comment"}, r"test_set is 'new_comment', did you mean 'new_comments'\?"),
        ({"path": ".", "split_files": {"trian": ["a.jsonl"]}}, r"a split in split_files is 'trian', did you mean 'train'\?"),
    ],
)
def test_wrong_options_of_xstance_are_reported(schemes: dict[str, Scheme], options: dict[str, Any], message: str) -> None:
    """The message lists what is allowed."""
    with pytest.raises(UserError, match=message):
        XStance(**options).read(schemes["xstance"])


def test_a_language_that_is_not_there_is_reported(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """The corpus is not silently empty."""
    jsonl(tmp_path / "train.jsonl", comment(1))
    with pytest.raises(UserError, match="has no rows"):
        XStance(str(tmp_path), split_files={"train": ["train.jsonl"]}, language="it").read(schemes["xstance"])


def test_the_real_xstance_is_read_whole(shared: Path, schemes: dict[str, Scheme]) -> None:
    """4,739 training and 3,479 test rows, none dropped, and no author in both."""
    reading = XStance(str(shared / "xstance_de")).read(schemes["xstance"])
    assert (Counter(segment.split for segment in reading.segments), len(reading.dropped)) == ({"train": 4739, "test": 3479}, 0)
    groups = {split: {segment.article for segment in reading.segments if segment.split == split} for split in ("train", "test")}
    assert groups["train"] & groups["test"] == set()


# 10kGNAD


def test_a_gnad10_article_is_a_group_of_its_own(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """A semicolon separates section and text, and quotes within the text are doubled."""
    path = tmp_path / "test.csv"
    path.write_text("Sport;'Der Läufer; er lief.'\nWeb;'Das ''Netz'' steht.'\n", encoding="utf-8")
    segments = Gnad10(str(path)).read(schemes["gnad10"]).segments
    assert [(segment.text, segment.labels["section"]) for segment in segments] == [
        ("Der Läufer; er lief.", "Sport"),
        ("Das 'Netz' steht.", "Web"),
    ]
    assert [segment.article for segment in segments] == [segment.id for segment in segments] == ["gnad10-test-00000", "gnad10-test-00001"]
    assert {segment.split for segment in segments} == {""}


def test_gnad10_from_the_hub_keeps_its_splits(tmp_path: Path, schemes: dict[str, Scheme], monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's numbers of sections become their names."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["Web", "Sport"])})
    for split, label in (("train", 0), ("test", 1)):
        (tmp_path / "gnad10").mkdir(exist_ok=True)
        rows = {"text": [f"Artikel für {split}."], "label": [label]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "gnad10" / f"{split}.parquet")
    segments = Gnad10(hub=str(tmp_path / "gnad10")).read(schemes["gnad10"]).segments
    assert {(segment.split, segment.labels["section"]) for segment in segments} == {("train", "Web"), ("test", "Sport")}


def test_the_real_gnad10_is_read_whole(shared: Path, schemes: dict[str, Scheme]) -> None:
    """The official test file has 1,028 articles."""
    reading = Gnad10(str(shared / "gnad10" / "test.csv")).read(schemes["gnad10"])
    assert (len(reading.segments), len(reading.dropped)) == (1028, 0)


# GerNTSA


def opinion(id: str, text: str, target: str, polarity: str) -> dict[str, Any]:
    """Return a row of GerNTSA."""
    return {"id": id, "opinion_snippet": text, "target": target, "target_anchor": {"from": 0, "to": 3}, "sentiment": {"polarity": polarity}}


def test_the_targets_of_one_sentence_are_one_group(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """Otherwise training could include sentences of test."""
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps([opinion("1", "Ada lobt Bo.", "Ada", "neutral"), opinion("2", "Ada lobt Bo.", "Bo", "positive")]), encoding="utf-8"
    )
    first, second = GerNTSA(str(path)).read(schemes["gerntsa"]).segments
    assert (first.target, second.target, second.labels) == ("Ada", "Bo", {"polarity": "positive"})
    assert first.article == second.article


def test_one_text_twice_under_one_id_is_read_twice(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """The source has such a pair with two polarities, left to cleaning; the same id with another
    text is a fault.
    """
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps([opinion("1", "Ada lobt Bo.", "Bo", "neutral"), opinion("1", "Ada lobt Bo.", "Bo", "positive")]), encoding="utf-8"
    )
    assert [segment.id for segment in GerNTSA(str(path)).read(schemes["gerntsa"]).segments] == ["1", "1-again"]
    path.write_text(
        json.dumps([opinion("1", "Ada lobt Bo.", "Bo", "neutral"), opinion("1", "Ada tadelt Bo.", "Bo", "negative")]), encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"item 2: the id '1' is already used at .*item 1"):
        GerNTSA(str(path)).read(schemes["gerntsa"])


def test_the_real_gerntsa_is_read_whole(shared: Path, schemes: dict[str, Scheme]) -> None:
    """It has 3,792 pairs of a text and a target."""
    reading = GerNTSA(str(shared / "gerntsa" / "GerNTSA.json")).read(schemes["gerntsa"])
    assert Counter(segment.labels["polarity"] for segment in reading.segments) == {"neutral": 2255, "positive": 964, "negative": 573}


SENTENCES = ("Bern warnt Rom.", "Rom winkt ab.", "Es regnet.", "Die Bahn fährt.", "Wien schweigt.")


# The embedded corpus


def article(id: str, *segments: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return an invented article."""
    return {
        "article": id,
        "date": "2027-02-09",
        "genre": "agency",
        "country": "DE",
        "title": "Streit am Tunnel",
        "segments": list(segments),
        **more,
    }


def labelled(text: str, **more: Any) -> dict[str, Any]:
    """Return a segment of an article."""
    return {"text": text, "topic": "diplomacy", "stance": "neutral", "dyads": [], **more}


def test_an_article_becomes_its_segments_in_order(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """Ids count the segments; contexts are derived from the article later, and not stored here."""
    jsonl(tmp_path / "a.jsonl", article("d0001", *(labelled(sentence) for sentence in SENTENCES)))
    segments = Articles(str(tmp_path)).read(schemes["diplomacy"]).segments
    assert [segment.id for segment in segments] == [f"d0001-0{number}" for number in range(5)]
    assert [(segment.text, segment.context) for segment in segments] == [(sentence, "") for sentence in SENTENCES]
    assert {(segment.article, segment.date, segment.genre, segment.source) for segment in segments} == {
        ("d0001", "2027-02-09", "agency", "diplomacy")
    }


def test_a_segment_of_an_article_knows_its_headline_and_position(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """Positions refer to the original article, also if a segment is dropped; positions in the file
    are ignored.
    """
    segments = [labelled(sentence, position=7) for sentence in SENTENCES]
    segments[1] = labelled("Rom winkt ab.", stance="neutrl")
    jsonl(tmp_path / "a.jsonl", article("d0001", *segments), article("d0002", labelled("Ja."), title=" "))
    read = Articles(str(tmp_path), on_error="drop").read(schemes["diplomacy"]).segments
    assert [(segment.article, segment.headline, segment.position) for segment in read] == [
        *(("d0001", "Streit am Tunnel", position) for position in (0, 2, 3, 4)),
        ("d0002", "", 0),
    ]


def test_an_article_keeps_its_split_when_others_are_added(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """The split depends only on the article's id, so an extended corpus stays comparable."""
    ids = [f"d{number:04d}" for number in range(200)]
    jsonl(tmp_path / "a.jsonl", *(article(id, labelled("Es regnet.")) for id in ids[:50]))
    before = {segment.article: segment.split for segment in Articles(str(tmp_path)).read(schemes["diplomacy"]).segments}
    jsonl(tmp_path / "b.jsonl", *(article(id, labelled("Es regnet.")) for id in ids[50:]))
    after = {segment.article: segment.split for segment in Articles(str(tmp_path)).read(schemes["diplomacy"]).segments}
    assert {id: after[id] for id in before} == before
    assert len(after) == 200


def test_articles_are_spread_over_the_splits_as_promised() -> None:
    """70, 10 and 20 per cent, up to the random variation of 5,000 articles."""
    counts = Counter(split_of(f"d{number:05d}") for number in range(5000))
    assert {split: round(count / 5000, 1) for split, count in counts.items()} == {"train": 0.7, "dev": 0.1, "test": 0.2}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (article("d0002", labelled("Ja.", stance="neutrl")), r"line 2, segment 1: unknown stance 'neutrl', did you mean 'neutral'\?"),
        (article("d0002", labelled(3)), r"line 2, segment 1: 'text' is a number"),  # type: ignore[arg-type]
        (article("d0002", {"topic": "economy"}), r"line 2, segment 1: no 'text'"),
        (article("d0002", "Ja."), r"line 2, segment 1: the segment is text; expected an object"),  # type: ignore[arg-type]
        (article("d0002"), r"line 2: 'segments' is a list of 0; expected a list of at least one segment"),
        (article("d0002", labelled("Ja."), segments=3), r"line 2: 'segments' is a number"),
        (article("d0001", labelled("Ja.")), r"line 2: the article 'd0001' is already used at .*line 1"),
        (article("", labelled("Ja.")), r"line 2: no 'article'"),
        (article("d0002", labelled("Ja."), date="gestern"), r"line 2: 'gestern' is not a date"),
    ],
)
def test_a_broken_article_is_named_with_line_and_segment(
    tmp_path: Path, schemes: dict[str, Scheme], row: dict[str, Any], message: str
) -> None:
    """The message gives the line; only that part is dropped."""
    path = jsonl(tmp_path / "a.jsonl", article("d0001", labelled("Gut.")), row)
    with pytest.raises(UserError, match=message):
        Articles(path).read(schemes["diplomacy"])
    reading = Articles(path, on_error="drop").read(schemes["diplomacy"])
    assert (len(reading.segments), len(reading.dropped)) == (1, 1)


def test_an_article_twice_in_a_file_leaves_nothing_of_the_second(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """Its other segments would be appended to the first one."""
    path = jsonl(tmp_path / "a.jsonl", article("d0001", labelled("Gut.")), article("d0001", labelled("Ja."), labelled("Nein.")))
    reading = Articles(path, on_error="drop").read(schemes["diplomacy"])
    assert [segment.text for segment in reading.segments] == ["Gut."]
    assert [(row.id, row.reason) for row in reading.dropped] == [("d0001", "duplicate_id")]


def test_a_folder_without_articles_is_reported(tmp_path: Path, schemes: dict[str, Scheme]) -> None:
    """An empty folder does not count as an empty corpus."""
    with pytest.raises(UserError, match=r"has no \*.jsonl file; expected at least one"):
        Articles(str(tmp_path)).read(schemes["diplomacy"])


def test_the_embedded_corpus_is_read_whole(root: Path, schemes: dict[str, Scheme]) -> None:
    """It has at least 4,000 segments in 450 articles with every stance, and none is dropped."""
    reading = Articles(str(root / "data" / "diplomacy")).read(schemes["diplomacy"])
    assert len(reading.segments) >= 4000
    assert len({segment.article for segment in reading.segments}) >= 450
    assert {segment.labels["stance"] for segment in reading.segments} == set(schemes["diplomacy"].stance.ids)
    assert {segment.split for segment in reading.segments} == {"train", "dev", "test"}
