"""Intervals: by article, the same as scipy's, quick, and covering the truth as often as they say."""

from __future__ import annotations

import dataclasses
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import simulated
from haltung.evaluation.metrics.classification import ArticleCounts, article_counts, evaluate, log_loss, with_intervals
from haltung.evaluation.metrics.results import HEADLINE, read
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report import tables
from haltung.evaluation.report.i18n import estimate
from haltung.evaluation.statistics.bootstrap import bca, resampled, weights, widened, wilson
from haltung.labels import parse

SCHEME = parse(
    {"name": "two", "tasks": {"topic": {"labels": [f"t{n}" for n in range(11)]}, "stance": {"labels": [f"s{n}" for n in range(10)]}}}
)
MULTI = parse({"name": "multi", "tasks": {"themes": {"kind": "multi", "labels": ["a", "b", "c"]}}})


def scored(segments: int, articles: int, seed: int = 0) -> ScoredSplit:
    """Predictions of which some seven in ten are right."""
    rng = np.random.default_rng(seed)
    probabilities = {task.name: rng.dirichlet(np.ones(len(task)), segments) for task in SCHEME}
    gold = {
        task.name: np.where(rng.random(segments) < 0.7, probabilities[task.name].argmax(axis=1), rng.integers(0, len(task), segments))
        for task in SCHEME
    }
    groups = tuple(f"a{number % articles}" for number in range(segments))
    return ScoredSplit(tuple(map(str, range(segments))), groups, SCHEME, probabilities, gold, "news", "test")


def test_sums_by_article_give_the_figures_of_the_split() -> None:
    """Counts and losses add up; nothing is lost on the way."""
    given = scored(120, 17)
    figures = evaluate(given).tasks["stance"]
    articles = article_counts(given, SCHEME.stance)
    whole = articles.metrics(articles.sums.sum(axis=0))
    assert len(articles) == 17
    assert whole[: len(HEADLINE)].tolist() == pytest.approx([getattr(figures, name) for name in HEADLINE])
    assert whole[len(HEADLINE) : len(HEADLINE) + 10].tolist() == pytest.approx([label.precision for label in figures.labels])
    assert whole[4] == pytest.approx(log_loss(given.gold["stance"], given.probabilities["stance"]))


def test_a_draw_takes_whole_articles() -> None:
    """As many as there are, and the figures of a draw are those of its segments."""
    given = scored(60, 12)
    articles = article_counts(given, SCHEME.topic)
    drawn = next(weights(12, 5, seed=3))
    assert drawn.sum(axis=1).tolist() == [12] * 5
    rows = [row for row in range(60) for _ in range(int(drawn[2, row % 12]))]
    again = evaluate(given.subset(np.array(rows))).tasks["topic"]
    assert articles.metrics(resampled(articles.sums, draws=5, seed=3))[2, :2].tolist() == pytest.approx([again.macro_f1, again.accuracy])


def test_draws_do_not_depend_on_the_size_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many articles are drawn block by block; the figures are the same."""
    articles = article_counts(scored(90, 30), SCHEME.topic)
    whole = resampled(articles.sums, draws=50)
    monkeypatch.setattr("haltung.evaluation.statistics.bootstrap._BLOCK", 210)
    # To the last digit but one: a matrix product may add losses in another order where it has other rows, on some processors.
    np.testing.assert_allclose(resampled(articles.sums, draws=50), whole, rtol=1e-12)


def test_ends_are_those_of_scipy() -> None:
    """``scipy.stats.bootstrap`` with BCa, on the same draws and at the widened level."""
    from scipy.stats import bootstrap

    (articles,) = simulated.sample(np.random.default_rng(5), 60)[0]

    def macro_f1(drawn: np.ndarray, axis: int) -> np.ndarray:
        return articles.metrics(articles.sums[drawn].sum(axis=-2))[..., 0]

    level = 1 - 2 * widened(0.025, len(articles))
    theirs = bootstrap(
        (np.arange(len(articles)),), macro_f1, n_resamples=2000, confidence_level=level, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    ours = articles.intervals()[0]
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-3)


def test_the_level_is_widened_as_published() -> None:
    """The quantile of t with articles - 1 degrees, and the factor for the draws' narrowness; for many articles nothing is left of it."""
    from scipy.stats import norm, t

    assert widened(0.025, 20) == pytest.approx(norm.cdf(np.sqrt(20 / 19) * t.ppf(0.025, 19)))
    assert widened(0.025, 10**6) == pytest.approx(0.025, abs=1e-5)


