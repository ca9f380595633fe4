"""Cross-validation and learning curves: parts of a corpus by article, and the commands that use
them.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import tiny
from command_line import LINEAR as CORPUS
from command_line import run_here, store_in
from haltung import tracking
from haltung.corpus.split import KFold
from haltung.corpus.stratify import subsample
from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit, read_predictions
from haltung.experiments.combined import joined, over_folds
from haltung.records import Segment

TOPICS = ("economy", "security")


def articles(segments: list[Segment] | tuple[Segment, ...]) -> set[str]:
    return {segment.article for segment in segments}


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_the_held_out_parts_are_together_the_whole_corpus(folds):
    """Each segment is held out exactly once, and parts have about the same size."""
    corpus = tiny.segments(200, articles=50)
    tests = [KFold(folds, fold).split(corpus, tiny.scheme())["test"] for fold in range(1, folds + 1)]
    assert Counter(segment.id for test in tests for segment in test) == Counter(segment.id for segment in corpus)
    assert max(map(len, tests)) - min(map(len, tests)) <= 4


def test_no_fold_tears_an_article_apart():
    """All segments of an article are in the same split."""
    for fold in range(1, 6):
        splits = KFold(5, fold).split(tiny.segments(200, articles=40), tiny.scheme())
        homes = [articles(splits[name]) for name in ("train", "dev", "test")]
        assert all(homes)
        assert not homes[0] & homes[1] | homes[0] & homes[2] | homes[1] & homes[2]


def test_each_label_keeps_its_share_in_each_fold():
    """Including rare labels, for both tasks at once."""
    corpus = [
        Segment(f"s{n}", "x", {"topic": TOPICS[n % 10 > 0], "stance": ("warning", "support", "neutral")[n % 3]}, article=str(n // 2))
        for n in range(400)
    ]  # fmt: skip
    for fold in range(1, 5):
        test = KFold(4, fold).split(corpus, tiny.scheme())["test"]
        assert abs(sum(segment.labels["topic"] == "economy" for segment in test) - 10) <= 1
        assert abs(sum(segment.labels["stance"] == "warning" for segment in test) - 134 / 4) <= 2


def test_the_parts_depend_on_the_seed_alone():
    """Not on the size of dev; another seed gives other parts."""
    corpus = tiny.segments(100, articles=50)
    first, other_dev, other_seed = (
        {segment.id for segment in kind.split(corpus, tiny.scheme())["test"]} for kind in (
            KFold(5, 2), KFold(5, 2, dev=0.3), KFold(5, 2, seed=1),
        )
    )  # fmt: skip
    assert first == other_dev
    assert first != other_seed


@pytest.mark.parametrize(
    ("kind", "count", "message"),
    [
        (KFold(1), 40, "folds is 1; expected a whole number of at least 2"),
        (KFold(5, -1), 40, "fold is -1; expected a whole number from 1 to 5, or 0"),
        (KFold(5, 6), 40, "fold is 6; expected a whole number from 1 to 5"),
        (KFold(5), 4, "4 articles are too few for 5 folds"),
    ],
)
def test_impossible_folds_are_refused_in_one_sentence(kind, count, message):
    """The message names the allowed values."""
    with pytest.raises(UserError, match=message):
        kind.split(tiny.segments(count), tiny.scheme())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_smaller_part_of_train_lies_inside_a_larger_one(seed):
    """Parts have whole articles and the requested size; share 1 is the split itself."""
    corpus = tiny.segments(400, articles=80)
    parts = [subsample(corpus, share, seed) for share in (0.125, 0.25, 0.5, 1)]
    for smaller, larger in pairwise(parts):
        assert articles(smaller) < articles(larger)
        assert all(segment in smaller for segment in corpus if segment.article in articles(smaller))
    assert [len(one) for one in parts] == [50, 100, 200, 400]
    assert parts[-1] == corpus
    assert parts[0] != subsample(corpus, 0.125, seed + 10)


@pytest.mark.parametrize("share", [0, -0.5, 1.5])
def test_a_share_outside_0_to_1_is_refused(share):
    """The message names the allowed range."""
    with pytest.raises(UserError, match="above 0 and at most 1"):
        subsample(tiny.segments(4), share, 1)


def _scored(ids: tuple[str, ...], seed: int) -> ScoredSplit:
    scheme, rng = tiny.scheme(), np.random.default_rng(seed)
    return ScoredSplit(
        ids, tuple(f"\0{row}" for row in range(len(ids))), scheme,
        {task.name: rng.dirichlet(np.ones(len(task)), len(ids)) for task in scheme},
        {task.name: rng.integers(0, len(task), len(ids)) for task in scheme}, "c", "test",
    )  # fmt: skip


def test_parts_put_together_are_sorted_and_keep_their_rows():
    """Probabilities stay with their ids, and each segment without an article is its own group."""
    one, two = _scored(("d", "b"), 1), _scored(("c", "a"), 2)
    whole = joined([one, two])
    assert whole.ids == ("a", "b", "c", "d")
    rows = [two.probabilities["stance"][1], one.probabilities["stance"][1], two.probabilities["stance"][0], one.probabilities["stance"][0]]
    assert np.array_equal(whole.probabilities["stance"], np.array(rows))
    assert len(set(whole.groups)) == 4


def test_mean_and_spread_over_folds_are_those_of_their_metrics():
    """All folds have the same weight."""
    folds = [evaluate(_scored(tuple(f"{seed}-{n}" for n in range(size)), seed)) for seed, size in ((1, 40), (2, 60), (3, 50))]
    values = [fold.tasks["stance"].macro_f1 for fold in folds]
    spread = over_folds(folds).tasks["stance"]["macro_f1"]
    assert spread.mean == pytest.approx(np.mean(values))
    assert spread.deviation == pytest.approx(np.std(values, ddof=1))


@pytest.mark.slow
def test_folds_give_out_of_fold_predictions_of_the_whole_corpus(linear_home: Path):
    """They are stored in a parent run, with metrics over all of them and means over folds."""
    record = tracking.find(store_in(linear_home), "cv-folds-42")
    scored = read_predictions(tracking.artifact(record, "evaluation/folds/predictions.parquet"))
    ids = [json.loads(line)["id"] for line in (linear_home / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (list(scored.ids), scored.split) == (sorted(ids), "folds")
    children = tracking.children(record)
    assert [child.name for child in children] == ["cv-fold-1-42", "cv-fold-2-42", "cv-fold-3-42"]
    values = [child.metrics["test/stance_macro_f1"] for child in children]
    assert record.metrics["folds/stance/macro_f1/mean"] == pytest.approx(sum(values) / 3)
    assert record.metrics["folds/stance_macro_f1"] == pytest.approx(evaluate(scored).tasks["stance"].macro_f1)
    assert record.tags["haltung.digest.folds"]
    resumed = run_here("train", *CORPUS, "folds=3", "name=cv", "resume=true", cwd=linear_home)
    assert resumed.returncode == 0, resumed.stderr
    assert len(tracking.children(tracking.find(store_in(linear_home), "cv-folds-42"))) == 3
    refused = run_here("evaluate", "run=cv-folds-42", cwd=linear_home)
    assert refused.returncode == 2
    assert "cv-folds-42 is a cross-validation" in refused.stderr


@pytest.mark.slow
def test_a_share_of_train_is_a_run_of_its_own(linear_home: Path):
    """Its name has the share; dev is the same, so that points of a curve can be compared."""
    store = store_in(linear_home)
    parts = [*tracking.children(tracking.find(store, "plain-0.5")), tracking.find(store, "plain-1")]
    assert [part.name for part in parts] == ["plain-0.5-1", "plain-0.5-2", "plain-1"]
    assert [part.tags.get("haltung.share") for part in parts] == ["0.5", "0.5", None]
    assert len({part.tags["haltung.split_digest.dev"] for part in parts}) == 1
    compared = run_here("compare", "runs=[plain-0.5,plain-1]", "split=dev", "track=false", cwd=linear_home)
    assert compared.returncode == 0, compared.stderr


@pytest.mark.slow
def test_labels_in_doubt_come_from_folds_alone(linear_home: Path):
    """Other runs are refused, since they have learned from the labels that they would judge."""
    done = run_here("issues", "run=cv-folds-42", "n=5", "output=doubts", cwd=linear_home)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (linear_home / "doubts").iterdir()} == {"issues.html", "issues.xlsx", "issues.jsonl"}
    refused = run_here("issues", "run=plain-1", cwd=linear_home)
    assert (refused.returncode, "plain-1 is not a cross-validation" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("folds=0",), "folds is 0"),
        (("folds=3", "splits@corpus.split=given"), "leave out splits@corpus.split=given"),
        (("share=2",), "share"),
    ],
)
def test_a_wrong_experiment_is_refused_before_anything_is_trained(tmp_path: Path, words: tuple[str, ...], message: str):
    """In one sentence."""
    done = run_here("train", *CORPUS, *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
