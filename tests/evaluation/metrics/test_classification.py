"""Metrics: computed by hand, and compared with scikit-learn's on any data."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate, summary, tally
from haltung.evaluation.metrics.results import COLLAPSED, NEVER_PREDICTED, NOT_IN_GOLD, TaskMetrics, read
from haltung.evaluation.predictions import ScoredSplit, score
from haltung.evaluation.report import tables
from haltung.labels import Scheme, parse
from haltung.records import Prediction, Segment

ABC = parse({"name": "abc", "tasks": {"stance": {"labels": ["a", "b", "c"]}}})
MULTI = parse({"name": "multi", "tasks": {"themes": {"kind": "multi", "labels": ["a", "b", "c"]}}})


def single(gold: Sequence[int], decided: Sequence[int], scheme: Scheme = ABC, groups: Sequence[str] | None = None) -> ScoredSplit:
    """Return a scored split in which label ``decided[i]`` has the probability 0.8."""
    size = len(scheme.tasks[0])
    probabilities = np.full((len(gold), size), 0.2 / (size - 1))
    probabilities[np.arange(len(gold)), list(decided)] = 0.8
    ids = tuple(f"s{row}" for row in range(len(gold)))
    name = scheme.tasks[0].name
    return ScoredSplit(ids, tuple(groups or ids), scheme, {name: probabilities}, {name: np.array(gold, dtype=np.int64)}, "corpus", "test")


def multi(gold: Sequence[Sequence[int]], probabilities: Sequence[Sequence[float]]) -> ScoredSplit:
    """Return a scored split of a multi-label task."""
    ids = tuple(f"s{row}" for row in range(len(gold)))
    return ScoredSplit(ids, ids, MULTI, {"themes": np.array(probabilities, dtype=float)}, {"themes": np.array(gold, dtype=np.int64)})


def stance(gold: Sequence[int], decided: Sequence[int]) -> TaskMetrics:
    """Return the metrics of the task ``stance``."""
    return evaluate(single(gold, decided)).tasks["stance"]


def test_metrics_are_those_worked_out_by_hand() -> None:
    """Gold a a b c, predicted a b b a: F1 of a 1/2, of b 2/3, of c 0."""
    metrics = stance([0, 0, 1, 2], [0, 1, 1, 0])
    assert metrics.accuracy == 0.5
    assert [label.precision for label in metrics.labels] == [0.5, 0.5, 0.0]
    assert [label.recall for label in metrics.labels] == [0.5, 1.0, 0.0]
    assert [label.f1 for label in metrics.labels] == pytest.approx([1 / 2, 2 / 3, 0])
    assert metrics.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert metrics.weighted_f1 == pytest.approx((2 * 1 / 2 + 2 / 3) / 4)
    assert metrics.confusion == ((1, 1, 0), (0, 1, 0), (1, 0, 0))


def test_log_loss_is_worked_out_by_hand() -> None:
    """Two are right at 0.8, one is wrong at 0.1."""
    assert stance([0, 1, 2], [0, 1, 0]).log_loss == pytest.approx(-(2 * np.log(0.8) + np.log(0.1)) / 3)


def test_a_sure_mistake_costs_much_but_not_infinity() -> None:
    """A gold label's probability of exactly 0 is clipped."""
    split = dataclasses.replace(single([0, 1], [0, 0]), probabilities={"stance": np.array([[1.0, 0, 0], [1.0, 0, 0]])})
    assert evaluate(split).tasks["stance"].log_loss == pytest.approx(36.04 / 2, abs=0.01)


def test_macro_f1_averages_the_labels_in_gold_or_predictions() -> None:
    """Label c is in neither and is ignored; b is only predicted and counts as 0."""
    metrics = stance([0, 0, 0, 0], [0, 0, 0, 1])
    assert metrics.labels_averaged == ("a", "b")
    assert metrics.macro_f1 == pytest.approx((6 / 7) / 2)


