"""Errors to read, the most confident first, and gold labels that may be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from haltung.evaluation.error_analysis.analysis import Mistake, find_mistakes, label_issues, mistakes
from haltung.evaluation.predictions import ScoredSplit
from haltung.labels import parse
from haltung.records import Segment

ABC = parse({"name": "abc", "tasks": {"stance": {"labels": ["a", "b", "c"]}}})
MULTI = parse({"name": "multi", "tasks": {"themes": {"kind": "multi", "labels": ["x", "y"]}}})


def single(gold: Sequence[int], probabilities: Sequence[Sequence[float]]) -> tuple[ScoredSplit, list[Segment]]:
    """Return a scored split and its segments."""
    ids = tuple(f"s{row}" for row in range(len(gold)))
    scored = ScoredSplit(ids, ids, ABC, {"stance": np.array(probabilities)}, {"stance": np.array(gold, dtype=np.int64)})
    return scored, [Segment(id, f"Satz {id}", context="davor", article=f"a{id}") for id in ids]


def test_the_most_confident_error_comes_first() -> None:
    """Correct predictions and unlabelled rows are not listed."""
    scored, segments = single([0, 0, 1, -1], [[0.3, 0.6, 0.1], [0.8, 0.1, 0.1], [0.02, 0.03, 0.95], [0.1, 0.8, 0.1]])
    found = list(mistakes(scored, segments, ABC["stance"]))
    assert found == [
        Mistake("stance", "s2", "as2", ("b",), ("c",), "c", 0.95, 0.03, "Satz s2", "", "davor"),
        Mistake("stance", "s0", "as0", ("a",), ("b",), "b", 0.6, 0.3, "Satz s0", "", "davor"),
    ]
    assert list(mistakes(scored, segments, ABC["stance"], limit=1)) == found[:1]


def test_a_multi_label_error_is_ranked_by_its_most_confident_label() -> None:
    """A confidently missed label counts as much as a confidently predicted one."""
    gold = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.int64)
    values = np.array([[0.05, 0.7], [0.9, 0.9], [0.6, 0.1]])
    scored = ScoredSplit(("1", "2", "3"), ("1", "2", "3"), MULTI, {"themes": values}, {"themes": gold})
    first, second = mistakes(scored, [Segment(id, "Satz") for id in "123"], MULTI["themes"])
    assert (first.id, first.gold, first.predicted, first.label, first.probability) == ("1", ("x",), ("y",), "x", 0.95)
    assert (second.id, second.gold, second.predicted, second.label, second.probability) == ("3", (), ("x",), "x", 0.6)


def noisy() -> tuple[ScoredSplit, list[Segment]]:
    """Return ninety segments with correct predictions, of which three have a wrong gold label."""
    rng = np.random.default_rng(0)
    true = np.arange(90) % 3
    values = np.full((90, 3), 0.05) + rng.random((90, 3)) * 0.05
    values[np.arange(90), true] = 0.85
    # For these, the model is more confident than on average.
    values[[4, 31, 77], true[[4, 31, 77]]] = 3.0
    gold = true.copy()
    gold[[4, 31, 77]] = (true[[4, 31, 77]] + 1) % 3
    return single(gold.tolist(), (values / values.sum(axis=1, keepdims=True)).tolist())


def test_wrong_gold_labels_are_found() -> None:
    """Exactly these three, with the label that the model suggests."""
    scored, segments = noisy()
    found = list(label_issues(scored, segments, ABC["stance"]))
    assert {row.id for row in found} == {"s4", "s31", "s77"}
    assert all(ABC["stance"].index(row.suggested) == int(row.id[1:]) % 3 for row in found)
    assert all(row.quality < 0.2 for row in found)
    assert [row.quality for row in found] == sorted(row.quality for row in found)


def test_a_label_that_no_segment_has_disturbs_nothing() -> None:
    """A split need not have all labels, and probabilities may be 0."""
    scored, segments = single([0] * 20 + [1] * 20, [[0.95, 0.05, 0.0]] * 20 + [[0.05, 0.95, 0.0]] * 19 + [[0.97, 0.03, 0.0]])
    assert [row.id for row in label_issues(scored, segments, ABC["stance"])] == ["s39"]


def test_one_label_alone_cannot_be_doubted() -> None:
    """There is no other label to compare it with."""
    scored, segments = single([0, 0], [[0.1, 0.9, 0], [0.9, 0.1, 0]])
    assert list(label_issues(scored, segments, ABC["stance"])) == []


def test_all_tasks_are_searched_up_to_a_limit() -> None:
    """All errors are counted, even if they are not listed."""
    scored, segments = noisy()
    found = find_mistakes(scored, segments, limit=2)
    assert (found.wrong, len(found.mistakes), len(found.issues)) == ({"stance": 3}, 2, 3)
