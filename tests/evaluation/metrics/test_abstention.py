"""Abstention: thresholds computed by hand, on another split, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from command_line import find_run, recipe, run_here, write_corpus
from haltung.cli import main
from haltung.errors import UserError
from haltung.evaluation.metrics.calibration import abstention, threshold, thresholds
from haltung.evaluation.predictions import ScoredSplit
from haltung.labels import parse
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.predictor import Calibration, abstained
from haltung.models.spec import LinearSpec
from haltung.records import Prediction

AB = parse({"name": "ab", "tasks": {"stance": {"labels": ["a", "b"]}}})


def answers(confidence: Sequence[float], right: Sequence[int], articles: int = 0) -> ScoredSplit:
    """Return a split in which label a is always predicted, with these probabilities, and is right
    or wrong.
    """
    sure = np.asarray(confidence, dtype=np.float64)
    n = len(sure)
    groups = tuple(f"a{row * articles // n}" if articles else f"s{row}" for row in range(n))
    gold = 1 - np.asarray(right, dtype=np.int64)
    return ScoredSplit(groups, groups, AB, {"stance": np.column_stack([sure, 1 - sure])}, {"stance": gold}, "news", "test")


def drawn(n: int, seed: int, articles: int = 0) -> ScoredSplit:
    """Return answers that are right as often as their probabilities say."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.5, 1, n)
    return answers(sure, (rng.random(n) < sure).astype(int).tolist(), articles)


def test_a_threshold_has_the_largest_coverage_that_keeps_the_precision() -> None:
    """Of the ten answers, the top five have four right and all ten have eight: with 0.8 for both,
    all are answered.
    """
    split = answers([0.99, 0.98, 0.97, 0.96, 0.95, 0.8, 0.79, 0.78, 0.77, 0.76], [1, 1, 1, 1, 0, 1, 1, 0, 1, 1])
    assert threshold(split, AB.stance, 0.8, min_answered=2) == 0.76
    assert threshold(split, AB.stance, 0.85, min_answered=2) == 0.79
    assert threshold(split, AB.stance, 0.95, min_answered=2) == 0.96


def test_a_precision_that_dev_never_reaches_has_no_threshold() -> None:
    """Nor does one that only a few answers reach by chance."""
    lucky = answers([0.99, *[0.7] * 39], [1, *[1, 0, 0] * 13])
    assert threshold(lucky, AB.stance, 0.9) is None
    assert threshold(lucky, AB.stance, 0.9, min_answered=1) == 0.99


def test_equal_probabilities_are_answered_or_not_together() -> None:
    """A threshold can't separate them, whatever their order."""
    assert threshold(answers([0.9, 0.8, 0.8, 0.8], [1, 1, 1, 0]), AB.stance, 0.9, min_answered=1) == 0.9


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 120), st.sampled_from([0.6, 0.8, 0.9]))
def test_a_threshold_keeps_its_promise_where_it_was_chosen(seed: int, n: int, wished: float) -> None:
    """On any split it reaches the precision, and no other probability does so with
    more coverage.
    """
    split = drawn(n, seed)
    least = threshold(split, AB.stance, wished)
    confidence, right = split.probabilities["stance"][:, 0], split.gold["stance"] == 0
    allowed = [
        value for value in confidence if (answered := confidence >= value).sum() >= min(20, n) and right[answered].mean() + 1e-9 >= wished
    ]
    assert least == (min(allowed) if allowed else None)


def test_coverage_and_precision_on_another_split_are_told_with_intervals() -> None:
    """On 4,000 other segments, the precision is about the requested one, and the interval contains
    its true value.
    """
    chosen = thresholds(drawn(4000, 1), (0.8, 0.9))
    points = abstention(drawn(4000, 2, articles=400), AB.stance, chosen["stance"])
    assert [point.wished for point in points] == [0.8, 0.9]
    for point in points:
        assert point.precision == pytest.approx(point.wished, abs=0.03)
        assert point.coverage == point.kept / 4000
        assert point.precision_interval is not None
        assert point.threshold is not None
        # Answers above the threshold are right as often as their mean probability.
        assert point.precision_interval.low <= (point.threshold + 1) / 2 <= point.precision_interval.high
        assert point.coverage_interval is not None
        assert point.coverage_interval.low < point.coverage < point.coverage_interval.high


def test_a_threshold_that_dev_lacks_answers_nothing() -> None:
    """The coverage is 0, and the precision undefined."""
    (point,) = abstention(drawn(50, 1), AB.stance, {0.95: None})
    assert (point.kept, point.coverage, point.precision, point.precision_interval) == (0, 0.0, None, None)


def test_a_prediction_below_the_threshold_is_abstained() -> None:
    """At the threshold it is answered; without a threshold it is always abstained."""
    split = Prediction("1", {"topic": "x", "stance": "a"}, {"topic": {"x": 0.6, "y": 0.4}, "stance": {"a": 0.55, "b": 0.45}})
    assert abstained(split, {"topic": 0.6, "stance": 0.56}) == {"stance": True}
    assert abstained(split, {"topic": None, "stance": 0.5}) == {"topic": True}


HELD = Calibration({}, {"topic": {0.8: 0.5, 0.9: 0.7, 0.95: None}, "stance": {0.8: 0.6, 0.9: None, 0.95: None}})


