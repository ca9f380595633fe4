"""Slices: their segments, when a slice is called worse, and how rarely that is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from haltung.evaluation.error_analysis.slices import Slice, Slices, slices
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report import tables
from haltung.evaluation.statistics.bootstrap import numbered, per_article, resampled
from haltung.labels import parse
from haltung.records import Segment

SCHEME = parse(
    {
        "name": "two",
        "tasks": {
            "topic": {"labels": {"war": {"de": "Krieg", "en": "War"}, "trade": {"de": "Handel", "en": "Trade"}}},
            "stance": {"labels": ["a", "b"]},
        },
    }
)


def split(right: Sequence[bool], segments: Sequence[Segment]) -> ScoredSplit:
    """Return a split whose stances are all ``a``, predicted correctly where ``right`` is true;
    topics are always correct.
    """
    topic = np.array([0 if segment.labels.get("topic") == "war" else 1 for segment in segments])
    stance = np.where(np.array(right)[:, None], [0.9, 0.1], [0.2, 0.8])
    return ScoredSplit(
        tuple(segment.id for segment in segments),
        tuple(segment.article or segment.id for segment in segments),
        SCHEME,
        {"topic": np.eye(2)[topic], "stance": stance},
        {"topic": topic, "stance": np.zeros(len(segments), dtype=np.int64)},
    )


def written(count: int, **fields: str) -> list[Segment]:
    """Return segments, two per article, with the given fields."""
    name = "-".join(fields.values())
    return [
        Segment(f"{name}{row}", "Chile lobt den Zoll.", {"topic": "war", "stance": "a"}, article=f"{name}{row // 2}", **fields)
        for row in range(count)
    ]


def named(found: Slices, task: str = "stance") -> dict[tuple[str, str], Slice]:
    """Return the slices of a task by kind and value."""
    return {(row.kind, row.value): row for row in found.tasks[task]}


def test_a_slice_that_is_much_worse_comes_first() -> None:
    """Half of the segments of one source are wrong, and none of the other."""
    segments = written(60, source="good") + written(60, source="bad")
    found = slices(split([True] * 60 + [row % 2 == 0 for row in range(60)], segments), segments)
    first = found.tasks["stance"][0]
    assert (first.kind, first.value, first.verdict) == ("source", "bad", "worse")
    assert (first.n, first.articles, first.accuracy, first.rest, first.difference) == (60, 30, 0.5, 1.0, -0.5)
    assert first.low is not None
    assert first.high is not None
    assert first.low < -0.5 < first.high < 0
    assert named(found)["source", "good"].verdict == "better"


def test_a_small_slice_is_listed_but_not_judged() -> None:
    """Nineteen wrong segments are too few to be judged, and are listed last."""
    segments = written(100, source="big") + written(19, source="small")
    found = slices(split([True] * 100 + [False] * 19, segments), segments)
    row = named(found)["source", "small"]
    assert (row.verdict, row.p, row.adjusted, row.low, row.high) == ("few", None, None, None, None)
    assert (row.n, row.accuracy) == (19, 0.0)
    assert found.tasks["stance"][-1].verdict == "few"


def test_a_slice_of_two_articles_is_not_judged() -> None:
    """However many segments they have."""
    segments = written(100, source="big") + [Segment(f"s{row}", "Ja.", article=f"x{row % 2}", source="long") for row in range(40)]
    assert named(slices(split([True] * 100 + [False] * 40, segments), segments))["source", "long"].verdict == "few"


def test_the_other_tasks_gold_labels_are_slices() -> None:
    """Stance by topic, but not by stance."""
    segments = [Segment(str(row), "Ja.", {"topic": "war" if row < 30 else "trade"}) for row in range(60)]
    found = slices(split([True] * 60, segments), segments)
    assert {value for kind, value in named(found) if kind == "gold.topic"} == {"war", "trade"}
    assert not any(kind == "gold.stance" for kind, _ in named(found))
    assert tables.slice_title(named(found)["gold.topic", "war"], SCHEME, "de") == "topic: Krieg"


TEXTS = {
    "Die USA warnen.": {("actor", "with"), ("quotation", "without"), ("negation", "without"), ("length", "≤ 10")},
    "Er will „keinen“ Zoll.": {("actor", "without"), ("quotation", "with"), ("negation", "with")},
    "Der Niedergang der Vereinigung, nichtssagend.": {("negation", "without")},
    "Nichts davon stimmt.": {("negation", "with")},
    "eins " * 11: {("length", "11–20")},
    "eins " * 30: {("length", "21–30")},
    "eins " * 31: {("length", "≥ 31")},
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_in_the_slices_that_it_should_be_in(text: str) -> None:
    """By names of states, quotation marks, negations (whole words) and the number of words."""
    segments = [Segment("one", text), *(Segment(f"o{row}", other) for row, other in enumerate(TEXTS) if other != text)]
    right = [False] + [True] * (len(segments) - 1)
    # Only slices that contain this text have an error.
    mine = {key for key, row in named(slices(split(right, segments), segments)).items() if row.accuracy < 1}
    assert TEXTS[text] <= mine


def test_years_genres_and_sources_are_read_from_the_segments() -> None:
    """A segment without a date is in no year's slice, but in the rest."""
    segments = written(4, source="dpa", genre="agency", date="2027-02-09") + written(2, source="apa", genre="report")
    found = named(slices(split([True] * 6, segments), segments))
    assert found["year", "2027"].n == 4
    assert {key for key in found if key[0] in ("source", "genre")} == {
        ("source", "dpa"), ("source", "apa"), ("genre", "agency"), ("genre", "report")
    }  # fmt: skip


