"""Dyads compared with gold: counts by hand, intervals by article, and a paired test."""

from __future__ import annotations

import random

import pytest

from haltung.errors import UserError
from haltung.evaluation.metrics.dyads import WHOLE, Match, evaluate_dyads, f1_difference
from haltung.records import Dyad

WARNING = Dyad("USA", "RUS", "warning")
TALKS = (Dyad("USA", "RUS", "cooperation"), Dyad("RUS", "USA", "cooperation"))


def many(right: float, seed: int) -> tuple[list[list[Dyad]], list[list[Dyad]], list[str]]:
    """Return 200 segments in 40 articles; the share ``right`` of the dyads is correct."""
    rng = random.Random(seed)
    gold = [[Dyad(rng.choice(["USA", "CHN", "DEU"]), "RUS", "warning")] for _ in range(200)]
    predicted = [row if rng.random() < right else [Dyad("FRA", "RUS", "warning")] for row in gold]
    return gold, predicted, [f"a{number // 5}" for number in range(200)]


def test_hits_are_counted_over_all_segments():
    """Three gold dyads, two found, one of them right: precision 1/2, recall 1/3."""
    out = evaluate_dyads([[WARNING], list(TALKS), []], [[WARNING], [], [TALKS[0]]], ["a", "b", "b"])
    whole = out.parts[WHOLE]
    assert (whole.gold, whole.found, whole.right) == (3, 2, 1)
    assert (whole.precision, whole.recall, whole.f1) == (1 / 2, 1 / 3, 2 / 5)


def test_a_wrong_target_still_counts_for_source_and_stance():
    """The metrics of parts show where the error is."""
    out = evaluate_dyads([[WARNING]], [[Dyad("USA", "CHN", "warning")]], ["a"])
    assert [match.right for match in out.parts.values()] == [0, 1, 0]


def test_a_wrong_stance_differs_from_a_wrong_pair():
    """Of two correct pairs, one has the correct stance."""
    out = evaluate_dyads([[WARNING], [TALKS[1]]], [[WARNING], [Dyad("RUS", "USA", "threat")]], ["a", "b"])
    assert (out.parts["source, target"].f1, out.stance_given_pair) == (1.0, 0.5)


def test_a_pair_with_two_right_stances_counts_once():
    """So the share of right pairs whose stance is right can't exceed 1."""
    both = [WARNING, Dyad(WARNING.source, WARNING.target, "request")]
    out = evaluate_dyads([both, [TALKS[1]]], [both, [Dyad("RUS", "USA", "threat")]], ["a", "b"])
    assert out.stance_given_pair == 0.5


def test_candidates_are_counted_by_code():
    """An empty target does not count as a code."""
    out = evaluate_dyads([[Dyad("USA", "", "warning")], [WARNING]], [[], []], ["a", "b"], candidates=[["USA", "FRA"], ["USA"]])
    assert out.actors == Match(gold=3, found=3, right=2)


def test_the_interval_contains_f1_and_needs_ten_articles():
    """F1 is inside the interval; nine articles have none."""
    gold, predicted, articles = many(0.6, 1)
    whole = evaluate_dyads(gold, predicted, articles).parts[WHOLE]
    assert whole.interval is not None
    assert whole.interval.low < whole.f1 < whole.interval.high
    assert evaluate_dyads(gold[:45], predicted[:45], articles[:45]).parts[WHOLE].interval is None


def test_a_tracker_gets_f1_of_each_part_with_its_ends() -> None:
    """Keys are flat; that of whole dyads is the shortest, and ends are absent without interval."""
    gold, predicted, articles = many(0.6, 1)
    result = evaluate_dyads(gold, predicted, articles)
    metrics = result.headline()
    names = ("dyads_f1", "dyads_source_stance_f1", "dyads_source_target_f1")
    assert list(metrics) == [key for name in names for key in (name, f"{name}.low", f"{name}.high")]
    assert metrics["dyads_source_target_f1"] == result.parts["source, target"].f1
    assert metrics["dyads_f1.low"] < metrics["dyads_f1"] == result.parts[WHOLE].f1 < metrics["dyads_f1.high"]
    assert list(evaluate_dyads(gold[:45], predicted[:45], articles[:45]).headline()) == list(names)


def test_a_better_system_differs_from_an_equal_one():
    """90 % right against about 60 % differ significantly; a system does not differ from itself."""
    gold, good, articles = many(0.9, 2)
    _, poor, _ = many(0.6, 2)
    poor = [row if row[0].source == "FRA" else gold[index] for index, row in enumerate(poor)]
    result = f1_difference(gold, good, poor, articles)
    assert result.delta > 0.15
    assert result.p < 0.01
    assert result.interval is not None
    assert result.interval.low > 0
    same = f1_difference(gold, good, good, articles)
    assert (same.delta, same.p) == (0.0, 1.0)


def test_equal_systems_are_rarely_called_different():
    """At a level of 5 %, in at most 8 of 100 comparisons of equally good systems."""
    false = 0
    for trial in range(100):
        gold, one, articles = many(0.6, trial)
        rng = random.Random(1000 + trial)
        other = [row if rng.random() < 0.6 else [Dyad("FRA", "RUS", "warning")] for row in gold]
        false += f1_difference(gold, one, other, articles, draws=200).p < 0.05
    assert false <= 8


def test_lists_of_different_length_are_refused():
    """One sentence has both lengths."""
    with pytest.raises(UserError, match="1 gold, 2 predicted"):
        evaluate_dyads([[WARNING]], [[], []], ["a"])