def test_every_figure_has_an_interval_around_it() -> None:
    """The headline figures, and each label's precision, recall and F1."""
    figures = with_intervals(evaluate(scored(600, 60)), scored(600, 60))
    assert figures.resampling is not None
    assert (figures.resampling.level, figures.resampling.draws) == (0.95, 2000)
    for task in figures.tasks.values():
        assert tuple(task.intervals) == HEADLINE
        assert all(task.intervals[name].low < getattr(task, name) < task.intervals[name].high for name in HEADLINE)
        for label in task.labels:
            assert tuple(label.intervals) == ("precision", "recall", "f1")
            assert all(ends.low <= getattr(label, name) <= ends.high for name, ends in label.intervals.items())


def test_the_same_seed_gives_the_same_intervals() -> None:
    """Whoever evaluates again reports the same."""
    given = scored(100, 20)
    assert with_intervals(evaluate(given), given) == with_intervals(evaluate(given), given)


def test_articles_that_resemble_themselves_widen_the_interval() -> None:
    """Ten copies of each sentence are no more evidence than one, if they are in one article; a bootstrap by sentence would not see it."""
    once = scored(60, 60)
    tenfold = once.subset(np.repeat(np.arange(60), 10))
    apart = dataclasses.replace(tenfold, groups=tuple(map(str, range(600))))
    wide, same, narrow = (with_intervals(evaluate(one), one).tasks["topic"].intervals["accuracy"] for one in (once, tenfold, apart))
    assert (same.low, same.high) == pytest.approx((wide.low, wide.high))
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_a_multi_label_task_has_intervals_too() -> None:
    """Subset accuracy, micro-F1 and the rest."""
    rng = np.random.default_rng(1)
    gold, values = rng.integers(0, 2, (80, 3)), rng.random((80, 3))
    ids = tuple(map(str, range(80)))
    given = ScoredSplit(ids, ids, MULTI, {"themes": values}, {"themes": gold})
    task = with_intervals(evaluate(given), given).tasks["themes"]
    assert task.intervals["micro_f1"].low < task.micro_f1 < task.intervals["micro_f1"].high


def test_few_articles_get_no_interval() -> None:
    """Nine articles say too little of how articles differ."""
    figures = with_intervals(evaluate(scored(90, 9)), scored(90, 9))
    assert figures.tasks["topic"].intervals == {}
    assert "[" not in tables.headline(figures, SCHEME).rows[0][1]


def test_where_all_is_right_a_share_has_wilsons_interval_and_f1_none() -> None:
    """No draw has a mistake in it, and an interval from 1 to 1 would claim to know; articles count, where a label has some."""
    given = scored(50, 25)
    right = dataclasses.replace(given, gold={task: given.decided(task) for task in ("topic", "stance")})
    task = with_intervals(evaluate(right), right).tasks["topic"]
    assert task.intervals["accuracy"] == task.intervals["micro_f1"] == wilson(1.0, 25)
    assert "log_loss" in task.intervals
    assert "macro_f1" not in task.intervals
    decided = given.decided("topic")
    for place, label in enumerate(task.labels):
        within = len({group for group, said in zip(given.groups, decided, strict=True) if said == place})
        assert label.intervals["recall"] == label.intervals["precision"] == wilson(1.0, within)
        assert "f1" not in label.intervals


def test_a_label_that_is_never_found_has_a_recall_with_an_interval() -> None:
    """0 of four segments in three articles is no certain 0; a precision of nothing has none."""
    given = scored(60, 20)
    gold = np.zeros(60, dtype=np.int64)
    gold[[0, 1, 2, 20]] = 1
    probabilities = np.tile([0.9] + [0.1 / (len(SCHEME.topic) - 1)] * (len(SCHEME.topic) - 1), (60, 1))
    missed = dataclasses.replace(given, gold={**given.gold, "topic": gold}, probabilities={**given.probabilities, "topic": probabilities})
    label = with_intervals(evaluate(missed), missed).tasks["topic"].labels[1]
    articles = len({given.groups[row] for row in (0, 1, 2, 20)})
    assert label.intervals == {"recall": wilson(0.0, articles)}


def test_draws_where_a_figure_is_not_defined_take_no_part() -> None:
    """A draw without any segment of a label says nothing of its recall."""
    draws = np.array([0.2, 0.4, np.nan, 0.6, 0.8] * 50)
    ends = bca(draws, 0.5, np.array([0.4, np.nan, 0.6]), 0.025)
    assert ends is not None
    assert 0.2 <= ends.low < ends.high <= 0.8