def test_multi_label_macro_f1_averages_all_labels() -> None:
    """As in scikit-learn for indicator arrays: c occurs nowhere and counts as 0."""
    metrics = evaluate(multi([[1, 0, 0], [1, 1, 0]], [[0.9, 0.1, 0], [0.5, 0.2, 0]])).tasks["themes"]
    assert metrics.labels_averaged == ("a", "b", "c")
    assert (metrics.macro_f1, metrics.accuracy, metrics.micro_f1) == pytest.approx((1 / 3, 1 / 2, 4 / 5))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10**6)), min_size=1, max_size=40))
def test_single_label_metrics_are_scikit_learns(rows: list[tuple[int, int]]) -> None:
    """For any gold labels and probabilities, even if labels never occur."""
    from sklearn import metrics as reference

    scheme = parse({"name": "five", "tasks": {"stance": {"labels": list("abcde")}}})
    gold = np.array([label for label, _ in rows])
    probabilities = np.stack([np.random.default_rng(seed).dirichlet(np.full(5, 0.3)) for _, seed in rows])
    ids = tuple(map(str, range(len(rows))))
    ours = evaluate(ScoredSplit(ids, ids, scheme, {"stance": probabilities}, {"stance": gold})).tasks["stance"]
    decided = probabilities.argmax(axis=1)
    precision, recall, f1, support = reference.precision_recall_fscore_support(gold, decided, labels=range(5), zero_division=0)
    assert ours.accuracy == pytest.approx(reference.accuracy_score(gold, decided))
    for average in ("macro", "micro", "weighted"):
        assert getattr(ours, f"{average}_f1") == pytest.approx(reference.f1_score(gold, decided, average=average, zero_division=0))
    assert [label.precision for label in ours.labels] == pytest.approx(list(precision))
    assert [label.recall for label in ours.labels] == pytest.approx(list(recall))
    assert [label.f1 for label in ours.labels] == pytest.approx(list(f1))
    assert [label.support for label in ours.labels] == support.tolist()
    assert np.array(ours.confusion).tolist() == reference.confusion_matrix(gold, decided, labels=range(5)).tolist()
    assert ours.log_loss == pytest.approx(reference.log_loss(gold, probabilities, labels=range(5)))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=3, max_size=3), min_size=1, max_size=30))
def test_multi_label_metrics_are_scikit_learns(rows: list[list[tuple[bool, float]]]) -> None:
    """Subset accuracy, the three averages and the metrics of each label, at the threshold 0.5."""
    from sklearn import metrics as reference

    gold = np.array([[int(has) for has, _ in row] for row in rows])
    probabilities = np.array([[value for _, value in row] for row in rows])
    ours = evaluate(multi(gold.tolist(), probabilities.tolist())).tasks["themes"]
    decided = (probabilities >= 0.5).astype(int)
    assert ours.accuracy == pytest.approx(reference.accuracy_score(gold, decided))
    for average in ("macro", "micro", "weighted"):
        assert getattr(ours, f"{average}_f1") == pytest.approx(reference.f1_score(gold, decided, average=average, zero_division=0))
    precision, recall, f1, _ = reference.precision_recall_fscore_support(gold, decided, zero_division=0)
    assert [label.precision for label in ours.labels] == pytest.approx(list(precision))
    assert [label.recall for label in ours.labels] == pytest.approx(list(recall))
    assert [label.f1 for label in ours.labels] == pytest.approx(list(f1))
    losses = [reference.log_loss(gold[:, column], probabilities[:, column], labels=[0, 1]) for column in range(3)]
    assert ours.log_loss == pytest.approx(np.mean(losses))


