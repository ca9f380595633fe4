"""Minimal pairs: read, evaluated by phenomenon, and shown in table, plot, page and run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from scipy.stats import binomtest

from haltung import labels
from haltung.corpus.readers.articles import Pairs
from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.metrics.minimal_pairs import are_minimal_pairs, dyad_phenomena, flat, phenomena
from haltung.evaluation.metrics.results import EvaluationResult, PhenomenonMetrics, read
from haltung.evaluation.predictions import score
from haltung.evaluation.report import page as report
from haltung.evaluation.report import tables
from haltung.labels import Scheme
from haltung.records import Dyad, Prediction, Segment

SCHEME = labels.parse(
    {"name": "two", "tasks": {"topic": {"labels": ["war", "trade"]}, "stance": {"labels": ["warning", "threat", "neutral"]}}}
)


def pair(id: str, phenomenon: str, *stances: str) -> dict[str, object]:
    """Return a line of a file of minimal pairs."""
    segments = [{"text": f"{id} {stance} {index}", "topic": "war", "stance": stance} for index, stance in enumerate(stances)]
    return {"pair": id, "phenomenon": phenomenon, "context": "Vorher.", "segments": segments}


def write(path: Path, *pairs: object) -> Path:
    """Write pairs as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8")
    return path


def predicted(segments: tuple[Segment, ...], *stances: str) -> list[Prediction]:
    """Return predictions of these stances, with correct topics."""

    def sure(task: str, label: str) -> dict[str, float]:
        return {other: float(other == label) for other in SCHEME[task].ids}

    return [
        Prediction(segment.id, {"topic": "war", "stance": stance}, {"topic": sure("topic", "war"), "stance": sure("stance", stance)})
        for segment, stance in zip(segments, stances, strict=True)
    ]


@pytest.fixture
def segments(tmp_path: Path) -> tuple[Segment, ...]:
    """Two pairs of one phenomenon, and one of another with equal stances."""
    path = write(
        tmp_path / "pairs.jsonl",
        pair("n1", "negation", "warning", "neutral"),
        pair("n2", "negation", "threat", "neutral"),
        pair("d1", "direction", "threat", "threat"),
    )
    return Pairs(str(path)).read(SCHEME).segments


def test_both_segments_of_a_pair_share_article_phenomenon_and_context(segments: tuple[Segment, ...]) -> None:
    """All segments are test."""
    assert [segment.id for segment in segments] == ["n1-a", "n1-b", "n2-a", "n2-b", "d1-a", "d1-b"]
    assert {(segment.article, segment.genre, segment.context, segment.split) for segment in segments[:2]} == {
        ("n1", "negation", "Vorher.", "test")
    }
    assert are_minimal_pairs(segments)
    assert not are_minimal_pairs(segments[:1])


def test_metrics_by_phenomenon_are_those_counted_by_hand(segments: tuple[Segment, ...]) -> None:
    """One pair is completely right, one is distinguished and half right, and one with equal stances
    is half right.
    """
    split = score(segments, predicted(segments, "warning", "neutral", "warning", "neutral", "threat", "neutral"), SCHEME)
    rows = phenomena(split, segments)["stance"]
    assert [replace(row, intervals={}) for row in rows] == [
        PhenomenonMetrics("all", 3, 4 / 6, 1 / 3, 2, 1.0),
        PhenomenonMetrics("direction", 1, 0.5, 0.0, 0, None),
        PhenomenonMetrics("negation", 2, 0.75, 0.5, 2, 1.0),
    ]
    for row in rows:
        pairs = {"accuracy": row.pairs, "both": row.pairs, "apart": row.differing}
        for metric, ends in row.intervals.items():
            hits = getattr(row, metric) * pairs[metric]
            if hits == round(hits):
                low, high = binomtest(round(hits), pairs[metric]).proportion_ci(method="wilson")
                assert (ends.low, ends.high) == pytest.approx((low, high), abs=1e-6)
    assert set(rows[1].intervals) == {"accuracy", "both"}


def test_a_model_that_answers_both_the_same_tells_nothing_apart(segments: tuple[Segment, ...]) -> None:
    """With neutral throughout, half of the negations are right, but no pair is."""
    rows = phenomena(score(segments, predicted(segments, *["neutral"] * 6), SCHEME), segments)["stance"]
    assert [(row.phenomenon, row.accuracy, row.both, row.apart) for row in rows][2] == ("negation", 0.5, 0.0, 0.0)
    assert flat({"stance": rows})["stance"]["negation"] == {"accuracy": 0.5, "both": 0.0}


THREAT, TURNED, BESIDE = Dyad("USA", "RUS", "threat"), Dyad("RUS", "USA", "threat"), Dyad("CHN", "USA", "threat")
WARNING = Dyad("USA", "RUS", "warning")

