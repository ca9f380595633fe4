"""Several sources as one corpus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import tiny
from haltung.corpus.clean import verify
from haltung.corpus.parsing.rows import Reading
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
    reading = Union([_part(1, "train"), _part(1, "train")]).read(tiny.scheme())
    with pytest.raises(UserError, match="is already used by"):
        verify(reading.segments, tiny.scheme())


def test_a_union_of_nothing_is_refused() -> None:
    """One sentence."""
    with pytest.raises(UserError, match="a union needs at least one reader"):
        Union([]).read(tiny.scheme())