def test_counts_of_many_samples_give_the_metrics_of_each() -> None:
    """Counts may have leading axes: the samples of a bootstrap are one array, without a loop."""
    rng = np.random.default_rng(0)
    gold, decided = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    draws = rng.integers(0, 50, (7, 50))
    rows = tally(gold, decided, 3)
    together = rows.of(rows.sums[draws].sum(axis=1))
    assert together.macro_f1().tolist() == [tally(gold[draw], decided[draw], 3).total().macro_f1().item() for draw in draws]


def test_unlabelled_rows_take_no_part() -> None:
    """They change no metric, only the number of segments."""
    with_gap = evaluate(single([0, -1, 1, 2, -1], [0, 0, 1, 1, 2]))
    assert with_gap.tasks["stance"] == stance([0, 1, 2], [0, 1, 1])
    assert (with_gap.n, with_gap.tasks["stance"].n) == (5, 3)


def test_a_task_that_nothing_is_labelled_for_has_no_metrics() -> None:
    """A corpus may be labelled for some tasks of a scheme only."""
    scheme = parse({"name": "two", "tasks": {"topic": {"labels": ["x", "y"]}, "stance": {"labels": ["a", "b"]}}})
    rows = [Segment("1", "Text", {"stance": "a"}), Segment("2", "Text", {"stance": "b"})]
    given_ = [Prediction(row.id, {}, {"topic": {"x": 0.5, "y": 0.5}, "stance": {"a": 0.9, "b": 0.1}}) for row in rows]
    assert list(evaluate(score(rows, given_, scheme)).tasks) == ["stance"]


def test_a_split_without_any_label_is_refused() -> None:
    """Nothing can be evaluated."""
    with pytest.raises(UserError, match="the split test can't be evaluated: none of its 2 segments is labelled for stance"):
        evaluate(single([-1, -1], [0, 1]))


def test_an_empty_split_is_refused() -> None:
    """There is nothing to evaluate."""
    with pytest.raises(UserError, match="it has no segments"):
        evaluate(score([], [], ABC))


def test_the_majority_baseline_is_what_one_answer_for_all_reaches() -> None:
    """Predicting b for all: 3 of 5 are right, F1 of b is 3/4, averaged over three gold labels."""
    majority = stance([1, 1, 1, 0, 2], [0, 0, 0, 0, 0]).majority
    assert (majority.labels, majority.accuracy, majority.macro_f1) == (("b",), 0.6, pytest.approx(0.25))


def test_the_majority_baseline_of_a_multi_label_task_gives_what_most_segments_have() -> None:
    """Label a is in two of three segments, b in one."""
    majority = evaluate(multi([[1, 0, 0], [1, 1, 0], [0, 0, 0]], [[0.9, 0, 0]] * 3)).tasks["themes"].majority
    assert (majority.labels, majority.accuracy, majority.macro_f1) == (("a",), pytest.approx(1 / 3), pytest.approx(0.8 / 3))


def test_a_collapsed_model_is_called_out() -> None:
    """Averages do not show that all segments have the same prediction."""
    metrics = stance([0, 1, 2, 1], [1, 1, 1, 1])
    assert metrics.collapsed
    assert metrics.warnings == (COLLAPSED, NEVER_PREDICTED)
    assert tables.warnings([metrics]) == [
        "stance: every one of 4 segments is predicted 'b'; the model distinguishes nothing here",
        "stance: never predicted though in gold: a (1), c (1)",
    ]


def test_a_collapsed_multi_label_model_is_called_out() -> None:
    """It predicts no label for any segment."""
    metrics = evaluate(multi([[1, 0, 0], [0, 1, 0]], [[0.4, 0.4, 0.1], [0.3, 0.2, 0.1]])).tasks["themes"]
    assert tables.warnings([metrics])[0] == "themes: every one of 2 segments is predicted no label; the model distinguishes nothing here"


def test_a_split_of_one_label_is_no_collapse() -> None:
    """If all gold labels are the same, a single prediction is correct."""
    assert not stance([1, 1], [1, 1]).collapsed


