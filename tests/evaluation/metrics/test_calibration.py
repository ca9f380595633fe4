"""Calibration: metrics by hand and against scikit-learn, coverage of intervals, and temperatures
stored in bundles.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from haltung.errors import UserError
from haltung.evaluation.metrics.calibration import brier_parts, calibration, measure
from haltung.evaluation.metrics.classification import outcomes
from haltung.evaluation.predictions import ScoredSplit, score
from haltung.evaluation.report import plots, tables
from haltung.evaluation.report.i18n import estimate, number, word
from haltung.labels import parse
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.neural import build
from haltung.models.predictor import Calibration, Model, fitted, tempered
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.records import Segment
from haltung.training.calibration import calibrate, calibration_of

AB = parse({"name": "ab", "tasks": {"stance": {"labels": ["a", "b"]}}})
FIVE = parse({"name": "five", "tasks": {"stance": {"labels": list("abcde")}}})
MULTI = parse({"name": "multi", "tasks": {"themes": {"kind": "multi", "labels": ["a", "b", "c"]}}})


def scored_split(gold: Sequence[int] | np.ndarray, probabilities: np.ndarray, scheme: object = AB, articles: int = 0) -> ScoredSplit:
    """Return a scored split of one task, with ``articles`` of equal size or one per segment."""
    n = len(gold)
    groups = tuple(f"a{row * articles // n}" if articles else f"s{row}" for row in range(n))
    name = scheme.tasks[0].name  # type: ignore[attr-defined]
    ids = tuple(f"s{row}" for row in range(n))
    values = np.asarray(probabilities, dtype=np.float64)
    return ScoredSplit(ids, groups, scheme, {name: values}, {name: np.asarray(gold, dtype=np.int64)}, "news", "test")  # type: ignore[arg-type]


def simulated(n: int, seed: int, temperature: float = 1.0, articles: int = 0) -> ScoredSplit:
    """Return labels drawn from probabilities, which are then sharpened by ``temperature`` (above 1:
    overconfident).
    """
    rng = np.random.default_rng(seed)
    true = np.exp(rng.normal(0, 1.5, (n, 5)))
    true /= true.sum(axis=1, keepdims=True)
    gold = (true.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 4)
    return scored_split(gold, tempered(true, 1 / temperature, "single"), FIVE, articles)


def random_probabilities(seed: int, n: int = 60, sharpness: float = 0.3) -> np.ndarray:
    """Return random rows over five labels, some of them very confident."""
    return np.random.default_rng(seed).dirichlet(np.full(5, sharpness), n)


def test_the_error_is_worked_out_by_hand() -> None:
    """Two bins: at 0.6, 1 of 2 is right (0.1 off), at 0.9, 2 of 2 (0.1 off); the Brier score is
    computed from squares.
    """
    metrics = calibration(scored_split([0, 1, 0, 0], np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]])), AB.stance, bins=2)
    assert [(part.n, part.confidence, part.accuracy) for part in metrics.bins] == [(2, 0.6, 0.5), (2, 0.9, 1.0)]
    assert metrics.ece == pytest.approx(0.1)
    assert metrics.brier == pytest.approx((2 * 0.4**2 + 2 * 0.6**2 + 2 * 2 * 0.1**2) / 4)
    assert (metrics.confidence, metrics.accuracy) == pytest.approx((0.75, 0.75))


def test_the_error_by_chance_is_worked_out_by_hand() -> None:
    """One bin of 100 at 0.5: the share has the standard deviation 0.05, and so the mean absolute
    deviation 0.05 · √(2/π).
    """
    metrics = calibration(scored_split([0, 1] * 50, np.full((100, 2), 0.5)), AB.stance)
    assert (metrics.ece, metrics.ece_by_chance) == pytest.approx((0.0, 0.05 * np.sqrt(2 / np.pi)))


def test_a_multi_label_task_counts_every_label() -> None:
    """Two segments have six probabilities; the Brier score is their mean squared error."""
    drawn = np.array([[0.9, 0.2, 0.4], [0.8, 0.1, 0.3]])
    metrics = calibration(scored_split([[1, 0, 0], [1, 0, 1]], drawn, MULTI), MULTI.themes, bins=1)  # type: ignore[arg-type]
    assert (metrics.n, metrics.bins[0].n) == (2, 6)
    assert metrics.ece == pytest.approx(abs(2.7 / 6 - 0.5))
    assert metrics.brier == pytest.approx((0.01 + 0.04 + 0.16 + 0.04 + 0.01 + 0.49) / 6)


def test_segments_that_are_not_labelled_take_no_part() -> None:
    """Nor do their articles count."""
    values = np.array([[0.6, 0.4], [0.1, 0.9], [0.9, 0.1]])
    metrics = calibration(scored_split([0, -1, 0], values), AB.stance)
    assert (metrics.n, metrics.groups, metrics.accuracy) == (2, 2, 1.0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 80))
def test_metrics_are_scikit_learns(seed: int, n: int) -> None:
    """Brier score, log loss and the reliability table with quantile bins, on random data."""
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss, log_loss

    values = random_probabilities(seed, n)
    gold = np.random.default_rng(seed).integers(0, 5, n)
    metrics = calibration(scored_split(gold, values, FIVE), FIVE.stance, draws=0)
    assert metrics.brier == pytest.approx(brier_score_loss(gold, values, labels=range(5), scale_by_half=False))
    assert metrics.log_loss == pytest.approx(log_loss(gold, values, labels=range(5)))
    confidence, right = outcomes(gold, values)
    accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy="quantile", pos_label=1)
    assert [part.accuracy for part in metrics.bins] == pytest.approx(list(accuracy))
    assert [part.confidence for part in metrics.bins] == pytest.approx(list(mean))


def test_a_multi_label_brier_score_is_scikit_learns() -> None:
    """The mean of the binary scores of the labels."""
    from sklearn.metrics import brier_score_loss

    rng = np.random.default_rng(0)
    gold, values = rng.integers(0, 2, (50, 3)), rng.random((50, 3))
    expected = np.mean([brier_score_loss(gold[:, label], values[:, label]) for label in range(3)])
    assert brier_parts(gold, values).mean() == pytest.approx(expected)


def test_a_perfectly_calibrated_model_has_an_error_near_0_within_its_interval() -> None:
    """Its error is that expected by chance for 3,000 segments."""
    metrics = calibration(simulated(3000, 1, articles=300), FIVE.stance)
    assert metrics.ece == pytest.approx(metrics.ece_by_chance, rel=0.6)
    assert metrics.ece < 0.04
    assert metrics.ece_interval is not None
    assert metrics.ece_interval.low == 0


def test_a_model_that_is_too_sure_has_an_error_beyond_chance() -> None:
    """Its interval excludes 0, and its confidence exceeds its accuracy."""
    metrics = calibration(simulated(3000, 1, temperature=2, articles=300), FIVE.stance)
    assert metrics.ece_interval is not None
    assert metrics.ece_interval.low > metrics.ece_by_chance
    assert metrics.confidence > metrics.accuracy + 0.1


@pytest.mark.parametrize(
    ("temperature", "samples", "low"),
    [(1.5, 50, 0.84), *(pytest.param(one, 400, 0.9, marks=pytest.mark.slow) for one in (1.0, 1.5, 2.5))],
)
def test_the_interval_of_the_error_covers_the_truth(temperature: float, samples: int, low: float) -> None:
    """In 90 to 99 % of 400 samples of 1,000 segments in 200 articles; the true error is that of
    400,000 segments, or 0 if calibrated.
    """
    large = calibration(simulated(400_000, 0, temperature), FIVE.stance, draws=0).ece if temperature > 1 else 0.0
    found = [calibration(simulated(1000, seed, temperature, articles=200), FIVE.stance, draws=500) for seed in range(1, samples + 1)]
    covered = [one.ece_interval is not None and one.ece_interval.low <= large <= one.ece_interval.high for one in found]
    assert low <= np.mean(covered) <= (0.99 if samples > 100 else 1)


def test_the_interval_of_the_brier_score_knows_articles() -> None:
    """If segments within articles are alike, the interval is wider than for as many independent
    segments.
    """
    rng = np.random.default_rng(0)
    gold = np.repeat(rng.integers(0, 2, 40), 10)
    values = np.tile([0.7, 0.3], (400, 1))
    together = calibration(scored_split(gold, values, AB, articles=40), AB.stance).brier_interval
    alone = calibration(scored_split(gold, values), AB.stance).brier_interval
    assert together is not None
    assert alone is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_too_few_articles_have_no_interval() -> None:
    """Two articles do not show how articles vary."""
    metrics = calibration(scored_split([0, 1, 0, 0], np.tile([0.7, 0.3], (4, 1)), AB, articles=2), AB.stance)
    assert (metrics.ece_interval, metrics.brier_interval, metrics.bins[0].interval) == (None, None, None)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    """For labels drawn from probabilities then sharpened or flattened by a known factor."""
    drawn = simulated(20_000, 3, temperature)
    assert fitted(drawn.probabilities["stance"], drawn.gold["stance"], "single") == pytest.approx(temperature, rel=0.05)


def test_a_known_temperature_of_a_multi_label_task_is_recovered() -> None:
    """For the log odds of each label."""
    rng = np.random.default_rng(1)
    true = rng.beta(0.7, 1.5, (8000, 3))
    gold = (rng.random(true.shape) < true).astype(np.int64)
    assert fitted(tempered(true, 1 / 2.5, "multi"), gold, "multi") == pytest.approx(2.5, rel=0.05)


def test_the_fitted_temperature_has_the_least_log_loss() -> None:
    """By scikit-learn's log loss, on a grid around it."""
    from sklearn.metrics import log_loss

    drawn = simulated(300, 5, 2.0)
    values, gold = drawn.probabilities["stance"], drawn.gold["stance"]
    found = fitted(values, gold, "single")
    losses = [log_loss(gold, tempered(values, found * factor, "single"), labels=range(5)) for factor in (0.8, 0.95, 1, 1.05, 1.2)]
    assert losses[2] == min(losses)


