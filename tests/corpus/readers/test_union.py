"""Several sources as one corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import tiny
from haltung.corpus import split
from haltung.corpus.clean import CleaningRules, verify
from haltung.corpus.parsing.rows import Reading, Votes
from haltung.corpus.prepare import prepare
from haltung.corpus.readers.tables import Jsonl
from haltung.corpus.readers.union import Union
from haltung.corpus.split import ByDate, ByGroup, ByTarget, Given, KFold, Split, Stratified, divide
from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.records import Segment


@dataclass(frozen=True)
class _Given:
    """A reader of given segments."""

    segments: tuple[Segment, ...]
    votes: Mapping[str, Votes] = field(default_factory=dict)

    def files(self) -> tuple[Path, ...]:
        return ()

    def read(self, scheme: Scheme) -> Reading:
        return Reading(self.segments, votes=self.votes)


def _part(seed: int, *splits: str) -> _Given:
    return _Given(
        tuple(replace(segment, split=split) for segment, split in zip(tiny.segments(len(splits), seed=seed), splits, strict=True))
    )


def test_a_union_holds_all_parts_in_order() -> None:
    """No segment is lost or moved."""
    one, two = _part(1, "train", "test"), _part(2, "train")
    assert Union([one, two]).read(tiny.scheme()).segments == one.segments + two.segments


def test_a_dev_split_that_only_some_parts_give_counts_as_train() -> None:
    """Dev is then cut from all parts; test stays test."""
    read = Union([_part(1, "train", "dev", "test"), _part(2, "train", "test")]).read(tiny.scheme())
    assert [segment.split for segment in read.segments] == ["train", "train", "test", "train", "test"]


def test_dev_splits_of_all_parts_stay() -> None:
    """If each part has its own, they form a common dev split."""
    read = Union([_part(1, "train", "dev"), _part(2, "dev")]).read(tiny.scheme())
    assert [segment.split for segment in read.segments] == ["train", "dev", "dev"]


def test_parts_beside_give_their_train_split_alone() -> None:
    """They do not cause dev to be cut again, and come after the other parts."""
    read = Union([_part(1, "train", "dev", "test")], beside=[_part(2, "train", "dev", "test", "train")]).read(tiny.scheme())
    assert [segment.split for segment in read.segments] == ["train", "dev", "test", "beside", "beside"]


def test_no_dev_is_cut_of_parts_beside() -> None:
    """If dev has to be cut, it comes from the other parts."""
    read = Union([_part(1, *["train"] * 40)], beside=[_part(2, *["train"] * 40)]).read(tiny.scheme())
    splits = divide(read.segments, Given(dev=0.25), tiny.scheme())
    beside = {segment.id for segment in read.segments[40:]}
    assert ({segment.id for segment in splits["dev"]} & beside, beside <= {segment.id for segment in splits["train"]}) == (set(), True)
    assert len(splits["dev"]) == 10


@pytest.mark.parametrize("kind", [ByGroup(), Stratified(), KFold(2), ByTarget(), ByDate("2026-01-02", "2026-01-03"), split.TestOnly()])
def test_parts_beside_are_train_whatever_the_split(kind: Split) -> None:
    """Dev and test are as without these parts, and even copies of other segments are train."""
    news = _Given(
        tuple(replace(one, date=f"2026-01-0{n % 3 + 1}", target=f"t{n % 5}") for n, one in enumerate(_part(1, *["train"] * 40).segments))
    )
    beside = _part(2, *["train"] * 5)
    copy = replace(news.segments[0], id="copy")
    read = Union([news], beside=[beside, _Given((copy,))]).read(tiny.scheme())
    splits, alone = divide(read.segments, kind, tiny.scheme()), kind.split(news.segments, tiny.scheme())
    assert {name: [one.id for one in splits[name]] for name in ("dev", "test")} == {
        name: [one.id for one in alone[name]] for name in ("dev", "test")
    }
    assert [one.id for one in splits["train"]] == [*[one.id for one in alone["train"]], *[one.id for one in beside.segments], "copy"]


@pytest.mark.parametrize("kind", [Given(), ByGroup()])
def test_a_copy_beside_train_is_dropped(kind: Split, tmp_path: Path) -> None:
    """Both are in train, so they are compared."""
    news = _part(1, *["train"] * 40)
    reader = Union([news], beside=[_Given((replace(news.segments[0], id="copy"),))])
    prepared = prepare("tiny", reader, tiny.scheme(), CleaningRules(formulaic=0), kind, tmp_path)
    assert '"id": "copy"' in (prepared.folder / "dropped.jsonl").read_text(encoding="utf-8")
    assert prepared.manifest.dropped["duplicate"] == 1


def test_a_union_keeps_the_votes_of_its_parts() -> None:
    """Only of the segments that it contains."""
    parts = [_part(1, "train"), _part(2, "train", "test")]
    one, two, gone = (segment.id for part in parts for segment in part.segments)
    parts = [replace(part, votes={segment.id: {"Anna": {"stance": "threat"}} for segment in part.segments}) for part in parts]
    assert list(Union(parts[:1], beside=parts[1:]).read(tiny.scheme()).votes) == [one, two], gone


def test_a_union_without_labels_is_read_whole(tmp_path: Path) -> None:
    """The message names the part that has no label."""
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "Es regnet."}\n', encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"id": "b", "text": "Es schneit."}\n', encoding="utf-8")
    reading = Union([Jsonl(str(tmp_path / "a.jsonl")), Jsonl(str(tmp_path / "b.jsonl"))]).read(tiny.scheme())
    assert ([segment.id for segment in reading.segments], "a.jsonl has no label" in reading.unlabelled) == (["a", "b"], True)


def test_an_id_in_two_parts_is_refused() -> None:
    """Their predictions could not be distinguished."""
    reading = Union([_part(1, "train"), _part(1, "train")]).read(tiny.scheme())
    with pytest.raises(UserError, match="is already used by"):
        verify(reading.segments, tiny.scheme())


def test_a_union_of_nothing_is_refused() -> None:
    """In one sentence."""
    with pytest.raises(UserError, match="a union needs at least one reader"):
        Union([]).read(tiny.scheme())