def test_labels_that_are_never_predicted_are_named() -> None:
    """With the number of their segments."""
    metrics = stance([0, 0, 1, 2, 2], [0, 0, 1, 0, 1])
    assert (metrics.collapsed, metrics.never_predicted) == (False, ("c",))
    assert tables.warnings([metrics]) == ["stance: never predicted though in gold: c (2)"]


def test_labels_outside_the_gold_are_named() -> None:
    """They reduce macro-F1, which would otherwise be hard to explain."""
    metrics = stance([0, 0, 1], [0, 2, 1])
    assert (metrics.warnings, metrics.not_in_gold) == ((NOT_IN_GOLD,), ("c",))
    assert tables.warnings([metrics]) == ["stance: predicted but not in gold (counts as an F1 of 0): c (1)"]


def test_an_evaluation_comes_back_from_json_the_same(tmp_path: Path) -> None:
    """Exactly, also after writing and reading the file."""
    evaluation = evaluate(single([0, 1, 2, 1, 0, 1, -1], [0, 1, 1, 1, 2, 0, 0], groups=list("xxyyzzz")))
    path = tmp_path / "evaluation.json"
    path.write_text(evaluation.to_json(), encoding="utf-8")
    assert (read(path), evaluation.groups) == (evaluation, 3)


def test_an_evaluation_of_an_older_version_is_read(tmp_path: Path) -> None:
    """It has sentences as warnings and no intervals."""
    evaluation = evaluate(single([0, 1, 2], [1, 1, 1]))
    data = json.loads(evaluation.to_json())
    assert data["tasks"]["stance"]["warnings"] == [COLLAPSED, NEVER_PREDICTED]
    data["tasks"]["stance"]["warnings"] = ["stance: never predicted though in gold: a (1)"]
    del data["tasks"]["stance"]["intervals"], data["resampling"], data["phenomena"]
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert read(path) == evaluation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"format": 99}', "is of format 99, this version reads 1"),
        ("[]", "is of format None"),
        ('{"format": 1, "tasks": {}}', "is not a valid evaluation"),
        ('{"format": 1, "tasks": {"stance": {}}}', "is not a valid evaluation"),
    ],
)
def test_a_broken_evaluation_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """In one sentence with the file's name, without traceback."""
    path = tmp_path / "evaluation.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"evaluation.json {message}"):
        read(path)


def test_headline_metrics_have_a_trackers_names() -> None:
    """They are flat and start with the task."""
    headline = evaluate(single([0, 1], [0, 1])).headline()
    assert {name: headline[name] for name in ("stance_macro_f1", "stance_accuracy")} == {"stance_macro_f1": 1.0, "stance_accuracy": 1.0}


def test_a_summary_has_mean_and_sample_deviation() -> None:
    """Accuracies of 1, 1/2 and 3/4: the deviation with n-1 is 1/4."""
    runs = [evaluate(single([0, 1, 0, 1], decided)) for decided in ([0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 0, 0])]
    spread = summary(runs).tasks["stance"]["accuracy"]
    assert (spread.mean, spread.deviation, spread.values) == (0.75, 0.25, (1.0, 0.5, 0.75))


def test_a_single_run_has_no_deviation() -> None:
    """It is None, since 0 would mean that seeds do not matter."""
    assert summary([evaluate(single([0, 1], [0, 1]))]).tasks["stance"]["accuracy"].deviation is None


def test_runs_on_different_splits_are_not_averaged() -> None:
    """The message names the splits."""
    one = evaluate(single([0, 1], [0, 1]))
    with pytest.raises(UserError, match="evaluations of different split can't be averaged: 'test' and 'dev'"):
        summary([one, dataclasses.replace(one, split="dev")])


def test_a_summary_is_plain_data() -> None:
    """It can be logged as JSON."""
    assert json.loads(summary([evaluate(single([0, 1], [0, 1]))]).to_json())["runs"] == 1