def test_intervals_come_back_from_json_and_old_files_are_read(tmp_path: Path) -> None:
    """A file without intervals is one of an older version."""
    figures = with_intervals(evaluate(scored(100, 20)), scored(100, 20))
    path = tmp_path / "evaluation.json"
    path.write_text(figures.to_json(), encoding="utf-8")
    assert read(path) == figures
    data = json.loads(figures.to_json())
    del data["resampling"]
    for task in data["tasks"].values():
        del task["intervals"]
        for label in task["labels"]:
            del label["intervals"]
    path.write_text(json.dumps(data), encoding="utf-8")
    assert read(path) == evaluate(scored(100, 20))


def test_a_tracker_gets_the_ends_beside_the_figure() -> None:
    """``stance_macro_f1.low`` and ``.high``."""
    headline = with_intervals(evaluate(scored(100, 20)), scored(100, 20)).headline()
    assert headline["stance_macro_f1.low"] < headline["stance_macro_f1"] < headline["stance_macro_f1.high"]


def test_tables_show_intervals_in_both_languages() -> None:
    """In German the ends are parted by a semicolon, since they have a comma in them."""
    figures = with_intervals(evaluate(scored(100, 20)), scored(100, 20))
    ends = figures.tasks["topic"].intervals["macro_f1"]
    shown = f"{figures.tasks['topic'].macro_f1:.3f} [{ends.low:.3f}, {ends.high:.3f}]"
    assert tables.headline(figures, SCHEME).rows[0][1] == shown
    assert tables.headline(figures, SCHEME, "de").rows[0][1] == shown.replace(",", ";").replace(".", ",")


@pytest.mark.parametrize("articles", [1000, 12_000])
def test_twelve_thousand_predictions_take_less_than_three_seconds(articles: int) -> None:
    """For two tasks together, also where each segment stands alone."""
    given = scored(12_000, articles)
    figures = evaluate(given)
    began = time.process_time()
    with_intervals(figures, given)
    assert time.process_time() - began < 3


@pytest.mark.slow
@pytest.mark.parametrize("articles", [40, 100, 400])
def test_intervals_cover_the_truth_as_often_as_they_say(articles: int) -> None:
    """In 93 to 97 % of 1,000 samples, for macro-F1 and accuracy."""
    rng = np.random.default_rng(20)
    truth = _figures(sum(simulated.sample(rng, 20_000)[0][0].sums.sum(axis=0) for _ in range(20)))
    covered = np.zeros(2)
    for trial in range(1000):
        (sample,) = simulated.sample(rng, articles)[0]
        whole, drawn = _figures(sample.sums.sum(axis=0)), _figures_of(sample, trial)
        without, tail = _figures(sample.sums.sum(axis=0) - sample.sums), widened(0.025, articles)
        for place in range(2):
            ends = bca(drawn[:, place], whole[place], without[:, place], tail)
            covered[place] += ends is not None and ends.low <= truth[place] <= ends.high
    assert ((covered >= 930) & (covered <= 970)).all(), covered


def _figures(sums: np.ndarray) -> np.ndarray:
    return ArticleCounts(np.zeros((0, 36)), 11, all_labels=False).metrics(sums)[..., :2]


def _figures_of(sample: ArticleCounts, seed: int) -> np.ndarray:
    return _figures(resampled(sample.sums, 2000, seed))


def test_a_narrow_terminal_leaves_out_what_would_not_fit() -> None:
    """Precision and recall lose their intervals there, F1 never; the page and Markdown have all."""
    figures = with_intervals(evaluate(scored(100, 20)), scored(100, 20))
    label = next(label for label in figures.tasks["stance"].labels if len(label.intervals) == 3)
    told = {name: estimate(getattr(label, name), label.intervals[name]) for name in ("precision", "recall", "f1")}
    for width, shown in ((80, {"f1"}), (140, set(told))):
        console = Console(file=io.StringIO(), width=width)
        tables.show(figures, SCHEME, console)
        (line,) = (line for line in console.file.getvalue().splitlines() if line.startswith(f" {label.label} "))  # type: ignore[attr-defined]
        assert {name for name, text in told.items() if text in line} == shown
    assert all(text in tables.per_label(figures.tasks["stance"], SCHEME.stance).markdown() for text in told.values())