@pytest.mark.parametrize(
    ("values", "gold"),
    [
        (np.array([[0.8, 0.2], [0.3, 0.7]] * 20), [0, 1] * 20),  # all correct
        (np.full((10, 2), 0.5), [0, 1] * 5),  # uninformative
        (np.array([[1.0, 0.0]] * 4), [1] * 4),  # a label with probability 0
        (np.zeros((0, 2)), []),
    ],
)
def test_where_dev_cannot_tell_the_temperature_is_1(values: np.ndarray, gold: list[int]) -> None:
    """It is not at the bound of the search."""
    assert fitted(values, np.array(gold, dtype=np.int64), "single") == 1.0


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_a_temperature_never_changes_a_label(seed: int, temperature: float) -> None:
    """The results are probabilities; near ties and zeros are included."""
    values = random_probabilities(seed, 50, 0.05)
    values[0] = [0.2, np.nextafter(0.2, 1), 0.2, 0.2, 0.2]
    values[1] = [0, 0, 0.5, 0.5, 0]
    after = tempered(values, temperature, "single")
    assert after.argmax(axis=1).tolist() == values.argmax(axis=1).tolist()
    np.testing.assert_allclose(after.sum(axis=1), 1)
    each = np.append(values.ravel(), [0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1), 0, 1])[:, None]
    assert ((tempered(each, temperature, "multi") >= 0.5) == (each >= 0.5)).all()