# Four pairs: phenomenon, gold dyads of both segments, and predicted dyads.
DYADS: dict[str, tuple[str, list[tuple[Dyad, ...]], list[tuple[Dyad, ...]]]] = {
    "both": ("direction", [(THREAT, BESIDE), (TURNED,)], [(BESIDE, THREAT), (TURNED,)]),
    "one": ("direction", [(THREAT,), (TURNED,)], [(THREAT,), (THREAT,)]),
    "none": ("direction", [(THREAT,), (TURNED,)], [(THREAT, BESIDE), (THREAT,)]),
    "stance": ("tense", [(THREAT,), ()], [(WARNING,), ()]),
}


def pairs_with_dyads() -> tuple[list[Segment], list[tuple[Dyad, ...]]]:
    """Return the segments of ``DYADS`` and the dyads found; segments of a pair are not adjacent."""
    turns = [(id, side, number) for number, side in enumerate("ab") for id in DYADS]
    segments = [
        Segment(f"{id}-{side}", f"{id} {side}", {"topic": "war", "stance": "threat"}, article=id, genre=DYADS[id][0], dyads=DYADS[id][1][n])
        for id, side, n in turns
    ]
    return segments, [DYADS[id][2][number] for id, _, number in turns]


def test_exact_matches_of_dyads_by_phenomenon_are_those_counted_by_hand() -> None:
    """An additional dyad is an error, their order is irrelevant, and no dyads are right if gold has
    none; a wrong stance is an error for whole dyads only.
    """
    metrics = dyad_phenomena(*pairs_with_dyads())
    assert {part: [replace(row, intervals={}) for row in rows] for part, rows in metrics.items()} == {
        "source, target, stance": [
            PhenomenonMetrics("all", 4, 4 / 8, 1 / 4, 4, 3 / 4),
            PhenomenonMetrics("direction", 3, 3 / 6, 1 / 3, 3, 2 / 3),
            PhenomenonMetrics("tense", 1, 1 / 2, 0.0, 1, 1.0),
        ],
        "source, target": [
            PhenomenonMetrics("all", 4, 5 / 8, 2 / 4, 4, 3 / 4),
            PhenomenonMetrics("direction", 3, 3 / 6, 1 / 3, 3, 2 / 3),
            PhenomenonMetrics("tense", 1, 1.0, 1.0, 1, 1.0),
        ],
    }
    ends = metrics["source, target, stance"][1].intervals["both"]
    assert (ends.low, ends.high) == pytest.approx(tuple(binomtest(1, 3).proportion_ci(method="wilson")), abs=1e-6)


def test_dyads_of_another_number_of_segments_are_no_metrics() -> None:
    """Otherwise they would be compared with those of other segments."""
    segments, found = pairs_with_dyads()
    with pytest.raises(ValueError, match="reshape"):
        dyad_phenomena(segments, found[:-1])


@pytest.mark.parametrize(
    ("language", "title", "parts", "column", "cell"),
    [
        ("en", "Dyads ({}) by phenomenon", ("source, target, stance", "source, target"), "exact match", "0.250 [0.046, 0.699]"),
        ("de", "Dyaden ({}) nach Phänomen", ("wer, wen, Haltung", "wer, wen"), "exakte Übereinstimmung", "0,250 [0,046; 0,699]"),
    ],
)
def test_terminal_and_page_show_the_dyads_by_phenomenon(
    tmp_path: Path, language: str, title: str, parts: tuple[str, str], column: str, cell: str
) -> None:
    """The metrics are preserved in JSON."""
    segments, found = pairs_with_dyads()
    split = score(segments, predicted(tuple(segments), *["threat"] * 8), SCHEME, "challenge", "test")
    result = replace(evaluate(split), dyad_phenomena=dyad_phenomena(segments, found))
    page, *_ = report.write(tmp_path / "report", result, split, language=language)
    assert read(tmp_path / "report" / "evaluation.json") == result
    with (tmp_path / "terminal").open("w+", encoding="utf-8") as file:
        tables.show(result, SCHEME, Console(file=file, width=200), language)
        file.seek(0)
        terminal = file.read()
    # On the page, an interval has no line break.
    for shown in (terminal, page.read_text(encoding="utf-8").replace("\u00a0", " ")):
        assert all(words in shown for words in (*map(title.format, parts), column, cell))


