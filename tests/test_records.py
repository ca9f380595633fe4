"""The context of a segment: headline, lead, and the preceding segment."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from haltung.experiments.predict import opening, rows_of
from haltung.records import Segment, in_context

TEXTS = ("Eins.", "Zwei.", "Drei.", "Vier.")


def _article(name: str = "a", headline: str = "Titel", places: tuple[int, ...] = (0, 1, 2, 3)) -> list[Segment]:
    return [
        Segment(f"{name}{place}", text, article=name, headline=headline, position=place) for place, text in zip(places, TEXTS, strict=True)
    ]


def _contexts(segments: list[Segment]) -> list[str]:
    return [segment.context for segment in in_context(segments)]


@pytest.mark.parametrize("places", [(0, 1, 2, 3), (3, 8, 9, 40)])
def test_a_segment_stands_behind_headline_lead_and_the_one_before(places: tuple[int, ...]) -> None:
    """Nothing is repeated; the lead is the first segment present, and gaps don't matter."""
    assert _contexts(_article(places=places)) == ["Titel", "Titel Eins.", "Titel Eins. Zwei.", "Titel Eins. Drei."]


def test_contexts_follow_positions_not_rows() -> None:
    """Segments of two articles may be mixed in any order; rows keep their order."""
    rows = [*_article("a"), *_article("b", "Kopf")]
    expected = in_context(rows)
    order = random.Random(3).sample(range(len(rows)), len(rows))
    assert in_context([rows[number] for number in order]) == [expected[number] for number in order]
    assert [segment.context for segment in expected[4:6]] == ["Kopf", "Kopf Eins."]


@pytest.mark.parametrize("headline", ["", " "])
def test_an_article_without_a_headline_has_no_space_for_it(headline: str) -> None:
    """Its first segment has no context."""
    assert _contexts(_article(headline=headline)) == ["", "Eins.", "Eins. Zwei.", "Eins. Drei."]


def test_a_context_of_ones_own_is_kept() -> None:
    """The segment's text is still in the contexts of others, and a second call changes nothing."""
    first, second, *rest = _article()
    rows = in_context([replace(first, context="Davor."), replace(second, context="Dabei."), *rest])
    assert [row.context for row in rows] == ["Davor.", "Dabei.", "Titel Eins. Zwei.", "Titel Eins. Drei."]
    assert in_context(rows) == rows


def test_a_segment_without_article_or_position_gets_no_context() -> None:
    """Nor is it part of other contexts, since its place is unknown."""
    first, second, *rest = _article()
    rows = [replace(first, position=None), replace(second, article=""), *rest]
    assert _contexts(rows) == ["", "", "Titel", "Titel Drei."]


def test_texts_to_predict_stand_in_the_context_that_a_corpus_gives_them(tmp_path: Path) -> None:
    """If they have article and position, so that inputs are as in training."""
    rows = [asdict(row) for row in (*_article(), Segment("x", "Fünf.", context="Davor."))]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [row.context for row in opening(rows_of(path), str(path)).segments] == [*_contexts(_article()), "Davor."]
