"""Several sources as one corpus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import tiny
from haltung.cli import renamed
from haltung.cli.build import make
from haltung.cli.config import compose, plain
from haltung.corpus.parsing.rows import Reading
from haltung.corpus.readers.articles import Articles
from haltung.corpus.readers.standoff import Standoff
from haltung.corpus.readers.union import Union
from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.records import Segment


@dataclass(frozen=True)
class _Given:
    """A reader of segments that are at hand."""

    segments: tuple[Segment, ...]

    def files(self) -> tuple[Path, ...]:
        return ()

    def read(self, scheme: Scheme) -> Reading:
        return Reading(self.segments)


def _part(seed: int, *splits: str) -> _Given:
    return _Given(
        tuple(replace(segment, split=split) for segment, split in zip(tiny.segments(len(splits), seed=seed), splits, strict=True))
    )


def test_a_union_holds_all_parts_in_order() -> None:
    """Nothing is lost, nothing is mixed."""
    one, two = _part(1, "train", "test"), _part(2, "train")
    assert Union([one, two]).read(tiny.scheme()).segments == one.segments + two.segments


def test_a_dev_split_that_only_some_parts_give_counts_as_train() -> None:
    """So that dev is cut from all of them, and test stays test."""
    read = Union([_part(1, "train", "dev", "test"), _part(2, "train", "test")]).read(tiny.scheme())
    assert [segment.split for segment in read.segments] == ["train", "train", "test", "train", "test"]


def test_dev_splits_of_all_parts_stay() -> None:
    """Where each part has its own, they are one dev together."""
    read = Union([_part(1, "train", "dev"), _part(2, "dev")]).read(tiny.scheme())
    assert [segment.split for segment in read.segments] == ["train", "dev", "dev"]


def test_an_id_in_two_parts_is_refused() -> None:
    """Predictions could not be distinguished."""
    with pytest.raises(UserError, match="is already used at"):
        Union([_part(1, "train"), _part(1, "train")]).read(tiny.scheme())


OLD = {"_target_": "haltung.corpus.readers.standoff.RealNews", "sources": "/texts", "annotations": "/ours", "before": 1, "lead": True}
PARTS = (
    Standoff("/ours/gnad10_stance/annotations.jsonl", "/texts/gnad10/test.csv", "gnad10", rounds=[1]),
    Standoff("/ours/wikinews_stance/annotations.jsonl", "/texts/wikinews/articles.jsonl", "wikinews", rounds=[1]),
)


def test_the_reader_of_real_news_in_a_stored_config_is_a_union_today() -> None:
    """By itself, and as a part of another union; without a folder of annotations it reads the
    shipped ones.
    """
    articles = {"_target_": "haltung.corpus.readers.articles.Articles", "path": "/a", "most": 9}
    assert make(OLD, "reader") == Union(list(PARTS))
    inside = make({"_target_": "haltung.corpus.readers.union.Union", "parts": [OLD, articles]}, "reader")
    assert tuple(inside.parts) == (*PARTS, Articles("/a", max_segments=9))
    shipped = make({**OLD, "annotations": None}, "reader").parts[0].annotations
    assert Path(shipped).is_file()


@pytest.mark.parametrize("name", ["real_news", "news"])
def test_a_stored_config_of_real_news_describes_what_it_was(name: str, root: Path) -> None:
    """The two parts that it had, in the first round of annotation."""
    today = plain(compose("prepare", [f"corpus={name}", "corpus.rounds=[1]", "sources=/texts"]))["corpus"]["reader"]
    assert today["parts"].pop(2)["kind"] == "bundestag"
    stored = {**OLD, "annotations": str(root / "data")}
    if name == "real_news":
        stored["on_error"] = "stop"
    else:
        stored = {**today, "parts": [stored, *today["parts"][2:]]}
    assert renamed.targets(stored) == today


def test_keys_that_were_typed_for_real_news_still_work(capsys: pytest.CaptureFixture[str]) -> None:
    """One key became one of each part; a line says so."""
    words = renamed.arguments("prepare", ["corpus=real_news", "corpus.reader.on_error=drop", "corpus.name=x"])
    assert words == ["corpus=real_news", *(f"corpus.reader.parts.{part}.on_error=drop" for part in range(3)), "corpus.name=x"]
    parts = plain(compose("prepare", [*words, "sources=/texts"]))["corpus"]["reader"]["parts"]
    assert [part["on_error"] for part in parts] == ["drop", "drop", "drop"]
    assert "corpus.reader.parts.0.on_error" in capsys.readouterr().err
    assert renamed.arguments("train", ["corpus.reader.most=500"]) == ["corpus.reader.max_segments=500"]
    assert renamed.arguments("train", ["corpus=csv", "corpus.reader.most=5"]) == ["corpus=csv", "corpus.reader.most=5"]


def test_a_union_of_nothing_is_refused() -> None:
    """One sentence."""
    with pytest.raises(UserError, match="a union needs at least one reader"):
        Union([]).read(tiny.scheme())