def test_table_and_page_show_the_phenomena_in_both_languages(segments: tuple[Segment, ...], tmp_path: Path) -> None:
    """The metrics are preserved in JSON."""
    split = score(segments, predicted(segments, *["neutral"] * 6), SCHEME, "challenge", "test")
    result = EvaluationResult(**{**vars(evaluate(split)), "phenomena": phenomena(split, segments)})
    path = tmp_path / "evaluation.json"
    path.write_text(result.to_json(), encoding="utf-8")
    assert read(path) == result
    grid = tables.phenomena(result.phenomena["stance"], SCHEME.stance.title("de"), "de")
    assert grid.rows[0] == ("alle", "3", "0,333 [0,061; 0,792]", "0,000 [0,000; 0,561]", "0,000 [0,000; 0,658]")
    assert grid.rows[1][:2] == ("direction", "1")
    files = report.write(tmp_path / "report", result, split, language="de")
    assert "Minimalpaare" in files[0].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"phenomenon": "x", "segments": []}, "line 1: no 'pair'"),
        ({"pair": "p", "segments": []}, "line 1: no 'phenomenon'"),
        ({"pair": "p", "phenomenon": "x"}, "'segments' is .*; expected a list of two segments"),
        (pair("p", "x", "warning"), "'segments' is a list of 1; expected a list of two segments"),
        (pair("p", "x", "warning", "wraning"), "unknown stance 'wraning', did you mean 'warning'"),
        ({**pair("p", "x", "warning", "threat"), "segments": ["a", "b"]}, "segment a: the segment is .*; expected an object"),
    ],
)
def test_a_broken_pair_is_refused_with_its_line(tmp_path: Path, row: dict[str, object], message: str) -> None:
    """In one sentence with file, line, value and what is expected."""
    with pytest.raises(UserError, match=message):
        Pairs(str(write(tmp_path / "pairs.jsonl", row))).read(SCHEME)


def test_a_pair_that_appears_twice_is_refused(tmp_path: Path) -> None:
    """With both line numbers."""
    twice = pair("p", "x", "warning", "threat")
    with pytest.raises(UserError, match=r"line 2: the pair 'p' is already used at .*line 1"):
        Pairs(str(write(tmp_path / "pairs.jsonl", twice, twice))).read(SCHEME)


def test_a_broken_pair_leaves_nothing_half_read(tmp_path: Path) -> None:
    """With on_error=drop, both of its segments are dropped."""
    path = write(tmp_path / "pairs.jsonl", pair("p", "x", "warning", "wraning"), pair("q", "x", "warning", "threat"))
    reading = Pairs(str(path), on_error="drop").read(SCHEME)
    assert [segment.id for segment in reading.segments] == ["q-a", "q-b"]
    assert [(dropped.id, dropped.reason) for dropped in reading.dropped] == [("p-b", "unknown_label"), ("p-a", "broken_pair")]


def test_a_second_pair_of_an_id_leaves_the_first(tmp_path: Path) -> None:
    """With on_error=drop, only the second is dropped."""
    twice = pair("p", "x", "warning", "threat")
    reading = Pairs(str(write(tmp_path / "pairs.jsonl", twice, twice)), on_error="drop").read(SCHEME)
    assert [segment.id for segment in reading.segments] == ["p-a", "p-b"]
    assert [dropped.reason for dropped in reading.dropped] == ["duplicate_id"]


@pytest.fixture(scope="module")
def shipped(root: Path) -> tuple[Segment, ...]:
    """The shipped minimal pairs."""
    return Pairs(str(root / "data" / "challenge")).read(_diplomacy(root)).segments


def _diplomacy(root: Path) -> Scheme:
    return labels.load(root / "configs" / "labels" / "diplomacy.yaml")


def test_the_shipped_minimal_pairs_are_as_many_as_documented(shipped: tuple[Segment, ...]) -> None:
    """313 pairs, ten phenomena with at least 20 each, a quarter with an actor from a
    German-speaking state.
    """
    assert len(shipped) == 2 * 313
    kinds = {segment.article: segment.genre for segment in shipped}
    counts = {kind: list(kinds.values()).count(kind) for kind in set(kinds.values())}
    assert len(counts) == 10
    assert min(counts.values()) >= 20
    codes = {one.article: {code[:3] for dyad in one.dyads for code in (dyad.source, dyad.target)} for one in shipped if one.dyads}
    assert sum(bool(found & {"DEU", "AUT", "CHE"}) for found in codes.values()) >= len(kinds) / 4


def test_the_labels_of_each_shipped_pair_differ(shipped: tuple[Segment, ...]) -> None:
    """In the stance; for phenomena on who acts on whom or who goes on speaking, in the dyads."""
    pairs = list(zip(shipped[::2], shipped[1::2], strict=True))
    alike = [one.article for one, two in pairs if one.labels["stance"] == two.labels["stance"] and set(one.dyads) == set(two.dyads)]
    assert alike == []
    same_stance = {one.genre for one, two in pairs if one.labels["stance"] == two.labels["stance"]}
    assert same_stance <= {"direction", "speaker_run"}