def test_a_temperature_divides_the_logits() -> None:
    """Equal to softmax and sigmoid of the divided logits."""
    logits = np.random.default_rng(2).normal(0, 3, (20, 5))
    expected = torch.tensor(logits / 1.7).softmax(dim=1).numpy()
    np.testing.assert_allclose(tempered(torch.tensor(logits).softmax(dim=1).numpy(), 1.7, "single"), expected, rtol=1e-9)
    expected = torch.tensor(logits / 1.7).sigmoid().numpy()
    np.testing.assert_allclose(tempered(torch.tensor(logits).sigmoid().numpy(), 1.7, "multi"), expected, rtol=1e-9)


def _model(kind: str, bert: Path) -> Model:
    if kind == "linear":
        return fit(tiny.segments(60), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    torch.manual_seed(1)
    return build(tiny.encoder(bert), NetworkSpec(max_length=32), tiny.scheme())


KINDS = pytest.mark.parametrize("kind", ["network", "linear"])


@KINDS
def test_a_bundle_stores_its_calibration(bert: Path, tmp_path: Path, kind: str) -> None:
    """After loading, temperatures, thresholds and probabilities are the same;
    labels do not change.
    """
    model, rows = _model(kind, bert), tiny.segments(40, seed=3)
    labels, plain = [prediction.labels for prediction in model.predict(rows)], model.probabilities(rows)
    model.calibration = Calibration({"topic": 1.5, "stance": 0.7}, {"stance": {0.9: 0.123456789, 0.95: None}})
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle"))
    assert loaded.calibration == model.calibration
    for task, temperature in model.calibration.temperatures.items():
        np.testing.assert_array_equal(loaded.probabilities(rows)[task], tempered(plain[task], temperature, "single"))
        assert not np.allclose(loaded.probabilities(rows)[task], plain[task])
    assert [prediction.labels for prediction in loaded.predict(rows)] == labels


@KINDS
def test_a_bundle_without_calibration_loads(bert: Path, tmp_path: Path, kind: str) -> None:
    """A bundle of an older version answers as before."""
    model, rows = _model(kind, bert), tiny.segments(20, seed=3)
    folder = bundle.save(model, tmp_path / "bundle")
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    del description["calibration"]
    (folder / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
    loaded = bundle.load(folder)
    assert loaded.calibration == Calibration()
    np.testing.assert_array_equal(loaded.probabilities(rows)["stance"], model.probabilities(rows)["stance"])


@pytest.mark.parametrize("broken", [{"temperatures": {"stance": -1}}, {"temperatures": {"stance": "warm"}}, {"thresholds": []}, 3])
def test_a_broken_calibration_is_refused(bert: Path, tmp_path: Path, broken: object) -> None:
    """In one sentence, without traceback."""
    folder = bundle.save(_model("linear", bert), tmp_path / "bundle")
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    (folder / "haltung.json").write_text(json.dumps({**description, "calibration": broken}), encoding="utf-8")
    with pytest.raises(UserError, match="is broken or incomplete"):
        bundle.load(folder)


@KINDS
def test_what_is_evaluated_is_what_is_loaded(bert: Path, tmp_path: Path, kind: str) -> None:
    """The dev metrics of a training are exactly those of its bundle."""
    model, dev = _model(kind, bert), tiny.segments(120, seed=5)
    raw = score(dev, model.predict(dev), tiny.scheme())
    now = calibrate(model, raw)
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle"))
    for task, values in score(dev, loaded.predict(dev), tiny.scheme()).probabilities.items():
        np.testing.assert_array_equal(values, now.probabilities[task])
        assert raw.decided(task).tolist() == now.decided(task).tolist()
    report = calibration_of(loaded, now)
    for task, before in report.before.items():
        assert report.tasks[task].log_loss <= before.log_loss + 1e-9
        assert before.log_loss == pytest.approx(calibration(raw, tiny.scheme()[task], draws=0).log_loss)


def test_a_linear_model_with_a_multi_label_task_gets_a_temperature_for_it(tmp_path: Path) -> None:
    """It has no thresholds: only single-label tasks can abstain."""
    rows = [Segment(str(i), f"{'alpha' if i % 3 else 'beta'} wort", {"themes": ("a",) if i % 2 else ("b", "c")}) for i in range(120)]
    model = fit(rows, MULTI, LinearSpec(min_count=1), seed=1)
    calibrate(model, score(rows, model.predict(rows), MULTI))
    held = bundle.load(bundle.save(model, tmp_path / "bundle")).calibration
    assert held == model.calibration
    assert (set(held.temperatures), dict(held.thresholds)) == ({"themes"}, {})


@pytest.mark.parametrize("language", ["en", "de"])
def test_calibration_has_tables_and_plots(language: str) -> None:
    """In both languages, with the metrics of the report."""
    split, before = simulated(300, 4, 2.0, articles=30), simulated(300, 4, articles=30)
    report = measure(split, {"stance": 1.25}, {"stance": {0.8: 0.6, 0.95: None}}, before=before)
    (row,), metrics = tables.calibration(report, FIVE, language).rows, report.tasks["stance"]
    assert row[1] == number(1.25, language, 2)
    assert (row[4], row[7]) == (
        estimate(metrics.ece, metrics.ece_interval, language), estimate(metrics.brier, metrics.brier_interval, language)
    )  # fmt: skip
    rows = tables.abstention(report.abstention["stance"], FIVE.stance, language).rows
    assert [row[:2] for row in rows] == [
        (number(0.8, language, 2), number(0.6, language)), (number(0.95, language, 2), word("unreached", language))
    ]  # fmt: skip
    plots.reliability(report, FIVE.stance, language).draw_without_rendering()


def test_the_report_is_plain_data_and_flat_metrics() -> None:
    """``calibration.json`` is plain JSON, and a tracker can store the metrics."""
    report = measure(simulated(200, 4, articles=20), {"stance": 1.25}, {"stance": {0.8: 0.6, 0.95: None}})
    data = json.loads(report.to_json())
    assert data["tasks"]["stance"]["ece"] == report.tasks["stance"].ece
    assert data["abstention"]["stance"][1]["threshold"] is None
    flat = report.metrics()
    assert (flat["stance_temperature"], flat["stance_ece"]) == (1.25, report.tasks["stance"].ece)
    assert flat["stance_coverage_at_0.95"] == 0
    assert "stance_precision_at_0.95" not in flat
    assert report.tasks["stance"].ece_interval is not None