def test_segments_without_a_label_are_in_no_slice_of_the_task() -> None:
    """They are neither right nor wrong."""
    segments = written(4, source="dpa") + written(4, source="apa")
    scored = split([True] * 8, segments)
    scored.gold["stance"][:2] = -1
    assert named(slices(scored, segments))["source", "dpa"].n == 2


def test_p_values_of_a_task_are_corrected_together() -> None:
    """Adjusted by the procedure of Benjamini and Hochberg over all judged slices of the task."""
    segments = written(60, source="dpa", date="2026-01-01") + written(60, source="apa", date="2027-01-01") + written(5, source="kna")
    rows = slices(split([row % 3 > 0 or row < 60 for row in range(125)], segments), segments).tasks["stance"]
    judged = sorted((row for row in rows if row.p is not None), key=lambda row: row.p or 0)
    assert len(judged) >= 4
    for position, row in enumerate(judged):
        later = [(other.p or 0) * len(judged) / rank for rank, other in enumerate(judged, 1) if rank > position]
        assert row.adjusted == pytest.approx(min(1.0, *later))


def test_draws_of_articles_keep_their_segments_together() -> None:
    """Each draw has as many articles as the split, and sums whole articles."""
    sums = per_article(np.array([[1.0, 10.0], [1.0, 10.0], [5.0, 50.0]]), numbered(["x", "x", "y"]))
    assert sums.tolist() == [[2.0, 20.0], [5.0, 50.0]]
    drawn = resampled(sums, 500, 1)
    assert set(drawn[:, 0]) == {4.0, 7.0, 10.0}
    assert (drawn[:, 1] == 10 * drawn[:, 0]).all()


@pytest.mark.parametrize("language", ["en", "de"])
def test_slices_have_a_table(language: str) -> None:
    """It has one row per slice."""
    segments = written(60, source="dpa", date="2026-01-01") + written(60, source="apa", date="2027-01-01") + written(5, source="kna")
    found = slices(split([row % 3 > 0 or row < 60 for row in range(125)], segments), segments)
    assert len(tables.slices(found, SCHEME, SCHEME["stance"], language).rows) == len(found.tasks["stance"])


def test_equal_slices_are_seldom_called_worse() -> None:
    """In at most 8 % of 60 samples without differences, with six sources and articles that vary
    much, there is any verdict.
    """
    rng = np.random.default_rng(5)
    false = 0
    segments = [Segment(f"{row}", "Ja.", article=f"{row // 6}", source=f"s{row // 6 % 6}") for row in range(480)]
    for _ in range(60):
        right = rng.random(480) < np.repeat(rng.beta(2.6, 1.4, 80), 6)
        found = slices(split(right.tolist(), segments), segments, draws=200, seed=int(rng.integers(1 << 30)))
        false += any(row.verdict in ("worse", "better") for row in found.tasks["stance"])
    assert false / 60 <= 0.08