def _predicted(ids: Sequence[str], values: dict[str, float]) -> list[Prediction]:
    return [Prediction(name, {}, {"stance": values}) for name in ids]


def test_a_scored_split_takes_gold_labels_and_articles_from_the_segments() -> None:
    """Segments without article are groups of their own; probabilities are in the scheme's order."""
    rows = [Segment("1", "x", {"stance": "b"}, article="k"), Segment("2", "x", {}, article="k"), Segment("3", "x", {"stance": "a"})]
    split = score(rows, _predicted("123", {"c": 0.1, "a": 0.7, "b": 0.2}), ABC)
    assert split.gold["stance"].tolist() == [1, -1, 0]
    assert split.probabilities["stance"].tolist() == [[0.7, 0.2, 0.1]] * 3
    assert (split.groups[0] == split.groups[1], len(set(split.groups))) == (True, 2)


def test_no_label_is_an_answer_in_a_multi_label_task() -> None:
    """() differs from unlabelled."""
    rows = [Segment("1", "x", {"themes": ()}), Segment("2", "x", {}), Segment("3", "x", {"themes": ("c", "a")})]
    values = [Prediction(row.id, {}, {"themes": {"a": 0.5, "b": 0.4, "c": 0.6}}) for row in rows]
    split = score(rows, values, MULTI)
    assert split.gold["themes"].tolist() == [[0, 0, 0], [-1, -1, -1], [1, 0, 1]]
    assert split.labelled("themes").tolist() == [True, False, True]
    assert split.decided("themes").tolist() == [[1, 0, 1]] * 3


def test_a_subset_may_take_a_row_twice() -> None:
    """As in a bootstrap."""
    part = single([0, 1, 2], [0, 1, 2]).subset(np.array([2, 2, 0]))
    assert (part.ids, part.gold["stance"].tolist(), part.split) == (("s2", "s2", "s0"), [2, 2, 0], "test")


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        (["1"], {"a": 1.0, "b": 0.0, "c": 0.0}, "1 predictions for 2 segments"),
        (["1", "x"], {"a": 1.0, "b": 0.0, "c": 0.0}, "prediction 2 is for 'x', but segment 2 is '2'"),
        (["1", "2"], {"a": 1.0, "b": 0.0}, "no probability for stance c;"),
        (["1", "2"], {"a": 1.2, "b": 0.0, "c": 0.0}, "'a' at 1.2, which is not a probability"),
        (["1", "2"], {"a": float("nan"), "b": 0.0, "c": 0.0}, "'a' at nan, which is not a probability.* training has diverged"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(ids: list[str], values: dict[str, float], message: str) -> None:
    """They are not silently aligned, filled or clipped."""
    rows = [Segment("1", "x", {"stance": "a"}), Segment("2", "x", {"stance": "b"})]
    with pytest.raises(UserError, match=message):
        score(rows, _predicted(ids, values), ABC)


def test_predictions_of_another_scheme_are_refused() -> None:
    """A task without probabilities is not filled with zeros."""
    with pytest.raises(UserError, match="the prediction for '1' has no probability for stance a, b, c"):
        score([Segment("1", "x", {"stance": "a"})], [Prediction("1", {}, {})], ABC)


@pytest.mark.parametrize(("answer", "message"), [("d", "unknown stance 'd'"), (("a",), "expected one label")])
def test_a_gold_label_that_does_not_fit_names_its_row(answer: object, message: str) -> None:
    """With file and line if known."""
    row = Segment("1", "x", {"stance": answer}, where="rows.jsonl, line 7")  # type: ignore[dict-item]
    with pytest.raises(UserError, match=f"rows.jsonl, line 7: .*{message}"):
        score([row], _predicted(["1"], {"a": 1.0, "b": 0.0, "c": 0.0}), ABC)


def test_empty_labels_raise_no_numeric_warning() -> None:
    """0/0 is handled without warnings of NumPy."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stance([0], [1]).macro_f1 == 0.0