def test_thresholds_are_asked_for_by_precision() -> None:
    """A task without a threshold always abstains; if no task has one, the error lists the
    precisions that have thresholds.
    """
    assert HELD.abstaining(0.9) == {"topic": 0.7, "stance": None}
    for precision in (0.95, 0.85):
        with pytest.raises(UserError, match=rf"no threshold for the precision {precision}; it has those for 0\.8, 0\.9"):
            HELD.abstaining(precision)
    with pytest.raises(UserError, match="has no thresholds for abstaining"):
        Calibration().abstaining(0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear bundle whose stance always abstains at 0.8, and whose topic never does."""
    model = fit(tiny.segments(60), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    model.calibration = Calibration({"stance": 1.5}, {"topic": {0.8: 0.0, 0.9: None}, "stance": {0.8: 1.0, 0.9: None}})
    return bundle.save(model, tmp_path_factory.mktemp("abstention") / "bundle")


def test_predict_says_that_it_abstains(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON only on request, in the terminal marked in both languages; the label is kept."""

    def predict(*words: str) -> str:
        assert main(["predict", f"bundle={folder}", *words]) == 0
        return capsys.readouterr().out

    texts = folder.parent / "in.jsonl"
    texts.write_text('{"text": "Chile warnt die Marine ."}\n', encoding="utf-8")
    plain, abstaining = (json.loads(predict(f"input={texts}", *more)) for more in ((), ("abstain=0.8",)))
    assert "abstained" not in plain
    assert abstaining == {**plain, "abstained": {"stance": True}}
    text = "text=Chile warnt die Marine ."
    assert "abstained" not in predict(text)
    for language, mark in (("en", "(abstained)"), ("de", "(Enthaltung)")):
        lines = predict(text, "abstain=0.8", f"language={language}").splitlines()
        assert [mark in line for line in lines if "topic" in line or "stance" in line] == [False, True]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("abstain=0.9", "no threshold for the precision 0.9; it has those for 0.8"),
        ("abstain=0.85", "no threshold for the precision 0.85; it has those for 0.8"),
        ("abstain=viel", "abstain is 'viel', expected a number"),
    ],
)
def test_predict_refuses_a_precision_without_threshold(folder: Path, capsys: pytest.CaptureFixture[str], word: str, message: str) -> None:
    """In one sentence that lists the available precisions, with exit code 2."""
    assert main(["predict", f"bundle={folder}", "text=Chile warnt .", word]) == 2
    output = capsys.readouterr()
    assert (output.out, len(output.err.strip().splitlines())) == ("", 1)
    assert message in output.err


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], object]) -> Path:
    """A folder in which the tiny network has been trained and evaluated on test."""
    home = tmp_path_factory.mktemp("home")
    write_corpus(home, 320)
    new_store(home)
    for words in (recipe(bert, "seed=1", "training.epochs=2"), ("evaluate", "run=tiny-1", "split=test")):
        done = run_here(*words, cwd=home)
        assert done.returncode == 0, done.stderr
    return home


def test_a_training_stores_what_it_fitted_in_the_bundle(trained: Path) -> None:
    """In the folder and in MLflow's model, which are the same."""
    from haltung import tracking

    (local,) = (trained / "experiments/runs").glob("tiny-1-*/bundle")
    held = bundle.load(local).calibration
    assert set(held.temperatures) == {"topic", "stance"}
    assert {tuple(values) for values in held.thresholds.values()} == {(0.8, 0.9, 0.95)}
    assert bundle.load(tracking.bundle_folder(find_run(trained, "tiny-1"))).calibration == held  # type: ignore[arg-type]


@pytest.mark.parametrize(("split", "folder"), [("dev", "dev"), ("test", "evaluation/test")])
def test_a_run_stores_its_calibration(trained: Path, split: str, folder: str) -> None:
    """As ``calibration.json`` beside the metrics, and as metrics of the run; the thresholds are
    always those of dev.
    """
    from haltung import tracking

    record = find_run(trained, "tiny-1")
    data = json.loads((tracking.artifact(record, folder) / "calibration.json").read_text(encoding="utf-8"))  # type: ignore[arg-type]
    held = bundle.load(tracking.bundle_folder(record)).calibration  # type: ignore[arg-type]
    assert data["temperatures"] == held.temperatures
    for task in ("topic", "stance"):
        assert [point["threshold"] for point in data["abstention"][task]] == list(held.thresholds[task].values())
        metrics = record.metrics  # type: ignore[attr-defined]
        assert metrics[f"{split}/{task}_temperature"] == pytest.approx(held.temperatures[task])
        assert metrics[f"{split}/{task}_ece"] == pytest.approx(data["tasks"][task]["ece"])
        assert metrics[f"{split}/{task}_brier"] == pytest.approx(data["tasks"][task]["brier"])
        assert metrics[f"{split}/{task}_log_loss"] == pytest.approx(data["tasks"][task]["log_loss"])
        if split == "dev":
            assert data["tasks"][task]["log_loss"] <= data["before"][task]["log_loss"] + 1e-9


def test_a_temperature_is_not_divided_by_twice(trained: Path) -> None:
    """Predictions of the bundle equal those of the dev report."""
    from haltung.corpus import store as prepared
    from haltung.evaluation.predictions import read_predictions

    (local,) = (trained / "experiments/runs").glob("tiny-1-*")
    reported = read_predictions(local / "dev" / "predictions.parquet")
    segments = prepared.load(trained / "data/prepared/jsonl").segments("dev")
    for task, values in bundle.load(local / "bundle").probabilities(segments).items():
        np.testing.assert_allclose(reported.probabilities[task], values, atol=1e-12)
